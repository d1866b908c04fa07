"""FMVR/1: what is written is read again, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused
from render.depth import BLOCKS, map_shape
from render.headpose import HeadPose
from render.viewresult import ViewResult, decode_result, encode_result, result_bytes

POSE = HeadPose(7, (1.0, -2.0, 3.5), (0.0, 0.6, 0.0, 0.8), display_us=-5)


def result(views: int = 2, size: tuple[int, int] = (90, 60), block: int = 8) -> ViewResult:
    rng = np.random.default_rng(3)
    depth = [rng.random(map_shape(*size, block)).astype(np.float16) for _ in range(views)]
    matrices = [rng.random((4, 4)) for _ in range(views)]
    return ViewResult(POSE, True, size, matrices, block, depth if block else [])


@given(
    st.integers(1, 2),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.sampled_from([*BLOCKS]),
)
def test_what_is_written_is_read_again(views: int, size: tuple[int, int], block: int):
    for given_block in (0, block):
        said = result(views, size, block) if given_block else result(views, size, 4)
        if not given_block:
            said = ViewResult(said.pose, False, size, said.views)
        data = encode_result(said)
        assert len(data) == result_bytes(size, views, given_block)
        read = decode_result(data)
        assert (read.pose, read.posed, read.size) == (said.pose, said.posed, said.size)
        np.testing.assert_array_equal(read.views, said.views)
        assert read.block == given_block
        assert len(read.depth) == len(said.depth)
        for one, other in zip(read.depth, said.depth, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:79], "do not hold its header"),
        (lambda data: b"FMBX" + data[4:], "it begins with"),
        (lambda data: data[:4] + b"\x02" + data[5:], "version 2"),
        (lambda data: data[:5] + b"\x00" + data[6:], "0 views"),
        (lambda data: data[:5] + b"\x03" + data[6:], "3 views"),
        (lambda data: data[:6] + b"\x05" + data[7:], "blocks of 5"),
        (lambda data: data[:12] + b"\x00\x00" + data[14:], "views of 0x60"),
        (lambda data: data[:-1], "must have"),
        (lambda data: data + b"\x00", "must have"),
        (lambda data: data[:12] + b"\xff\xff\xff\xff" + data[16:], "must have"),
    ],
)
def test_anything_else_is_refused(damage, why: str):
    with pytest.raises(ContentRefused, match=why):
        decode_result(damage(encode_result(result())))


@given(st.binary(max_size=400))
def test_no_bytes_are_trouble(data: bytes):
    for given_data in (data, b"FMVR\x01" + data):
        try:
            decode_result(given_data)
        except ContentRefused as refusal:
            assert "cannot be read" in str(refusal)
