"""What is read out of a glTF file, piece by piece, and from real files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from mesh.core.errors import ContentRefused
from render.gltf import load_gltf
from render.gltf.writer import GlbWriter
from render.package import load_scene, pack
from render.scene import (
    MAX_LIGHTS,
    AlphaMode,
    LightKind,
    Material,
    MinFilter,
    TextureSlot,
    UvTransform,
    Wrap,
)


def triangle_strip(positions: np.ndarray, mode: int, **primitive: object) -> bytes:
    writer = GlbWriter()
    attributes = {"POSITION": writer.accessor(positions)}
    writer.mesh([{"attributes": attributes, "mode": mode, **primitive}])
    writer.add("nodes", {"mesh": 0})
    return writer.glb()


def test_a_square_arrives_as_it_was_written(square_glb: bytes) -> None:
    scene = load_gltf(square_glb)
    [draw], [primitive], [material] = scene.draws, scene.primitives, scene.materials
    assert scene.triangles == 2
    np.testing.assert_array_equal(draw.world_from_mesh[:3, 3], (10, 0, 0))
    np.testing.assert_array_equal(primitive.indices, (0, 1, 2, 0, 2, 3))
    np.testing.assert_allclose(primitive.normals, [(0, 0, 1)] * 4)  # scaled to unit length
    np.testing.assert_array_equal(scene.bounds_min, (10, 0, 0))
    np.testing.assert_array_equal(scene.bounds_max, (11, 1, 0))
    assert material.base_color == TextureSlot(0)
    assert (material.roughness_factor, material.normal_scale) == (0.5, 0.5)
    assert scene.textures[0].min_filter is MinFilter.LINEAR_MIPMAP_LINEAR
    assert (scene.lights, scene.cameras) == ((), ())
    assert scene.warnings == ()


def test_pixels_arrive_as_stored_and_one_image_is_decoded_once(square_glb: bytes) -> None:
    [image] = load_gltf(square_glb).images
    np.testing.assert_array_equal(image.rgba8.ravel(), np.arange(64))
    assert not image.rgba8.flags.writeable


def test_a_scene_outlives_the_bytes_it_was_read_from(square_glb: bytes) -> None:
    data = bytearray(square_glb)
    scene = load_gltf(data)
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(scene.primitives[0].positions[2], (1, 1, 0))


def test_without_normals_each_triangle_is_flat_and_has_its_own_vertices() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    writer = GlbWriter()
    indices = writer.accessor(np.array([0, 1, 2, 0, 1, 3], np.uint8))
    writer.mesh([{"attributes": {"POSITION": writer.accessor(corners)}, "indices": indices}])
    writer.add("nodes", {"mesh": 0})
    [primitive] = load_gltf(writer.glb()).primitives
    np.testing.assert_allclose(primitive.normals, [(0, 1, 0)] * 3 + [(0, 0, 1)] * 3)
    np.testing.assert_array_equal(primitive.indices, range(6))


def test_strips_keep_every_triangle_facing_the_same_way() -> None:
    zigzag = np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0], [2, 1, 0]], np.float32)
    [primitive] = load_gltf(triangle_strip(zigzag, mode=5)).primitives
    assert len(primitive.indices) == 9
    np.testing.assert_allclose(primitive.normals, [(0, 0, 1)] * 9)


def test_fans_turn_about_their_first_vertex() -> None:
    fan = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    [primitive] = load_gltf(triangle_strip(fan, mode=6)).primitives
    assert len(primitive.indices) == 6
    np.testing.assert_allclose(primitive.normals, [(0, 0, 1)] * 6)


def test_lines_are_left_out_with_a_warning(square: GlbWriter) -> None:
    square.mesh([{"attributes": {"POSITION": square.accessor(np.eye(3, dtype="f"))}, "mode": 1}])
    square.add("nodes", {"mesh": 1})
    [warning] = load_gltf(square.glb()).warnings
    assert "meshes[1].primitives[0]" in warning
    assert "lines" in warning


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (np.array([0, 51, 255], np.uint8), (0.0, 0.2, 1.0)),
        (np.array([0, 65535, 13107], np.uint16), (0.0, 1.0, 0.2)),
        (np.array([-128, 127, 0], np.int8), (-1.0, 1.0, 0.0)),
        (np.array([-32768, 32767, 0], np.int16), (-1.0, 1.0, 0.0)),
    ],
)
def test_normalised_integers_become_fractions(
    square: GlbWriter, stored: np.ndarray, read: tuple[float, float, float]
) -> None:
    colors = square.accessor(np.tile(stored, (4, 1)), normalized=True)
    square.document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = colors
    [primitive] = load_gltf(square.glb()).primitives
    assert primitive.colors is not None
    np.testing.assert_allclose(primitive.colors[0], (*read, 1.0), rtol=1e-6)


def test_interleaved_attributes_are_read_by_their_stride(square: GlbWriter) -> None:
    rows = np.zeros((4, 8), np.float32)
    rows[:, :3], rows[:, 4:7] = np.arange(12).reshape(4, 3), (0, 1, 0)
    view = square.buffer_view(rows.tobytes())
    square.document["bufferViews"][view]["byteStride"] = 32
    common = {"bufferView": view, "componentType": 5126, "count": 4, "type": "VEC3"}
    attributes = square.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["POSITION"] = square.add("accessors", common)
    attributes["NORMAL"] = square.add("accessors", {**common, "byteOffset": 16})
    [primitive] = load_gltf(square.glb()).primitives
    np.testing.assert_array_equal(primitive.positions, np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(primitive.normals, [(0, 1, 0)] * 4)


def test_sparse_accessors_deviate_from_zeros(square: GlbWriter) -> None:
    which = square.buffer_view(np.array([1, 3], np.uint8).tobytes())
    values = square.buffer_view(np.array([[5, 6, 7], [1, 2, 3]], np.float32).tobytes())
    sparse = {
        "count": 2,
        "indices": {"bufferView": which, "componentType": 5121},
        "values": {"bufferView": values},
    }
    accessor = {"componentType": 5126, "count": 4, "type": "VEC3", "sparse": sparse}
    attributes = square.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["POSITION"] = square.add("accessors", accessor)
    [primitive] = load_gltf(square.glb()).primitives
    np.testing.assert_array_equal(primitive.positions, [(0, 0, 0), (5, 6, 7), (0, 0, 0), (1, 2, 3)])


def test_a_matrix_and_the_same_translation_rotation_and_scale_agree(square: GlbWriter) -> None:
    half = 0.5**0.5
    placed = {"translation": [1, 2, 3], "rotation": [0, half, 0, half], "scale": [2, 3, 4]}
    matrix = [0, 0, -2, 0, 0, 3, 0, 0, 4, 0, 0, 0, 1, 2, 3, 1]  # column by column
    square.document["nodes"] = [{"mesh": 0, **placed}, {"mesh": 0, "matrix": matrix}]
    first, second = load_gltf(square.glb()).draws
    np.testing.assert_allclose(first.world_from_mesh, second.world_from_mesh, atol=1e-6)
    np.testing.assert_allclose(first.world_from_mesh @ (1, 0, 0, 1), (1, 2, 1, 1), atol=1e-6)


def test_a_mesh_placed_twice_is_stored_once(square: GlbWriter) -> None:
    square.add("nodes", {"mesh": 0, "translation": [0, 5, 0]})
    scene = load_gltf(square.glb())
    assert [draw.primitive for draw in scene.draws] == [0, 0]
    assert scene.triangles == 4


def test_what_is_scaled_to_nothing_is_left_out(square: GlbWriter) -> None:
    square.add("nodes", {"mesh": 0, "scale": [0, 1, 1]})
    scene = load_gltf(square.glb())
    assert len(scene.draws) == 1
    assert scene.warnings == ("nodes[2] is scaled to nothing; it is left out.",)


def light_nodes(writer: GlbWriter, *lights: dict[str, object]) -> None:
    """Each light on a node of its own, whose -Z points down."""
    writer.document["extensions"] = {"KHR_lights_punctual": {"lights": list(lights)}}
    half = 0.5**0.5
    for index in range(len(lights)):
        extensions = {"KHR_lights_punctual": {"light": index}}
        place = {"rotation": [-half, 0, 0, half], "translation": [0, index, 0]}
        writer.add("nodes", {**place, "extensions": extensions})


def test_lights_of_every_kind_are_read(square: GlbWriter) -> None:
    light_nodes(
        square,
        {"type": "directional", "color": [1, 0.5, 0], "intensity": 2},
        {"type": "point", "range": 7},
        {"type": "spot", "spot": {"innerConeAngle": 0.1, "outerConeAngle": 0.2}},
        {"type": "area"},
    )
    scene = load_gltf(square.glb())
    sun, point, spot = scene.lights
    np.testing.assert_allclose(sun.world_from_light[:, 2], (0, 1, 0), atol=1e-6)
    assert (sun.kind, sun.color, sun.intensity) == (LightKind.DIRECTIONAL, (1.0, 0.5, 0.0), 2.0)
    assert (point.kind, point.reach, point.node) == (LightKind.POINT, 7.0, -1)
    np.testing.assert_array_equal(point.world_from_light[:, 3], (0, 1, 0))
    assert (spot.kind, spot.inner_cone, spot.outer_cone) == (LightKind.SPOT, 0.1, 0.2)
    [warning] = scene.warnings
    assert "'area' light" in warning


def test_more_lights_than_are_drawn_are_said_to_be_left_out(square: GlbWriter) -> None:
    light_nodes(square, *({"type": "point"} for _ in range(MAX_LIGHTS + 1)))
    scene = load_gltf(square.glb())
    assert len(scene.lights) == MAX_LIGHTS
    assert "its light is left out" in scene.warnings[0]


def test_cameras_are_read_where_they_stand(square: GlbWriter) -> None:
    square.document["cameras"] = [
        {"type": "perspective", "perspective": {"yfov": 0.7, "znear": 0.1, "aspectRatio": 2}},
        {
            "type": "orthographic",
            "name": "plan",
            "orthographic": {"xmag": 3, "ymag": 2, "znear": 0, "zfar": 9},
        },
    ]
    square.add("nodes", {"camera": 0, "name": "front", "translation": [1, 2, 3]})
    square.add("nodes", {"camera": 1})
    front, plan = load_gltf(square.glb()).cameras
    assert (front.name, front.fov, front.near, front.far) == ("front", 0.7, 0.1, 0.0)
    np.testing.assert_array_equal(front.world_from_camera[:, 3], (1, 2, 3))
    assert (plan.name, plan.fov, plan.half_height, plan.far) == ("plan", 0.0, 2.0, 9.0)


@pytest.mark.parametrize(
    "camera",
    [
        {"type": "perspective"},
        {"type": "perspective", "orthographic": {"xmag": 1, "ymag": 1, "znear": 0, "zfar": 1}},
        {"type": "perspective", "perspective": {"yfov": 1, "znear": 1, "zfar": 0.5}},
        {"type": "orthographic", "orthographic": {"xmag": 1, "ymag": 0, "znear": 0, "zfar": 1}},
        {"type": "orthographic", "orthographic": {"xmag": 1, "ymag": 1, "znear": 2, "zfar": 1}},
    ],
)
def test_a_camera_that_sees_nothing_is_refused(square: GlbWriter, camera: dict) -> None:
    square.document["cameras"] = [camera]
    square.add("nodes", {"camera": 0})
    with pytest.raises(ContentRefused, match=r"cameras\[0\]"):
        load_gltf(square.glb())


def test_material_extensions_are_read(square: GlbWriter) -> None:
    material = square.document["materials"][0]
    transform = {"offset": [0.5, 1], "rotation": 0.3, "scale": [2, 3], "texCoord": 1}
    material["normalTexture"] = {
        "index": 0,
        "extensions": {"KHR_texture_transform": transform},
    }
    material["emissiveFactor"] = [1, 0.5, 0]
    material["extensions"] = {
        "KHR_materials_emissive_strength": {"emissiveStrength": 6},
        "KHR_materials_unlit": {},
    }
    square.document["extensionsRequired"] = square.document["extensionsUsed"] = [
        "KHR_texture_transform",
        "KHR_materials_emissive_strength",
        "KHR_materials_unlit",
    ]
    attributes = square.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["TEXCOORD_1"] = attributes["TEXCOORD_0"]
    scene = load_gltf(square.glb())
    [read] = scene.materials
    assert scene.warnings == ()
    assert read.unlit
    assert read.emissive_factor == (6.0, 3.0, 0.0)
    assert read.normal == TextureSlot(0, 1, UvTransform((0.5, 1.0), 0.3, (2.0, 3.0)))


def test_layers_are_read_and_their_textures_named_as_left_out(square: GlbWriter) -> None:
    names = ("KHR_materials_ior", "KHR_materials_clearcoat", "KHR_materials_transmission")
    coat = {
        "clearcoatFactor": 0.6,
        "clearcoatRoughnessFactor": 0.2,
        "clearcoatTexture": {"index": 0},
    }
    layers = ({"ior": 1.33}, coat, {"transmissionFactor": 0.7})
    square.document["materials"][0]["extensions"] = dict(zip(names, layers, strict=True))
    square.document["extensionsRequired"] = square.document["extensionsUsed"] = list(names)
    scene = load_gltf(square.glb())
    [read] = scene.materials
    assert read.layers() == pytest.approx((0.02006, 0.6, 0.2, 0.7), rel=1e-3)
    [warning] = scene.warnings
    assert "clearcoatTexture is left out" in warning
    assert Material().layers() == pytest.approx((0.04, 0.0, 0.0, 0.0))


def test_a_mirror_is_an_index_of_zero() -> None:
    assert Material(ior=0.0).reflectance == 1.0


def test_quantized_vertices_are_read(square: GlbWriter) -> None:
    """KHR_mesh_quantization: any of its types, scaled by the node."""
    attributes = square.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["POSITION"] = square.accessor(
        np.array([[0, 0, 0, 0], [100, 0, 0, 0], [100, 100, 0, 0], [0, -100, 0, 0]], np.int8)[:, :3]
    )
    attributes["NORMAL"] = square.accessor(np.array([[0, 0, 127]] * 4, np.int8), normalized=True)
    attributes["TEXCOORD_0"] = square.accessor(
        np.array([[0, 65535], [0, 0], [65535, 0], [1, 1]], np.uint16), normalized=True
    )
    square.document["extensionsRequired"] = ["KHR_mesh_quantization"]
    [primitive] = load_gltf(square.glb()).primitives
    np.testing.assert_array_equal(primitive.positions[3], (0, -100, 0))
    np.testing.assert_array_equal(primitive.normals, [(0, 0, 1)] * 4)
    np.testing.assert_array_equal(primitive.uv0[:3], [(0, 1), (0, 0), (1, 0)])


def test_a_sampler_and_an_alpha_mode_are_read(square: GlbWriter) -> None:
    square.add("samplers", {"minFilter": 9728, "wrapS": 33071, "wrapT": 33648})
    square.document["textures"][0]["sampler"] = 0
    square.document["materials"][0] |= {"alphaMode": "MASK", "alphaCutoff": 0.3}
    scene = load_gltf(square.glb())
    texture = scene.textures[0]
    assert (texture.min_filter, texture.wrap_s, texture.wrap_t) == (
        MinFilter.NEAREST,
        Wrap.CLAMP_TO_EDGE,
        Wrap.MIRRORED_REPEAT,
    )
    assert scene.materials[0].alpha_mode is AlphaMode.MASK
    assert scene.materials[0].alpha_cutoff == 0.3


def test_texture_coordinates_that_a_material_misses_are_said_to_be_missing(
    square: GlbWriter,
) -> None:
    del square.document["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]
    scene = load_gltf(square.glb())
    assert scene.primitives[0].uv0 is not None
    assert "lacks TEXCOORD_0" in scene.warnings[0]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "I;16", "CMYK"])
def test_every_kind_of_picture_becomes_rgba(square: GlbWriter, mode: str) -> None:
    grey = Pillow.new("L", (2, 2), 128)
    packed = io.BytesIO()
    if mode == "I;16":
        Pillow.fromarray(np.full((2, 2), 128 * 257, np.uint16)).save(packed, "PNG")
    else:
        grey.convert(mode).save(packed, "JPEG" if mode == "CMYK" else "PNG")
    square.document["images"][0]["bufferView"] = square.buffer_view(packed.getvalue())
    [image] = load_gltf(square.glb()).images
    assert image.rgba8.shape == (2, 2, 4)
    assert (image.rgba8[..., 3] == 255).all()
    if mode != "1":
        np.testing.assert_allclose(image.rgba8[..., :3].astype(int), 128, atol=3)


def test_flight_helmet_is_read_in_full(data_dir: Path) -> None:
    scene = load_scene(pack(data_dir / "gltf" / "FlightHelmet" / "FlightHelmet.gltf").data)
    assert (scene.triangles, len(scene.draws), len(scene.images)) == (94_722, 6, 15)
    assert all(primitive.tangents is not None for primitive in scene.primitives)
    assert {image.rgba8.shape for image in scene.images} == {(512, 512, 4), (32, 32, 4)}
    assert [m.name for m in scene.materials if m.alpha_mode is AlphaMode.BLEND] == ["LensesMat"]
    assert scene.warnings == ()


def test_fox_is_read_with_its_skin_and_animations(data_dir: Path) -> None:
    scene = load_scene(pack(data_dir / "gltf" / "Fox.glb").data)
    assert scene.triangles == 576
    np.testing.assert_allclose(np.linalg.norm(scene.primitives[0].normals, axis=1), 1, rtol=1e-5)
    assert scene.motion is not None
    assert [animation.name for animation in scene.motion.animations] == ["Survey", "Walk", "Run"]
    assert [len(animation.tracks) for animation in scene.motion.animations] == [2, 2, 2]
    assert len(scene.motion.joints) == 24
    assert scene.primitives[0].flat
    assert scene.draws[0].skin == 0
    assert scene.warnings == ()


def test_the_touch_controller_is_read(data_dir: Path) -> None:
    scene = load_scene(pack(data_dir / "gltf" / "webxr" / "oculus-touch-left.glb").data)
    assert (scene.triangles, len(scene.draws), len(scene.images)) == (12_491, 6, 4)
