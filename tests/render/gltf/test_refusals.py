"""Malformed and oversized files: one error that names the place, and never anything else."""

from __future__ import annotations

import copy
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from mesh.core.errors import ContentRefused
from render.gltf import limits, load_gltf
from render.gltf.container import join_glb, split_glb
from render.gltf.writer import GlbWriter
from render.scene import Scene

Spoilt = Callable[[Callable[[dict[str, Any]], None]], bytes]


def assert_sound(scene: Scene) -> None:
    """What `Scene` promises: every index points at something, every number is finite."""
    assert scene.draws
    assert scene.materials
    assert np.isfinite(scene.bounds_min).all()
    assert np.isfinite(scene.bounds_max).all()
    for draw in scene.draws:
        assert np.isfinite(np.linalg.inv(draw.world_from_mesh.astype(float))).all()
        assert draw.primitive < len(scene.primitives)
    for primitive in scene.primitives:
        count = len(primitive.positions)
        assert primitive.material < len(scene.materials)
        assert len(primitive.indices) % 3 == 0
        assert len(primitive.indices) > 0
        assert primitive.indices.max() < count
        assert np.isfinite(primitive.positions).all()
        np.testing.assert_allclose(np.linalg.norm(primitive.normals, axis=1), 1.0, rtol=1e-4)
        for array in (primitive.tangents, primitive.uv0, primitive.uv1, primitive.colors):
            assert array is None or (len(array) == count and np.isfinite(array).all())
        for slot in scene.materials[primitive.material].slots():
            assert slot.texture < len(scene.textures)
            assert (primitive.uv0, primitive.uv1)[slot.uv_set] is not None
    for texture in scene.textures:
        assert texture.image < len(scene.images)


def load_or_refuse(data: bytes) -> None:
    try:
        scene = load_gltf(data)
    except ContentRefused as refusal:
        assert len(refusal.what) < 300
    else:
        assert_sound(scene)


@given(st.data())
def test_a_truncated_file_is_refused(square_glb: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(square_glb) - 1))
    with pytest.raises(ContentRefused):
        load_gltf(square_glb[:length])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=8
    )
)
def test_flipped_bits_give_a_sound_scene_or_a_refusal(
    square_glb: bytes, flips: list[tuple[float, int]]
) -> None:
    spoilt = bytearray(square_glb)
    for share, mask in flips:
        spoilt[int(share * len(spoilt))] ^= mask
    load_or_refuse(bytes(spoilt))


def paths(node: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document."""
    found = [path] if path else []
    entries = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in entries:
        found += paths(value, (*path, key))
    return found


STRANGE = st.one_of(
    st.sampled_from([-1, 0, 1, 2, 3, 255, 5121, 5126, 65535, 2**31, 2**32 - 1, 2**63, 1e308, -0.0]),
    st.sampled_from([None, True, "", "VEC4", "SCALAR", "MAT4", "MASK", [], {}, [[]], [0] * 16]),
    st.integers(-10, 10**7),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_changed_fields_give_a_sound_scene_or_a_refusal(
    square_glb: bytes, data: st.DataObject
) -> None:
    json_chunk, binary = split_glb(square_glb)
    document = msgspec.json.decode(json_chunk)
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(paths(document)))
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[path[-1]] = copy.deepcopy(data.draw(STRANGE))
        elif isinstance(holder, dict):
            del holder[path[-1]]
        if not paths(document):
            break
    load_or_refuse(join_glb(msgspec.json.encode(document), bytes(binary)))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ContentRefused):
        load_gltf(noise)
    with pytest.raises(ContentRefused):
        load_gltf(b"glTF" + struct.pack("<II", 2, 12 + len(noise)) + noise)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "place", "why"),
    [
        (0, "<4s", b"GLTF", "the GLB header", "starts with"),
        (4, "<I", 1, "the GLB header", "version 1"),
        (8, "<I", 11, "the GLB header", "announces 11 bytes"),
        (8, "<I", 2**32 - 1, "the GLB header", "announces 4294967295 bytes"),
        (12, "<I", 2**32 - 1, "the JSON chunk", "announces 4294967295 bytes"),
        (12, "<I", 0, "the BIN chunk", "stands in its place"),
        (16, "<4s", b"BIN\0", "the JSON chunk", "stands in its place"),
    ],
)
def test_a_header_that_lies_is_refused(
    square_glb: bytes, offset: int, layout: str, value: Any, place: str, why: str
) -> None:
    lying = bytearray(square_glb)
    struct.pack_into(layout, lying, offset, value)
    with pytest.raises(ContentRefused) as refusal:
        load_gltf(lying)
    assert refusal.value.what == f"the scene was refused at {place}"
    assert why in refusal.value.why


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set document[path...] = value."""

    def change(document: dict[str, Any]) -> None:
        holder: Any = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value

    return change


PRIMITIVE = ("meshes", 0, "primitives", 0)


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        (put("asset", "version", value="1.0"), "asset.version", "glTF 1.0"),
        (put("asset", "minVersion", value="2.1"), "asset.version", "2.1"),
        (put("nodes", 0, "children", value=[1]), "nodes[1]", "a cycle"),
        (put("scenes", 0, "nodes", value=[1, 0]), "nodes[0]", "twice"),
        (put("scenes", 0, "nodes", value=[]), "its node tree", "no triangle"),
        (put("scenes", 0, "nodes", value=[7]), "scenes[0].nodes", "there are 2"),
        (put("nodes", 0, "mesh", value=9), "nodes[0]", "meshes[9]"),
        (put("nodes", 0, "matrix", value=[1.0] * 16), "nodes[0].matrix", "last row"),
        (put("nodes", 0, "rotation", value=[0, 0, 0, 0]), "nodes[0].rotation", "no rotation"),
        (put("nodes", 0, "scale", value=[1e300] * 3), "nodes[0]", "beyond"),
        (put("accessors", 0, "count", value=5), "accessors[0]", "which has 48 bytes"),
        (put("accessors", 0, "type", value="VEC2"), "accessors[0]", "needs VEC3"),
        (put("accessors", 2, "count", value=3), "meshes[0].primitives[0].TEXCOORD_0", "than"),
        (put("accessors", 3, "componentType", value=5120), "accessors[3]", "unsigned"),
        (put("accessors", 0, "bufferView", value=77), "accessors[0]", "bufferViews[77]"),
        (put("bufferViews", 1, "byteOffset", value=10**7), "bufferViews[1]", "ends at byte"),
        (put("buffers", 0, "byteLength", value=10**6), "buffers[0]", "announces"),
        (put("buffers", 0, "uri", value="http://x.example"), "buffers[0]", "outside the file"),
        (put(*PRIMITIVE, "attributes", value={}), "meshes[0].primitives[0]", "no POSITION"),
        (put(*PRIMITIVE, "indices", value=0), "accessors[0]", "unsigned"),
        (put(*PRIMITIVE, "material", value=3), "meshes[0].primitives[0]", "materials[3]"),
        (put("materials", 0, "normalTexture", "index", value=4), "materials[0].normalTexture", "4"),
        (put("textures", 0, "source", value=2), "textures[0]", "images[2]"),
        (put("textures", 0, "sampler", value=2), "textures[0]", "samplers[2]"),
        (put("images", 0, "bufferView", value=1), "images[0]", "neither PNG nor JPEG"),
        (put("materials", 0, "alphaCutoff", value=-1), "materials[0].alphaCutoff", ">= 0"),
        (put("accessors", 0, "componentType", value=9), "accessors[0].componentType", "9"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_place_and_the_reason(
    spoilt: Spoilt, change: Callable[[dict[str, Any]], None], place: str, why: str
) -> None:
    with pytest.raises(ContentRefused) as refusal:
        load_gltf(spoilt(change))
    assert refusal.value.what == f"the scene was refused at {place}"
    assert why in refusal.value.why


def test_an_index_past_the_vertices_is_refused(square: GlbWriter) -> None:
    indices = square.accessor(np.array([0, 1, 4], np.uint16))
    square.document["meshes"][0]["primitives"][0]["indices"] = indices
    with pytest.raises(ContentRefused, match="holds the index 4, and there are 4 vertices"):
        load_gltf(square.glb())


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(square: GlbWriter, number: float) -> None:
    positions = np.zeros((4, 3), np.float32)
    positions[2, 1] = number
    square.document["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = square.accessor(
        np.zeros((4, 3), np.float32)
    )
    view = square.document["accessors"][-1]["bufferView"]
    start = square.document["bufferViews"][view]["byteOffset"]
    _, binary = split_glb(square.glb())
    changed = bytearray(binary)
    changed[start : start + 48] = positions.tobytes()
    document = {**square.document, "scenes": [{"nodes": [1]}]}
    document["buffers"] = [{"byteLength": len(changed)}]
    with pytest.raises(ContentRefused, match="not finite"):
        load_gltf(join_glb(msgspec.json.encode(document), changed))


def test_an_unknown_extension_is_refused_when_required_and_named_when_used(
    square: GlbWriter,
) -> None:
    square.document["extensionsUsed"] = ["EXT_made_up"]
    assert load_gltf(square.glb()).warnings == ("The extensions EXT_made_up are not read.",)
    square.document["extensionsRequired"] = ["EXT_made_up"]
    with pytest.raises(ContentRefused, match="EXT_made_up"):
        load_gltf(square.glb())


def test_what_no_library_decodes_is_refused_by_name(square: GlbWriter) -> None:
    square.document["extensionsRequired"] = ["EXT_meshopt_compression", "KHR_texture_basisu"]
    with pytest.raises(ContentRefused, match="EXT_meshopt_compression, KHR_texture_basisu") as no:
        load_gltf(square.glb())
    assert "Draco" in no.value.fix


def test_json_nested_without_end_is_refused() -> None:
    deep = b'{"asset": {"version": "2.0"}, "extras": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"
    with pytest.raises(ContentRefused, match="the JSON text"):
        load_gltf(join_glb(deep, b"\0"))


def test_a_chain_of_nodes_as_long_as_allowed_is_walked(square: GlbWriter) -> None:
    count = 20_000
    square.document["nodes"] = [
        *({"children": [index + 1]} for index in range(count)),
        {"mesh": 0},
    ]
    assert len(load_gltf(square.glb()).draws) == 1


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG."""
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def packed_zeros(size: int) -> bytes:
    """So many zeros, deflated, without so many of them in memory."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def bomb_png(width: int, height: int, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A valid, tiny PNG of a huge black picture; or what `data` holds, after `extra` chunks."""
    rows = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    data = data or b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), extra, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size", [(8200, 8), (8192, 8192 + 8)])
def test_a_picture_bomb_is_refused_before_it_is_decoded(
    square: GlbWriter, size: tuple[int, int]
) -> None:
    square.document["images"][0]["bufferView"] = square.buffer_view(bomb_png(*size))
    with pytest.raises(ContentRefused, match="the limits are 8192 a side"):
        load_gltf(square.glb())


VAST = 64 << 20


@pytest.mark.parametrize(
    ("kind", "head"),
    [(b"zTXt", b"name\0\0"), (b"iTXt", b"name\0\1\0\0\0"), (b"iCCP", b"name\0\0")],
    ids=["text", "text in UTF-8", "profile"],
)
def test_what_a_png_says_beside_its_pixels_is_not_inflated_without_end(
    square: GlbWriter, kind: bytes, head: bytes
) -> None:
    picture = bomb_png(8, 8, extra=chunk(kind, head + packed_zeros(VAST)))
    square.document["images"][0]["bufferView"] = square.buffer_view(picture)
    with most_taken(16 << 20), pytest.raises(ContentRefused, match="Decompressed data too large"):
        load_gltf(square.glb())


def test_of_a_png_no_more_is_inflated_than_it_has_pixels(square: GlbWriter) -> None:
    picture = bomb_png(8, 8, packed_zeros(VAST))
    square.document["images"][0]["bufferView"] = square.buffer_view(picture)
    with most_taken(16 << 20):
        [image] = load_gltf(square.glb()).images
    assert image.rgba8.shape == (8, 8, 4)


@contextmanager
def most_taken(nbytes: int) -> Iterator[None]:
    """Allocations by Python, numpy and zlib objects stay under so many bytes together."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < nbytes
    finally:
        tracemalloc.stop()


def test_pictures_share_one_budget_of_pixels(
    square: GlbWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("render.gltf.images.MAX_PIXELS", 16 + 15)
    square.texture(np.zeros((4, 4, 3), np.uint8))
    square.document["materials"][0]["emissiveTexture"] = {"index": 1}
    with pytest.raises(ContentRefused, match="32 in the scene"):
        load_gltf(square.glb())


def test_a_damaged_picture_is_refused(square: GlbWriter) -> None:
    picture = bytearray(bomb_png(64, 64))
    picture[45] ^= 0xFF
    square.document["images"][0]["bufferView"] = square.buffer_view(bytes(picture))
    with pytest.raises(ContentRefused, match=r"images\[0\]: it is damaged"):
        load_gltf(square.glb())


def test_a_truncated_jpeg_is_refused(square: GlbWriter) -> None:
    packed = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Pillow.fromarray(noise).save(packed, "JPEG")
    cut_off = packed.getvalue()[: len(packed.getvalue()) // 2]
    square.document["images"][0]["bufferView"] = square.buffer_view(cut_off)
    with pytest.raises(ContentRefused, match=r"images\[0\]: it is damaged"):
        load_gltf(square.glb())


@pytest.mark.parametrize("side", [8193, 10_000, 65_500])  # Pillow warns at 9460, fails at 13378
def test_a_small_jpeg_that_says_it_is_vast_is_refused_before_it_is_decoded(
    square: GlbWriter, side: int
) -> None:
    packed = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(packed, "JPEG")
    lying = bytearray(packed.getvalue())
    frame = lying.index(b"\xff\xc0")  # SOF0: length, precision, height, width
    struct.pack_into(">HH", lying, frame + 5, side, side)
    square.document["images"][0]["bufferView"] = square.buffer_view(bytes(lying))
    with pytest.raises(ContentRefused, match="the limits are 8192 a side"):
        load_gltf(square.glb())


def scans_jpeg(scans: int, side: int) -> bytes:
    """A progressive JPEG that refines one grey picture over and over, in 11 bytes each."""

    def segment(marker: int, body: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body

    one_code = bytes((1, *bytes(15), 0))
    head = [
        segment(0xDB, b"\0" + b"\1" * 64),
        segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0"),
        segment(0xC4, b"\x00" + one_code) + segment(0xC4, b"\x10" + one_code),
        segment(0xDA, bytes((1, 1, 0, 0, 0, 1))) + b"\0",
    ]
    refining = segment(0xDA, bytes((1, 1, 0, 1, 63, 1))) + b"\0"
    return b"\xff\xd8" + b"".join(head) + refining * (scans - 1) + b"\xff\xd9"


def test_a_jpeg_that_is_gone_over_without_end_is_refused(square: GlbWriter) -> None:
    """Of 8192 x 8192 pixels, 110 KB took two minutes."""
    square.document["images"][0]["bufferView"] = square.buffer_view(scans_jpeg(65, 8))
    with pytest.raises(ContentRefused, match="over 64 scans"):
        load_gltf(square.glb())
    square.document["images"][0]["bufferView"] = square.buffer_view(scans_jpeg(64, 8))
    [image] = load_gltf(square.glb()).images
    assert image.rgba8.shape == (8, 8, 4)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"count": 5}, "bufferViews"),
        (
            {"indices": {"bufferView": 0, "componentType": 5121, "byteOffset": 3}},
            "replaces element",
        ),
        ({"values": {"bufferView": 99}}, "bufferViews[99]"),
    ],
)
def test_sparse_values_stay_inside_their_accessor(
    square: GlbWriter, changed: dict[str, Any], why: str
) -> None:
    which = square.buffer_view(np.array([0, 1, 2, 200], np.uint8).tobytes())
    values = square.buffer_view(np.zeros((4, 3), np.float32).tobytes())
    sparse: dict[str, Any] = {
        "count": 1,
        "indices": {"bufferView": which, "componentType": 5121},
        "values": {"bufferView": values},
    }
    if "indices" in changed:
        changed = {"indices": {**changed["indices"], "bufferView": which}}
    accessor = {"componentType": 5126, "count": 4, "type": "VEC3", "sparse": sparse | changed}
    attributes = square.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["POSITION"] = index = square.add("accessors", accessor)
    with pytest.raises(ContentRefused) as refusal:
        load_gltf(square.glb())
    assert refusal.value.what == f"the scene was refused at accessors[{index}].sparse"
    assert why in refusal.value.why


def test_elements_that_overlap_their_stride_are_refused(spoilt: Spoilt) -> None:
    with pytest.raises(ContentRefused, match=r"accessors\[0\].*overlap at a stride of 4"):
        load_gltf(spoilt(put("bufferViews", 1, "byteStride", value=4)))


def test_accessors_without_bytes_cannot_ask_for_endless_memory(square: GlbWriter) -> None:
    vast = {"componentType": 5126, "count": limits.MAX_VERTICES + 1, "type": "VEC3"}
    attributes = square.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["POSITION"] = square.add("accessors", vast)
    with pytest.raises(ContentRefused, match="the limits are"):
        load_gltf(square.glb())


def test_primitives_that_alias_one_buffer_share_one_budget(
    square: GlbWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("render.gltf.geometry.MAX_VERTICES", 15)
    primitives = square.document["meshes"][0]["primitives"]
    primitives += 3 * [primitives[0]]
    with pytest.raises(ContentRefused, match=r"primitives\[3\].*16 vertices"):
        load_gltf(square.glb())


def test_meshes_placed_too_often_are_refused(
    square: GlbWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("render.gltf.loader.MAX_DRAWS", 3)
    for _ in range(3):
        square.add("nodes", {"mesh": 0})
    with pytest.raises(ContentRefused, match="draws 4 primitives"):
        load_gltf(square.glb())


def test_warnings_are_bounded_in_number_and_length(square: GlbWriter) -> None:
    square.document["extensionsUsed"] = ["x" * 1000] * 20
    for _ in range(100):
        square.add("nodes", {"mesh": 0, "scale": [0, 0, 0]})
    warnings = load_gltf(square.glb()).warnings
    assert len(warnings) == limits.MAX_WARNINGS + 1
    assert warnings[-1] == "37 further warnings."
    assert max(map(len, warnings)) <= 301
