"""Packed sweeps: no point farther from where it was than was said, and garbage is refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from infer.sweep import MAX_POINTS, encode_sweep
from infer.uplink.form import HEADER_BYTES, Header, decode_header
from infer.uplink.packing import BOUND_M, pack_sweep, step_for, unpack_sweep
from mesh.core.errors import ContentRefused, Misuse


@st.composite
def clouds(draw):
    """Points far and near, in any order, some of them no measurements."""
    n = draw(st.integers(0, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    reach = draw(st.sampled_from([0.05, 3.0, 80.0, 999.9999]))
    points = rng.uniform(-reach, reach, (n, 4)).astype(np.float32)
    points[:, 3] = rng.uniform(-0.2, 1.2, n)
    for value in (np.nan, np.inf, -1000.0, 1e30):
        points[rng.random((n, 4)) < draw(st.sampled_from([0, 0.02]))] = value
    return points


@given(points=clouds(), bound_mm=st.sampled_from([1, 10, 37.5, 100]), ordered=st.booleans())
def test_every_point_comes_back_within_the_bound(points, bound_mm, ordered):
    """Told apart by their times, since the order of points may change."""
    rings = np.arange(len(points)) % 7 if ordered else None
    times = np.arange(len(points)) - len(points) // 2
    packed = pack_sweep(points, rings=rings, times_us=times, bound_m=bound_mm / 1000)
    sweep = unpack_sweep(5, packed)
    measured = (np.abs(points[:, :3]) < 1000).all(axis=1)
    n = int(measured.sum())
    assert (sweep.stamp_us, len(sweep.points)) == (5, len(points))
    assert sorted(sweep.times_us[:n]) == times[measured].tolist()
    was = points[sweep.times_us[:n] + len(points) // 2].astype(np.float64)
    away = np.linalg.norm(sweep.points[:n, :3] - was[:, :3], axis=1)
    assert away.max(initial=0) <= bound_mm / 1000
    bright = np.clip(np.nan_to_num(was[:, 3], posinf=1, neginf=0), 0, 1)
    np.testing.assert_allclose(sweep.points[:n, 3], bright, atol=1 / 510 + 1e-6)
    assert np.isnan(sweep.points[n:]).all()
    # What rounding has moved to 1 km is no measurement either, as in a sweep that came unpacked.
    assert sweep.masked == int((~(np.abs(sweep.points[:, :3]) < 1000).all(axis=1)).sum())
    assert not sweep.points.flags.writeable


def test_a_real_sweep_keeps_its_order_and_a_twelfth_of_its_bytes(clip):
    for points in clip:
        packed = pack_sweep(points)
        back = unpack_sweep(0, packed)
        away = np.linalg.norm(back.points[:, :3] - points[:, :3].astype(np.float64), axis=1)
        assert away.max() <= BOUND_M
        assert np.abs(back.points[:, 3] - points[:, 3]).max() <= 1 / 510 + 1e-6
        assert len(packed) <= 0.09 * points.nbytes


def test_points_in_no_order_are_sorted_and_stay_small(clip):
    shuffled = np.random.default_rng(3).permutation(clip[0])
    packed = pack_sweep(shuffled)
    assert len(packed) <= 0.15 * shuffled.nbytes
    back = unpack_sweep(0, packed).points[:, :3].astype(np.float64)
    apart, _ = KDTree(shuffled[:, :3].astype(np.float64)).query(back)
    assert apart.max() <= BOUND_M
    assert np.abs(np.sort(back[:, 0]) - np.sort(shuffled[:, 0])).max() <= BOUND_M


def test_a_sweep_is_packed_to_the_same_bytes_and_numbers_whatever_went_before(clip):
    packed = [pack_sweep(points[::7]) for points in (clip[0], clip[1], clip[0])]
    assert packed[0] == packed[2] != packed[1]
    one, other = (unpack_sweep(0, data).points for data in packed[::2])
    np.testing.assert_array_equal(one, other)


def test_knowing_where_the_sensor_stands_saves_bytes_and_changes_no_bound(clip):
    moved = clip[0].copy()
    moved[:, :3] += [1.35, -0.4, 1.6]
    blind, told = pack_sweep(moved), pack_sweep(moved, origin=(1.35, -0.4, 1.6))
    assert len(told) < 0.95 * len(blind)
    assert abs(len(told) - len(pack_sweep(clip[0]))) < 0.01 * len(told)
    for packed in (blind, told):
        back = unpack_sweep(0, packed).points[:, :3].astype(np.float64)
        assert np.linalg.norm(back - moved[:, :3], axis=1).max() <= BOUND_M
    with pytest.raises(Misuse, match="does not stand"):
        pack_sweep(moved, origin=(0, 0, 101))


@pytest.mark.parametrize("count", [0, 1, MAX_POINTS])
def test_empty_and_full_sweeps(count):
    points = np.zeros((count, 4), np.float32)
    packed = pack_sweep(points)
    assert len(packed) < 500
    np.testing.assert_array_equal(unpack_sweep(0, packed).points, points)


@pytest.mark.parametrize("bound_m", [0, 0.0005, 0.2, -1])
def test_a_bound_that_cannot_be_kept_is_misuse(bound_m):
    with pytest.raises(Misuse, match="1 mm to 10 cm"):
        step_for(bound_m)


@pytest.mark.parametrize(
    ("points", "more", "why"),
    [
        (np.zeros((3, 3), np.float32), {}, r"shape \(3, 3\)"),
        (np.zeros((MAX_POINTS + 1, 4), np.float32), {}, r"shape \(300001, 4\)"),
        (np.zeros((3, 4), np.float32), {"rings": np.zeros(2, np.uint8)}, "rings are uint8"),
        (np.zeros((3, 4), np.float32), {"rings": np.zeros(3)}, "rings are float64"),
        (np.zeros((1, 4), np.float32), {"times_us": np.array([1_000_001])}, "1000001 to 1000001"),
    ],
)
def test_what_is_no_sweep_is_not_packed(points, more, why):
    with pytest.raises(ContentRefused, match=why):
        pack_sweep(points, **more)


# --- from outside ---------------------------------------------------------------------------------

POINTS = np.random.default_rng(4).normal(0, 20, (300, 4)).astype(np.float32)
PACKED = pack_sweep(POINTS, times_us=np.arange(300) * 55)


def remade(*, streams=None, **changed):
    """PACKED with other numbers in its header, or other streams."""
    head = decode_header(memoryview(PACKED))
    ends = np.cumsum((HEADER_BYTES, *head.sizes))
    mine = [PACKED[a:b] for a, b in pairwise(ends)]
    for index, stream in (streams or {}).items():
        mine[index] = stream
    sizes = tuple(map(len, mine))
    return b"".join((replace(head, **{"sizes": sizes, **changed}).encode(), *mine))


def squeezed(contents, **how):
    return zstandard.ZstdCompressor(**how).compress(contents)


def unsaid(contents):
    """A frame that does not say how much it holds."""
    return squeezed(contents, write_content_size=False)


BOMB = squeezed(bytes(1 << 28))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "do not hold its header"),
        (PACKED[:-1], "bytes, and its streams"),
        (PACKED + b"x", "bytes, and its streams"),
        (encode_sweep(POINTS), "does not begin as a packed sweep"),
        (PACKED[:4] + struct.pack("<H", 2) + PACKED[6:], "does not begin"),
        (PACKED[:6] + b"\1" + PACKED[7:], "does not begin"),
        (PACKED[:7] + b"\4" + PACKED[8:], "does not begin"),
        (remade(points=MAX_POINTS, masked=1), "it has 300001 points"),
        (remade(points=2**32 - 1, masked=2**32 - 1), "it has 8589934590 points"),
        (remade(escapes=1201), "cannot have 1201 escapes"),
        (remade(step_um=999), "steps of 999"),
        (remade(turn_nrad=-(2**31)), "beyond all sense"),
        (remade(origin_mm=(0, 0, 100_001)), "beyond all sense"),
        (remade(points=299), "does not say that it holds 299"),
        (remade(timed=False, escapes=900), "no content has bytes"),
        (remade(streams={0: BOMB}), "does not say that it holds 300"),
        (remade(streams={0: unsaid(bytes(300))}), "does not say that it holds 300"),
        (remade(streams={0: b"no zstd"}), "damaged"),
        (remade(streams={0: squeezed(bytes(300))[:-1]}), "damaged"),
        (remade(streams={0: squeezed(bytes(300)) + b"x"}), "damaged"),
        (remade(streams={0: squeezed(b"\xff" * 300)}), "escapes are too few"),
        (remade(streams={0: squeezed(bytes(300))}), "escapes .* have a place|beyond its reach"),
        (remade(streams={5: squeezed(b"\xff" * 3 * decode_header(memoryview(PACKED)).escapes)}),
         "over a second from its stamp"),
    ],
    ids=range(23),
)  # fmt: skip
def test_garbage_is_refused_and_said_why(data, why):
    with pytest.raises(ContentRefused, match=why):
        unpack_sweep(0, data)


def test_points_that_end_up_beyond_their_reach_are_refused():
    """Each number is one that may be, and together they lead away."""
    far = np.zeros((300, 4), np.float32)
    far[::4, 0] = 900
    packed = pack_sweep(far)
    head = decode_header(memoryview(packed))
    streams = [packed[a:b] for a, b in pairwise(np.cumsum((HEADER_BYTES, *head.sizes)))]
    streams[5] = squeezed(b"\xfe" * 3 * head.escapes)
    head = replace(head, sizes=tuple(map(len, streams)))
    with pytest.raises(ContentRefused, match="beyond its reach"):
        unpack_sweep(0, b"".join((head.encode(), *streams)))


@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    head = Header(20, 0, 3, 11_485, 5, (0, 0, 0), False, True, (20, 20, 20, 20, 20, 9)).encode()
    for whole in (data, head + data[len(head) :], head[: HEADER_BYTES - 24] + data):
        with pytest.raises(ContentRefused):
            unpack_sweep(0, whole)
