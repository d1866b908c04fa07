"""Sizes with which all devices finish together, and cuts that have these sizes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mesh.core.errors import Misuse
from mesh.core.workload import CutHint, Lane
from mesh.schedule import cut
from mesh.schedule.cut import divide_line, divide_plane


def hint(*lanes: tuple[float, float], quantum_us: int = 0, us_per_byte: float = 0.0) -> CutHint:
    """Devices as (wait_us, us per unit)."""
    known = [Lane(wait_us, {"tile": us}, us_per_byte) for wait_us, us in lanes]
    return CutHint(len(known), quantum_us, lanes=known)


# Without the moments between the results, unless a test is about them.
shares = partial(cut.shares, merge_us=0)


# --- how much -----------------------------------------------------------------------------------


def test_equal_devices_get_equal_pieces():
    assert shares(hint((0, 1), (0, 1), (0, 1), (0, 1)), "tile", 100) == [0.25] * 4


def test_pieces_are_as_large_as_devices_are_fast():
    assert shares(hint((0, 1), (0, 2), (0, 4)), "tile", 70) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_a_device_that_is_busy_for_longer_gets_less():
    assert shares(hint((0, 1), (20, 1)), "tile", 100) == pytest.approx([0.6, 0.4])


def test_a_device_that_is_busy_until_all_is_done_gets_nothing():
    assert shares(hint((0, 1), (0, 1), (80, 1)), "tile", 100) == pytest.approx([0.5, 0.5])


def test_a_device_worth_less_than_its_trouble_is_not_asked():
    assert len(shares(hint((0, 1), (0, 1), (0, 1000)), "tile", 100)) == 2


def test_what_a_piece_costs_beside_its_share_is_counted():
    slow, fast = 3.0, 1.0
    large, small = shares(hint((0, slow), (0, fast)), "tile", 100, piece_units=10)
    assert slow * (10 + 100 * small) == pytest.approx(fast * (10 + 100 * large))


def test_no_piece_is_longer_than_a_quantum():
    sizes = shares(hint((0, 1), (0, 4), quantum_us=10_000), "tile", 100_000)
    assert sizes == pytest.approx([0.1] * 8 + [0.025] * 8, rel=0.2)
    assert max(sizes) * 100_000 <= 10_000


def test_over_a_slow_link_a_result_travels_while_the_next_piece_runs():
    near = hint((0, 1), us_per_byte=0.001)
    far = hint((0, 1), us_per_byte=0.1)
    assert len(shares(near, "tile", 10_000, bytes_per_unit=10)) == 1
    assert len(shares(far, "tile", 25_000, bytes_per_unit=10)) == 4


def test_unknown_devices_get_an_even_cut():
    assert shares(CutHint(3), "tile", 100) == [1 / 3] * 3
    assert shares(hint((0, 1), (0, 9)), "another kind", 100) == [0.5, 0.5]
    assert shares(CutHint(1), "tile", 100, at_least=4) == [0.25] * 4
    assert shares(hint((0, 1)), "tile", float("nan")) == [1.0]


def test_results_come_one_after_another():
    lanes = hint((0, 1), (0, 1), (0, 1), (0, 1))
    ends_us = [40_000 * size for size in cut.shares(lanes, "tile", 40_000, merge_us=200)]
    assert -np.diff(ends_us) == pytest.approx([200] * 3)
    assert sum(ends_us) == pytest.approx(40_000)


def test_waiting_for_each_other_never_takes_more_than_a_quarter():
    sizes = cut.shares(hint((0, 1), (0, 1), (0, 1), (0, 1)), "tile", 40, merge_us=200)
    assert max(sizes) - min(sizes) < 0.25 * max(sizes)


def test_the_slower_ones_end_first():
    fast, slow = cut.shares(hint((0, 1), (0, 3)), "tile", 40_000, merge_us=200)
    assert 40_000 * (fast - 3 * slow) == pytest.approx(200)


def test_a_device_not_measured_yet_finds_a_piece_to_be_tried_with():
    known = hint((0, 1), (0, 1))
    assert len(shares(CutHint(3, lanes=known.lanes), "tile", 100)) == 3


devices = st.tuples(st.floats(0, 1e5), st.floats(0.01, 100))


@given(
    st.lists(devices, min_size=1, max_size=20),
    st.floats(1, 1e6),
    st.floats(0, 1e4),
    st.integers(0, 50_000),
    st.integers(1, 8),
)
def test_pieces_make_up_the_frame_within_the_bounds_asked_for(
    lanes, units, piece_units, quantum_us, at_least
):
    sizes = shares(
        hint(*lanes, quantum_us=quantum_us),
        "tile",
        units,
        piece_units=piece_units,
        at_least=at_least,
        most=16,
    )
    assert at_least <= len(sizes) <= 16
    assert sum(sizes) == pytest.approx(1)
    assert min(sizes) > 0
    assert sizes == sorted(sizes, reverse=True)


@given(st.lists(devices, min_size=1, max_size=12), st.floats(1, 1e6))
def test_all_devices_that_take_part_finish_at_one_instant(lanes, units):
    def work(end_us: float) -> list[float]:
        return [max(0.0, end_us - wait) / us for wait, us in lanes]

    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(work(middle)) > units else (middle, high)
    wanted = sorted((w / units for w in work(high) if w > 0), reverse=True)
    assume(wanted[-1] > 0.06 / len(wanted))  # those worth less are left out
    assert shares(hint(*lanes), "tile", units) == pytest.approx(wanted, rel=1e-3)


# --- where --------------------------------------------------------------------------------------


@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.lists(st.floats(0.01, 10), min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_a_plane_is_covered_once_by_as_many_parts(rows, columns, sizes, seed):
    costs = np.random.default_rng(seed).random((rows, columns)) ** 4
    covered = np.zeros((rows, columns), int)
    parts = divide_plane(costs, sizes)
    for left, top, right, bottom in parts:
        covered[top:bottom, left:right] += 1
    assert (covered == 1).all()
    assert len(parts) == min(len(sizes), rows * columns)


@pytest.mark.parametrize("sizes", [[1] * 8, [4, 2, 1], [1, 1, 1, 1, 4], [9, 1]])
def test_parts_of_a_lopsided_plane_have_the_sizes_asked_for(sizes):
    costs = np.outer(np.linspace(1, 3, 90), np.linspace(0.1, 1, 160) ** 2)
    parts = divide_plane(costs, sizes)
    found = sorted((costs[t:b, le:r].sum() / costs.sum() for le, t, r, b in parts), reverse=True)
    wanted = sorted(np.array(sizes) / sum(sizes), reverse=True)
    assert found == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("sizes", [[], [1, 0], [1, -1]])
def test_a_plane_is_not_cut_into_nothing(sizes):
    with pytest.raises(Misuse, match="cannot cut"):
        divide_plane(np.ones((4, 4)), sizes)


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=60),
    st.lists(st.floats(0.01, 10), min_size=1, max_size=12),
)
def test_a_line_is_cut_into_runs_that_are_never_empty(costs, sizes):
    edges = divide_line(np.array(costs, float), sizes)
    assert edges[0] == 0
    assert edges[-1] == len(costs)
    assert (np.diff(edges) > 0).all()
    assert len(edges) - 1 <= len(sizes)


def test_runs_of_a_line_have_the_sizes_asked_for():
    edges = divide_line(np.ones(1000), [4, 2, 1])
    assert np.diff(edges).tolist() == [571, 286, 143]
