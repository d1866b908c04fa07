"""Shadows fall where the path tracer has them, through what is cut out, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from render.camera import Orbit
from render.pieces import TileSpec
from render.scene import AlphaMode, Draw, Material, Primitive, Scene

View = Callable[..., TileSpec]
SIZE = (320, 240)
ABOVE = Orbit(2.6, 0.9, 6.0, (0.0, 0.0, 0.0))  # the shadow falls towards the camera
SUN = (0.48, 0.64, 0.6)
BARE = {"towards_light": SUN, "illuminance": (3.0,) * 3, "ambient": (0.0,) * 3}
MATT = Material(base_color_factor=(0.8, 0.8, 0.8, 1.0), metallic_factor=0.0, roughness_factor=1.0)
FLOOR, BOX = 0, 1


def placed(scale: tuple[float, float, float], at: tuple[float, float, float]) -> NDArray:
    place = np.eye(4, dtype=np.float32)
    place[:3, :3], place[:3, 3] = np.diag(scale), at
    return place


def cube(material: int) -> Primitive:
    """A side of one metre; each face with corners of its own."""
    positions, normals, indices = [], [], []
    for axis in range(3):
        for side in (-0.5, 0.5):
            normal = 2 * side * np.eye(3)[axis]
            u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3] * 2 * side
            first = len(positions)
            positions += [normal / 2 + (a * u + b * v) / 2 for b in (-1, 1) for a in (-1, 1)]
            normals += [normal] * 4
            indices += [first + corner for corner in (0, 1, 3, 0, 3, 2)]
    return Primitive(
        positions=np.array(positions, np.float32),
        normals=np.array(normals, np.float32),
        tangents=None,
        uv0=None,
        uv1=None,
        colors=None,
        indices=np.array(indices, np.uint32),
        material=material,
    )


def standing(material: Material = MATT, scale: float = 1.0) -> Scene:
    """A box of a material, a side of `scale` metres, over a floor."""
    return Scene(
        draws=(
            Draw(placed((8, 0.1, 8), (0, -0.05, 0)), FLOOR),
            Draw(placed((scale,) * 3, (0, 1.0, 0)), BOX),
        ),
        primitives=(cube(FLOOR), cube(BOX)),
        materials=(MATT, material),
        textures=(),
        images=(),
        bounds_min=np.array([-4, -0.1, -4], np.float32),
        bounds_max=np.array([4, 1.5, 4], np.float32),
    )


@pytest.fixture
def shot(studio, view_of: View) -> Callable[..., NDArray]:
    def made(scene: Scene, **given: object) -> NDArray[np.int64]:
        view = view_of(ABOVE, SIZE, **(BARE | given))
        return studio.shoot(scene, view, SIZE).rgba[..., :3].astype(int)

    return made


def grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    for _ in range(by):
        wide = np.pad(mask, 1)
        mask = (
            wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
        )
    return mask


@pytest.mark.parametrize("shadows", [1024, 2048])
def test_the_umbra_is_the_path_tracer_s(shot: Callable[..., NDArray], shadows: int):
    scene = standing()
    lit, ours = shot(scene), shot(scene, shadows=shadows)
    theirs = shot(scene, samples=16, bounces=1)
    umbra = (lit - theirs).max(axis=2) > 40
    assert umbra.mean() > 0.01
    border = grown(umbra, 3) & grown(~umbra, 3)
    assert (ours[umbra & ~border] < 4).all()
    bright = ~grown(umbra, 3)
    assert (ours[bright] == lit[bright]).all()  # to the byte: nothing shades itself


def test_what_blends_casts_no_shadow(shot: Callable[..., NDArray]):
    glass = replace(MATT, alpha_mode=AlphaMode.BLEND)
    scene = standing(glass)
    assert (shot(scene, shadows=1024) == shot(scene)).all()


@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_what_a_mask_cuts_away_lets_light_through(shot: Callable[..., NDArray], alpha: float):
    cut = replace(MATT, alpha_mode=AlphaMode.MASK, alpha_cutoff=0.5,
                  base_color_factor=(0.8, 0.8, 0.8, alpha))  # fmt: skip
    scene = standing(cut)
    darker = (shot(scene) - shot(scene, shadows=1024)).max(axis=2) > 40
    assert (darker.mean() > 0.01) == (alpha > 0.5)


def test_shadows_follow_the_sun(shot: Callable[..., NDArray]):
    scene = standing()
    overhead = {"towards_light": (0.0, 1.0, 0.0)}
    first = shot(scene, shadows=1024)
    assert (shot(scene, shadows=1024, **overhead) != first).any()
    assert (shot(scene, shadows=1024) == first).all()


def test_without_a_sun_there_is_nothing_to_cast(shot: Callable[..., NDArray]):
    dark = {"illuminance": (0.0,) * 3, "ambient": (1.0,) * 3}
    scene = standing()
    assert (shot(scene, shadows=1024, **dark) == shot(scene, **dark)).all()
