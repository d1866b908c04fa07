"""The result message and devices' answers as bytes: read back, bounded, refused when malformed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.codec import CLASSES, classify, decode_result
from infer.layout import CELLS, CLUSTER_FIELDS, OPEN
from infer.partial import bound_bytes, unpack
from infer.pieces import decode_session
from mesh.core.errors import ContentRefused


@pytest.fixture(scope="module")
def message(bench, clip):
    frame = bench.open(clip[0], 2)
    for index in range(2):
        frame.accept(index, memoryview(bench.answer(frame, index)))
    return frame.finish()


def test_a_browser_can_read_it_by_the_documented_offsets(message):
    """As a DataView would: each field by its offset."""
    (n,) = struct.unpack_from("<I", message, 16)
    assert message[:4] == b"FMBX"
    assert struct.unpack_from("<HH", message, 4) == (1, 2)
    assert struct.unpack_from("<I", message, 24) == (114278,)
    assert len(message) == 72 + n * 38
    result = decode_result(message)
    centre = struct.unpack_from("<3f", message, 72)
    size = struct.unpack_from("<3f", message, 72 + 12 * n)
    yaw, score = (struct.unpack_from("<f", message, 72 + at * n)[0] for at in (24, 28))
    (points,) = struct.unpack_from("<I", message, 72 + 32 * n)
    kind, flags = message[72 + 36 * n], message[72 + 37 * n]
    boxes = result.boxes
    assert centre == tuple(boxes.centres[0])
    assert size == tuple(boxes.sizes[0])
    assert (yaw, score, points) == (boxes.yaws[0], boxes.scores[0], boxes.points[0])
    assert (kind, flags) == (boxes.classes[0], boxes.flags[0])


def test_boxes_are_what_they_are_said_to_be(message):
    boxes = decode_result(message).boxes
    assert (boxes.sizes[:, 0] >= boxes.sizes[:, 1]).all()
    assert (boxes.sizes[:, 2] > 0).all()
    assert (np.abs(boxes.yaws) <= np.pi / 2 + 1e-6).all()
    np.testing.assert_allclose(boxes.scores, boxes.points / (boxes.points + 32.0), rtol=1e-6)
    assert (boxes.points >= 5).all()
    assert (np.abs(boxes.centres[:, :2]) <= 64).all()


@pytest.fixture(scope="module")
def message_with_points(make_bench, clip):
    frame = make_bench(points=333).open(clip[0], 1)
    return frame.finish()


def test_points_follow_the_boxes_at_the_documented_offsets(message_with_points):
    message = message_with_points
    (n,) = struct.unpack_from("<I", message, 16)
    assert struct.unpack_from("<H", message, 4) == (2,)
    at = 72 + 38 * n
    (m,) = struct.unpack_from("<I", message, at)
    assert 300 < m <= 333
    assert len(message) == at + 4 + 7 * m
    cloud = decode_result(message).cloud
    last = struct.unpack_from("<3h", message, at + 4 + 6 * (m - 1))
    assert last == tuple(cloud.positions[-1])
    assert message[-1] == cloud.intensities[-1]


def test_malformed_points_are_refused(message_with_points):
    message = message_with_points
    (n,) = struct.unpack_from("<I", message, 16)
    at = 72 + 38 * n
    for data in (
        message[:at],
        message[: at + 3],
        message[:-1],
        message + b"x",
        message[:at] + struct.pack("<I", 2**32 - 1) + message[at + 4 :],
        message[:at] + struct.pack("<I", 8193) + bytes(7 * 8193),
        message[:4] + struct.pack("<H", 1) + message[6:],
        message[:4] + struct.pack("<H", 3) + message[6:],
    ):
        with pytest.raises(ContentRefused, match="a result is refused"):
            decode_result(data)


def test_a_malformed_result_is_refused(message):
    for data in (
        b"",
        message[:71],
        message[:-1],
        message + b"x",
        b"XXXX" + message[4:],
        message[:16] + struct.pack("<I", 2**32 - 1) + message[20:],
        message[: -2 * len(decode_result(message).boxes.yaws)]
        + bytes([len(CLASSES)]) * (2 * len(decode_result(message).boxes.yaws)),
    ):
        with pytest.raises(ContentRefused, match="a result is refused"):
            decode_result(data)


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ((4.2, 1.8, 1.5), "car"),
        ((0.6, 0.5, 1.75), "pedestrian"),
        ((1.8, 0.6, 1.7), "cyclist"),
        ((10.0, 2.5, 3.2), "truck"),
        ((25.0, 0.5, 3.0), "other"),
        ((0.3, 0.3, 0.6), "other"),
    ],
)
def test_sizes_say_the_class(size, name):
    assert CLASSES[classify(np.array([size], np.float32))[0]] == name


# --- a device's answer ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid(bench):
    return decode_session(bench.session.setup.spec).grid()


@pytest.fixture(scope="module")
def answer(bench, clip):
    frame = bench.open(clip[0], 4)
    return bench.answer(frame, 1), int(frame.pieces[1].units)


def test_an_answer_stays_far_below_its_bound(grid, answer):
    data, points = answer
    assert len(data) < bound_bytes(points, grid) / 20


def test_an_answer_for_fewer_points_is_refused(grid, answer):
    with pytest.raises(ContentRefused, match="cannot be the answer for 10 points"):
        unpack(memoryview(answer[0]), grid, 10)


@pytest.mark.parametrize("cut", [0, 7, 127, 128, 500, -1, -64])
def test_a_truncated_answer_is_refused(grid, answer, cut):
    data, points = answer
    with pytest.raises(ContentRefused, match="a sector's answer is refused"):
        unpack(memoryview(data[:cut]), grid, points)


def lie(answer, grid, table, field, value):
    """The answer with one field of a table's first row (or first open cluster) changed."""
    data, points = bytearray(answer[0]), answer[1]
    clusters, border = struct.unpack_from("<2q", data, 8)
    rows = np.frombuffer(data, "<i8", clusters * CLUSTER_FIELDS, 128).reshape(-1, CLUSTER_FIELDS)
    at = 128 + 8 * CLUSTER_FIELDS * clusters
    if table == "clusters":
        rows[np.flatnonzero(rows[:, OPEN])[0], field] = value
    elif table == "border":
        struct.pack_into("<i", data, at + 4 * field, value)
    else:
        struct.pack_into("<i", data, at + 8 * border + 4 * field, value)
    return unpack(memoryview(data), grid, points)


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("border", 0, -1),
        ("border", 0, 1 << 20),
        ("border", 1, 1 << 20),
        ("border", 1, -1),
        ("columns", 0, 512 * 512),
        ("columns", 1, -2),
        ("columns", 2, 0),
        ("clusters", OPEN, 0),
        ("clusters", CELLS, 1 << 30),
        ("clusters", 7, 1 << 30),
        ("clusters", 0, 1 << 62),
        ("clusters", 2, -(1 << 63)),
    ],
)
def test_an_answer_that_points_to_nowhere_is_refused(grid, answer, table, field, value):
    with pytest.raises(ContentRefused, match="a sector's answer is refused"):
        lie(answer, grid, table, field, value)


@given(data=st.data())
@settings(max_examples=200)
def test_no_damaged_answer_harms_the_gateway(bench, clip, answer, data):
    """Whatever is flipped: it is refused, or merged into some result; nothing else happens."""
    damaged = bytearray(answer[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255))
    frame = bench.open(clip[0], 4)
    try:
        frame.accept(1, memoryview(damaged))
    except ContentRefused:
        return
    frame.accept(0, memoryview(bench.answer(frame, 0)))
    decode_result(frame.finish())
