"""What is drawn and what is not: sides, alpha, depth, order, culling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from render.camera import Orbit, frame_bounds
from render.passes import raster
from render.pieces import TileSpec
from render.scene import (
    AlphaMode,
    Draw,
    Image,
    MagFilter,
    Material,
    MinFilter,
    Scene,
    Texture,
    TextureSlot,
)
from render.tiles import Rect, cut

SIZE = (64, 64)
BEHIND = (0.2, 0.3, 0.4)
RED = (1.0, 0.0, 0.0)
GREEN = (0.0, 1.0, 0.0)


def glowing(color: tuple[float, float, float], **given: object) -> Material:
    """Seen in its own color whatever the light."""
    return Material(base_color_factor=(0, 0, 0, 1), emissive_factor=color, **given)


def srgb(linear: tuple[float, ...]) -> list[int]:
    return [
        round(255 * (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055))
        for c in linear
    ]


def fading(mesh):
    """Alpha 0 at the left edge, 1 at the right."""
    colors = np.ones((4, 4), np.float32)
    colors[:, 3] = [0, 1, 1, 0]
    return replace(mesh, colors=colors)


@pytest.fixture
def flat(studio, flat_view: Callable) -> Callable:
    def drawn(scene: Scene, **given: object):
        return studio.shoot(scene, flat_view(SIZE, background=BEHIND, **given), SIZE).rgba[..., :3]

    return drawn


def test_a_texture_lies_with_its_first_row_up_and_its_first_column_left(
    flat: Callable, square: Callable, scene_of: Callable
):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., :3] = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]]
    pixels[..., 3] = 255
    texture = Texture(0, mag_filter=MagFilter.NEAREST, min_filter=MinFilter.NEAREST)
    material = glowing((1, 1, 1), emissive=TextureSlot(0))
    scene = scene_of(
        [square()], [material], images=(Image(pixels, "corners"),), textures=(texture,)
    )
    assert np.array_equal(flat(scene)[16::32, 16::32], pixels[..., :3])


def test_the_back_of_a_single_sided_face_is_not_drawn(
    flat: Callable, square: Callable, scene_of: Callable
):
    away = square(flip=True)
    assert (flat(scene_of([away], [glowing(RED)])) == srgb(BEHIND)).all()
    assert (flat(scene_of([away], [glowing(RED, double_sided=True)])) == srgb(RED)).all()


def test_the_back_of_a_double_sided_face_is_lit_as_a_front(
    studio, square: Callable, scene_of: Callable, view_of: Callable
):
    pose = Orbit(math.pi + 0.4, 0.3, 3.0, (0, 0, 0))
    view = view_of(pose, SIZE, towards_light=(0.0, 0.6, -0.8))
    plain = Material(metallic_factor=0.0, roughness_factor=0.5)
    back = studio.shoot(scene_of([square()], [replace(plain, double_sided=True)]), view, SIZE)
    front = studio.shoot(scene_of([square(flip=True)], [plain]), view, SIZE)
    assert np.ptp(front.rgba[..., :3]) > 50
    assert np.array_equal(back.rgba, front.rgba)


def test_a_mirrored_placement_keeps_its_front(
    studio, square: Callable, scene_of: Callable, view_of: Callable
):
    view = view_of(Orbit(0.4, 0.3, 3.0, (0, 0, 0)), SIZE)
    plain = Material(metallic_factor=0.0, roughness_factor=0.5)
    scene = scene_of([square()], [plain])
    mirrored = replace(scene, draws=(Draw(np.diag(np.float32([-1, 1, 1, 1])), 0),))
    expected = studio.shoot(scene, view, SIZE).rgba.astype(int)
    assert np.ptp(expected[..., :3]) > 50
    # Mirrored, the triangles meet along the other diagonal: as good as equal.
    assert np.abs(studio.shoot(mirrored, view, SIZE).rgba - expected).max() <= 1


def test_alpha_is_ignored_cut_off_or_composited_in_linear_light(
    flat: Callable, square: Callable, scene_of: Callable
):
    def row(mode: AlphaMode, cutoff: float = 0.5):
        material = glowing(RED, alpha_mode=mode, alpha_cutoff=cutoff)
        return flat(scene_of([fading(square())], [material]))[32]

    alpha = (np.arange(64) + 0.5) / 64
    assert (row(AlphaMode.OPAQUE) == srgb(RED)).all()
    for cutoff in (0.5, 0.25):
        kept = (row(AlphaMode.MASK, cutoff) == srgb(RED)).all(axis=-1)
        assert np.array_equal(kept, alpha >= cutoff)
    expected = [
        srgb(tuple(a * front + (1 - a) * back for front, back in zip(RED, BEHIND, strict=True)))
        for a in alpha
    ]
    assert np.abs(row(AlphaMode.BLEND) - np.array(expected)).max() <= 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_face_hides_the_farther_in_whatever_order(
    flat: Callable, square: Callable, scene_of: Callable, order: tuple[int, int]
):
    faces = [square(z=0.8, side=1.0, material=0), square(z=0.2, material=1)]
    rgb = flat(scene_of([faces[i] for i in order], [glowing(RED), glowing(GREEN)]))
    assert (rgb[20:44, 20:44] == srgb(RED)).all()
    assert (rgb[:16] == srgb(GREEN)).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_what_blends_is_drawn_after_the_rest_and_farthest_first(
    studio, square: Callable, scene_of: Callable, view_of: Callable, order: tuple[int, ...]
):
    def veil(color: tuple[float, float, float]) -> Material:
        material = glowing(color, alpha_mode=AlphaMode.BLEND)
        return replace(material, base_color_factor=(0, 0, 0, 0.5))

    materials = [veil(RED), veil(GREEN), glowing((0, 0, 1.0))]
    faces = [square(z=1.0, material=0), square(z=0.5, material=1), square(material=2)]
    scene = scene_of([faces[i] for i in order], materials)
    view = view_of(Orbit(0, 0, 3.0, (0, 0, 0)), SIZE, ambient=(0.0,) * 3, illuminance=(0.0,) * 3)
    middle = studio.shoot(scene, view, SIZE).rgba[32, 32, :3]
    assert np.abs(middle - np.array(srgb((0.5, 0.25, 0.25)))).max() <= 1


@pytest.mark.parametrize("seed", range(6))
def test_culling_leaves_out_work_and_never_a_pixel(
    studio,
    courtyard: Scene,
    view_of: Callable[..., TileSpec],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
):
    rng = np.random.default_rng(seed)
    size = (192, 112)
    overview = frame_bounds(tuple(courtyard.bounds_min), tuple(courtyard.bounds_max), 192 / 112)
    pose = Orbit(
        rng.uniform(-math.pi, math.pi),
        rng.uniform(-0.2, 1.2),
        overview.distance * rng.uniform(0.02, 1.0),  # some of them stand amid the scene
        tuple(rng.uniform(courtyard.bounds_min, courtyard.bounds_max)),
    )
    rects: list[Rect] = cut(*size, 5)
    view = view_of(pose, size)
    culled = studio.shoot(courtyard, view, size, rects)
    monkeypatch.setattr(raster, "visible", lambda boxes, *_: np.ones(len(boxes.centre), bool))
    everything = studio.shoot(courtyard, view, size, rects)
    assert culled.clusters < everything.clusters
    assert np.array_equal(culled.rgba, everything.rgba)
    assert culled.i420 == everything.i420
