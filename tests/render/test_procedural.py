"""The built-in scene: the same bytes each time, sound geometry, every feature in use."""

from __future__ import annotations

import numpy as np
import pytest

from mesh.core.wire import MAX_BODY
from render.package import DEFAULT_SCENE, load_scene, pack
from render.procedural import shapes, textures
from render.procedural.courtyard import courtyard
from render.procedural.shapes import Shape
from render.procedural.sunlight import sunlight
from render.scene import AlphaMode, LightKind, Primitive, Scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return load_scene(pack(DEFAULT_SCENE).data)


def enclosed_volume(shape: Shape) -> float:
    """Signed volume by the divergence theorem; positive when triangles face outwards."""
    a, b, c = shape.positions.astype(float)[shape.indices.reshape(-1, 3)].transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6.0)


def winding_agreement(shape: Shape | Primitive) -> float:
    """Least cosine between a triangle's own normal and its vertices' mean normal."""
    corners = shape.positions.astype(float)[shape.indices.reshape(-1, 3)]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    mean = shape.normals[shape.indices.reshape(-1, 3)].mean(axis=1)
    return float((faces * mean).sum(axis=1).min())


def test_the_bytes_are_the_same_on_every_making() -> None:
    assert courtyard.__wrapped__() == courtyard.__wrapped__()


def test_the_scene_is_of_the_promised_size(scene: Scene) -> None:
    assert 30_000 <= scene.triangles <= 80_000
    assert len(pack(DEFAULT_SCENE).data) < MAX_BODY // 8
    assert scene.warnings == ()


def test_every_feature_of_the_material_model_is_in_use(scene: Scene) -> None:
    slots = ("base_color", "metallic_roughness", "normal", "occlusion", "emissive")
    for slot in slots:
        assert any(getattr(material, slot) is not None for material in scene.materials), slot
    assert {slot.uv_set for material in scene.materials for slot in material.slots()} == {0, 1}
    assert {material.alpha_mode for material in scene.materials} == {
        AlphaMode.OPAQUE,
        AlphaMode.MASK,
    }
    assert any(primitive.colors is not None for primitive in scene.primitives)
    assert any(primitive.tangents is None for primitive in scene.primitives)
    assert len(scene.draws) > len(scene.primitives)  # some are placed more than once
    assert [light.kind for light in scene.lights] == [LightKind.DIRECTIONAL]


def test_normals_and_triangles_face_the_same_way(scene: Scene) -> None:
    for primitive in scene.primitives:
        if scene.materials[primitive.material].double_sided:
            continue  # leaves are shaded as the ball they cover
        assert winding_agreement(primitive) > 0.5


def test_tangents_lie_in_the_surface_along_growing_u(scene: Scene) -> None:
    checked = 0
    for primitive in scene.primitives:
        material = scene.materials[primitive.material]
        if primitive.tangents is None or material.normal is None:
            continue
        tangents = primitive.tangents[:, :3]
        assert np.abs((tangents * primitive.normals).sum(axis=1)).max() < 0.02
        assert primitive.uv0 is not None
        triangles = primitive.indices.reshape(-1, 3)
        edge = primitive.positions[triangles[:, 1]] - primitive.positions[triangles[:, 0]]
        grows = primitive.uv0[triangles[:, 1], 0] - primitive.uv0[triangles[:, 0], 0]
        along = (edge * tangents[triangles[:, 0]]).sum(axis=1)
        sideways = np.abs(grows) > 1e-6
        assert (np.sign(along[sideways]) == np.sign(grows[sideways])).mean() > 0.99
        checked += 1
    assert checked >= 4


@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (shapes.sphere(1.0, 64), 4 / 3 * np.pi),
        (shapes.lathe([(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (0.0, 2.0)], 128), 2 * np.pi),
        (shapes.arc_wall(inner=1, outer=2, height=3, start=-1, end=1, uv_per_metre=1), 3 * 3.0),
    ],
)
def test_closed_shapes_enclose_their_volume(shape: Shape, volume: float) -> None:
    # Where an underside is left open it lies at y = 0 and would add nothing to the integral.
    assert enclosed_volume(shape) == pytest.approx(volume, rel=0.02)


def test_textures_repeat_without_a_seam() -> None:
    field = textures.noise(128, 1.5, np.random.default_rng(1))
    inside = np.abs(np.diff(field, axis=1)).mean()
    across = np.abs(field[:, 0] - field[:, -1]).mean()
    assert across < 2 * inside
    assert field.min() == 0.0
    assert field.max() == 1.0


def test_a_normal_map_leans_away_from_what_rises() -> None:
    ramp = np.tile(np.linspace(0.0, 1.0, 64), (64, 1))
    to_the_right = textures.normal_map(ramp, 10.0)[32, 32]
    upwards = textures.normal_map(ramp.T[::-1], 10.0)[32, 32]
    assert to_the_right[0] < 128 - 5 and abs(int(to_the_right[1]) - 128) <= 1
    assert upwards[1] < 128 - 5 and abs(int(upwards[0]) - 128) <= 1


@pytest.mark.parametrize(
    ("towards_sun", "columns"), [((0.0, 1.0, 0.0), (40, 60)), ((0.6, 0.8, 0.0), (10, 30))]
)
def test_a_shadow_falls_where_the_suns_rays_put_it(
    towards_sun: tuple[float, float, float], columns: tuple[int, int]
) -> None:
    """A square of 2 m at 4 m above a surface of 10 m; the slanted sun moves it by 3 m to -x."""
    corners = np.array([(-1, 5, -1), (1, 5, -1), (1, 5, 1), (-1, 5, 1)], float)
    square = corners[[[0, 1, 2], [0, 2, 3]]]
    lit = sunlight(square, towards_sun, height=1.0, corner=(-5.0, -5.0), side=10.0, size=100)
    left, right = columns
    assert lit[43:57, left + 3 : right - 3].max() < 0.01
    lit[37:63, left - 3 : right + 3] = 1.0  # the edge is soft
    assert lit.min() > 0.99


def test_what_lies_below_a_surface_casts_no_shadow_on_it() -> None:
    below = np.array([[(-1, 0, -1), (1, 0, -1), (0, 0.9, 1)]], float)
    lit = sunlight(below, (0.0, 1.0, 0.0), height=1.0, corner=(-2.0, -2.0), side=4.0, size=32)
    assert (lit == 1.0).all()
