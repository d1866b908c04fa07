"""Draco-compressed meshes: what the decoder is shown, and what it says is believed."""

from __future__ import annotations

import struct
from pathlib import Path

import DracoPy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused
from render.gltf import load_gltf
from render.gltf.writer import GlbWriter
from render.package import load_scene, pack

COLUMNS, ROWS = 12, 9
EXTENSION = "KHR_draco_mesh_compression"


def grid() -> tuple[np.ndarray, np.ndarray]:
    """A sheet of triangles on whole numbers, which quantisation keeps."""
    x, y = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    points = np.stack([x, y, (x * y) % 4], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(ROWS - 1)[:, None] * COLUMNS + np.arange(COLUMNS - 1)).reshape(-1, 1)
    faces = corner + np.array([0, 1, COLUMNS + 1, 0, COLUMNS + 1, COLUMNS])
    return points, faces.reshape(-1, 3).astype(np.uint32)


def compressed(level: int) -> bytes:
    points, faces = grid()
    return DracoPy.encode(
        points, faces, quantization_bits=12, compression_level=level, quantization_range=4095,
        quantization_origin=[0, 0, 0],
    )  # fmt: skip


STREAMS = {level: compressed(level) for level in (0, 7)}  # sequential, edge-broken


def write(stream: bytes) -> GlbWriter:
    points, faces = grid()
    writer = GlbWriter()
    position = {"componentType": 5126, "count": len(points), "type": "VEC3"}
    indices = {"componentType": 5125, "count": faces.size, "type": "SCALAR"}
    primitive = {
        "attributes": {"POSITION": writer.add("accessors", position)},
        "indices": writer.add("accessors", indices),
        "extensions": {
            EXTENSION: {"bufferView": writer.buffer_view(stream), "attributes": {"POSITION": 0}}
        },
    }
    writer.mesh([primitive])
    writer.add("nodes", {"mesh": 0})
    writer.document["extensionsUsed"] = writer.document["extensionsRequired"] = [EXTENSION]
    return writer


def triangles(points: np.ndarray, faces: np.ndarray) -> set[tuple[tuple[float, ...], ...]]:
    """Corners by place, whatever the order of triangles and of a triangle's first corner."""
    found = set()
    for face in faces.reshape(-1, 3):
        corners = [tuple(points[index].tolist()) for index in face]
        first = corners.index(min(corners))
        found.add(tuple(corners[first:] + corners[:first]))
    return found


@pytest.mark.parametrize("level", STREAMS)
def test_every_triangle_comes_back(level: int) -> None:
    [primitive] = load_gltf(write(STREAMS[level]).glb()).primitives
    assert triangles(np.round(primitive.positions), primitive.indices) == triangles(*grid())


def test_a_real_compressed_mesh_is_read(data_dir: Path) -> None:
    scene = load_scene(pack(data_dir / "gltf" / "suzi.glb").data)
    [primitive] = scene.primitives
    assert (scene.triangles, len(primitive.positions), scene.warnings) == (14_842, 7503, ())
    assert not primitive.flat
    np.testing.assert_allclose(scene.bounds_max, (0.9297, 0.6683, 0.5762), atol=1e-3)


def test_without_the_decoder_the_refusal_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
    with pytest.raises(ContentRefused) as refusal:
        load_gltf(write(STREAMS[7]).glb())
    assert "framemesh[scenes]" in refusal.value.fix


def test_a_stream_that_announces_more_than_the_accessors_is_never_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DracoPy, "decode", lambda _: pytest.fail("it was shown to the decoder"))
    vast = b"\xff\xff\xff\xff\x0f"
    heads = [
        b"DRACO" + struct.pack("<BBBBH", 2, 2, 1, 0, 0) + vast * 2,
        b"DRACO" + struct.pack("<BBBBHB", 2, 2, 1, 1, 0, 0) + vast * 2,
        b"DRACO" + struct.pack("<BBBBHB", 2, 2, 1, 1, 0, 0) + b"\xff" * 12,
    ]
    for head in heads:
        with pytest.raises(ContentRefused, match=r"announces|does not end"):
            load_gltf(write(head + STREAMS[7]).glb())


def test_a_stream_of_far_more_attributes_than_its_primitive_names_gets_no_memory() -> None:
    """620 bytes asked for 400 GB, and had filled 4 GB in 24 s where there was no bound."""
    vertices, attributes = 3_999_999, 100
    wide = bytes((4, 10, 127, 0))  # generic, 127 numbers of 8 bytes
    listed = b"".join(wide + bytes((number,)) for number in range(attributes))
    head = b"DRACO" + struct.pack("<BBBBH", 2, 2, 1, 0, 0) + b"\1" + b"\xff\x91\xf4\1" + b"\1"
    stream = head + bytes(12) + b"\1" + bytes((attributes,)) + listed + bytes(attributes)
    writer = write(stream)
    position, indices = writer.document["accessors"]
    position["count"], indices["count"] = vertices, 3
    with pytest.raises(ContentRefused, match="decodes to more than 512000000 bytes"):
        load_gltf(writer.glb())


@pytest.mark.parametrize(
    ("at", "byte", "why"),
    [
        (0, ord("d"), "no Draco stream"),
        (5, 1, "no Draco stream"),
        (7, 0, "not a plain triangle mesh"),
        (8, 9, "not a plain triangle mesh"),
        (10, 0x80, "with metadata"),
    ],
)
def test_a_header_of_another_kind_is_refused(at: int, byte: int, why: str) -> None:
    stream = bytearray(STREAMS[7])
    stream[at] = byte
    with pytest.raises(ContentRefused, match=why):
        load_gltf(write(bytes(stream)).glb())


def test_attributes_and_counts_must_be_those_of_the_stream() -> None:
    writer = write(STREAMS[7])
    extension = writer.document["meshes"][0]["primitives"][0]["extensions"][EXTENSION]
    extension["attributes"] = {"POSITION": 5}
    with pytest.raises(ContentRefused, match="with id 5 is not there"):
        load_gltf(writer.glb())
    extension["attributes"] = {"POSITION": 0}
    writer.document["accessors"][0]["count"] += 1
    with pytest.raises(ContentRefused, match="it decodes to"):
        load_gltf(writer.glb())
    del writer.document["meshes"][0]["primitives"][0]["indices"]
    with pytest.raises(ContentRefused, match="has no indices"):
        load_gltf(writer.glb())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(list(STREAMS)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_a_spoilt_stream_gives_a_mesh_or_a_refusal(
    level: int, changes: list[tuple[float, int]], kept: float
) -> None:
    stream = bytearray(STREAMS[level])
    for share, byte in changes:
        stream[int(share * len(stream))] = byte
    if not changes:
        stream = stream[: max(1, int(kept * len(stream)))]
    try:
        [primitive] = load_gltf(write(bytes(stream)).glb()).primitives
    except ContentRefused:
        return
    assert np.isfinite(primitive.positions).all()
    assert primitive.indices.max() < len(primitive.positions)
