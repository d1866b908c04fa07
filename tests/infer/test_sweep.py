"""Sweeps from outside: what is taken, what is masked, and what is refused and why."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.readers.kitti import list_sweeps, read_points
from infer.sweep import HEADER_BYTES, MAX_POINTS, decode_sweep, encode_sweep
from mesh.core.errors import ContentRefused


def cloud(count):
    return np.random.default_rng(1).uniform(-50, 50, (count, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_sweep_arrives_as_it_was_sent(kind):
    points = cloud(1000)
    sweep = decode_sweep(7, kind(encode_sweep(points)))
    np.testing.assert_array_equal(sweep.points, points)
    assert (sweep.stamp_us, sweep.masked) == (7, 0)
    assert not sweep.points.flags.writeable


def test_points_are_not_copied_when_they_lie_well():
    data = bytearray(encode_sweep(cloud(10)))
    sweep = decode_sweep(0, data)
    data[HEADER_BYTES : HEADER_BYTES + 4] = struct.pack("<f", 42)
    assert sweep.points[0, 0] == 42


def test_a_buffer_at_an_odd_address_is_taken_too(bench, clip, same):
    data = encode_sweep(clip[0])
    odd = memoryview(bytearray(1) + data)[1:]
    sweep = decode_sweep(0, odd)
    assert sweep.points.flags.aligned
    np.testing.assert_array_equal(sweep.points, clip[0])


@pytest.mark.parametrize("count", [0, 1, MAX_POINTS])
def test_empty_and_full_sweeps_are_taken_and_answered(bench, same, count):
    points = cloud(count)
    result = bench(points)
    assert result.counts.points == count
    same(result, bench(points, 4))


def changed(at, value):
    data = bytearray(encode_sweep(cloud(10)))
    data[at] = value
    return bytes(data)


def header(count):
    return struct.pack("<4sHBBII", b"FMSW", 1, 0, 0, count, 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "do not hold its header"),
        (b"FMSW", "do not hold its header"),
        (encode_sweep(cloud(10))[:-1], "10 points take 176 bytes, and it has 175"),
        (encode_sweep(cloud(10)) + b"x", "10 points take 176 bytes, and it has 177"),
        (cloud(10).tobytes(), "does not begin as a sweep"),
        (changed(4, 2), "does not begin as a sweep"),
        (changed(6, 1), "frame of reference 1 and dtype 0"),
        (changed(7, 1), "frame of reference 0 and dtype 1"),
        (header(10 * MAX_POINTS) + bytes(160 * MAX_POINTS), "it has 3000000 points"),
        (header(2**32 - 1), "it has 4294967295 points"),
    ],
    ids=["empty", "header", "short", "long", "raw", "version", "frame", "dtype", "10x", "huge"],
)
def test_a_malformed_sweep_is_refused_with_its_reason(data, why):
    with pytest.raises(ContentRefused, match="the sweep is refused") as refused:
        decode_sweep(0, data)
    assert why in str(refused.value)


@given(st.binary(max_size=200))
def test_no_bytes_make_more_than_a_refusal(data):
    try:
        decode_sweep(0, data)
    except ContentRefused:
        return
    assert data[:4] == b"FMSW"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2000.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_few_bad_points_are_masked_and_counted(bench, clip, same, bad, axis):
    points = clip[0].copy()
    points[::20, axis] = bad
    result = bench(points)
    assert result.counts.masked == len(points[::20])
    same(result, bench(points, 3))
    left = np.delete(points, slice(None, None, 20), axis=0)
    np.testing.assert_array_equal(result.boxes.centres, bench(left).boxes.centres)


def test_a_sweep_of_bad_points_alone_is_answered_with_what_is_known(bench, same):
    points = cloud(1000)
    points[:, 2] = np.nan
    result = bench(points)
    assert (result.counts.points, result.counts.masked) == (1000, 1000)
    assert result.counts.ground_cells == len(result.boxes.yaws) == 0
    same(result, bench(points, 4))


def test_intensity_may_be_anything(bench, clip, same):
    points = clip[0].copy()
    points[:, 3] = np.nan
    same(bench(points), bench(clip[0]))


@pytest.mark.parametrize("shape", [(5, 3), (5,), (MAX_POINTS + 1, 4)])
def test_what_is_no_sweep_is_not_encoded(shape):
    with pytest.raises(ContentRefused, match="the shape"):
        encode_sweep(np.zeros(shape, np.float32))


def test_kitti_files_are_found_and_read(data_dir):
    files = list_sweeps(data_dir / "kitti_raw_clip")
    assert [path.name for path in files] == [f"{n:010d}.bin" for n in range(8)]
    assert list_sweeps(data_dir / "kitti_raw_clip" / "velodyne") == files
    points = read_points(files[0])
    assert points.shape == (114278, 4)
    assert 0 <= points[:, 3].min() <= points[:, 3].max() <= 1


def test_what_is_no_kitti_file_is_refused(tmp_path):
    with pytest.raises(ContentRefused, match="it holds no"):
        list_sweeps(tmp_path)
    path = tmp_path / "a.bin"
    with pytest.raises(ContentRefused, match="No such file"):
        read_points(path)
    path.write_bytes(bytes(17))
    with pytest.raises(ContentRefused, match="17 bytes are no whole number"):
        read_points(path)
    with path.open("wb") as file:
        file.truncate(16 * MAX_POINTS + 16)
    with pytest.raises(ContentRefused, match="more than 300000 points"):
        read_points(path)
