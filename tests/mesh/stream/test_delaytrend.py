from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.delaytrend import (
    BASE_US,
    BURST_US,
    FEWEST,
    NOTICEABLE_US,
    WINDOW,
    Arrived,
    DelayTrend,
    slope,
)

FRAME_US = 16_667


def fed(waits_us, *, start=0, trend=None):
    """One burst of three packets for each wait; each packet takes the bottleneck a millisecond."""
    trend = trend or DelayTrend()
    for n, wait_us in enumerate(waits_us):
        sent_us = (start + n) * FRAME_US
        for m in range(3):
            trend.arrived(Arrived(sent_us, sent_us + 5_000 + wait_us + 1_000 * m, 1200))
    return trend


def test_a_queue_that_grows_is_over_use_within_a_few_frames():
    settled = fed([0] * 60)
    assert not settled.overused
    for n, wait_us in enumerate((17_000, 33_000, 50_000)):
        fed([wait_us], start=60 + n, trend=settled)
    assert settled.overused


def test_a_queue_that_stands_or_shrinks_is_not():
    grown = fed([0] * 60 + [17_000, 33_000, 50_000, 67_000])
    standing = fed([66_000, 65_900], start=64, trend=grown)
    assert not standing.overused
    empty = fed([max(0, 65_000 - 6_000 * n) for n in range(WINDOW)], start=66, trend=grown)
    assert not empty.overused
    assert empty.draining


def test_how_large_the_bursts_are_plays_no_part():
    trend = DelayTrend()
    for n in range(60):
        for m in range(3 + n % 7 * 4):
            sent_us = n * FRAME_US
            trend.arrived(Arrived(sent_us, sent_us + 500 * m, 1200))
        assert not trend.overused


@pytest.mark.parametrize("late_us", [20_000, 50_000, 90_000])
def test_a_receiver_that_was_held_up_is_not_taken_for_a_queue(late_us):
    """What came meanwhile is all noted at one time."""
    trend = fed([0] * 60)
    sent = [60 * FRAME_US + n * FRAME_US for n in range(late_us // FRAME_US)]
    for sent_us in sent:
        trend.arrived(Arrived(sent_us, 60 * FRAME_US + late_us, 1200))
        assert not trend.overused
    fed([0] * 10, start=66, trend=trend)
    assert not trend.overused


def test_short_queues_are_left_alone():
    assert not fed([0] * 60 + [3_000 * n for n in range(NOTICEABLE_US // 3_000 + 1)]).overused


def test_an_empty_queues_delay_is_learnt_anew_when_the_route_changes():
    longer = 2 * (BASE_US // FRAME_US) + 2
    trend = fed([0] * 10 + [40_000] * longer)
    packet = Arrived(0, 5_000 + 40_000, 1200)
    assert trend.waited_us(packet) == 0


def test_after_a_restart_the_line_is_laid_anew():
    trend = fed([0] * 60 + [17_000, 33_000, 50_000])
    trend.restart()
    assert not trend.overused
    fed([60_000 + 17_000 * n for n in range(FEWEST - 1)], start=64, trend=trend)
    assert not trend.overused


@given(
    st.floats(-5, 5),
    st.floats(-100, 100),
    st.lists(st.integers(0, 1000), min_size=2, max_size=WINDOW, unique=True),
)
def test_the_slope_of_points_on_a_line_is_its_slope(rise, offset, xs):
    points = deque((float(x), rise * x + offset) for x in xs)
    assert slope(points) == pytest.approx(rise, abs=1e-6)


def test_points_at_one_time_have_no_slope():
    assert slope(deque([(1.0, 1.0), (1.0, 2.0)])) == 0.0


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=50))
def test_any_times_are_taken(times):
    trend = DelayTrend()
    for sent_us, arrived_us in times:
        trend.arrived(Arrived(sent_us, arrived_us, 1200))
        assert trend.waited_us(Arrived(sent_us, arrived_us, 1200)) >= 0


def test_packets_sent_close_together_are_one_burst():
    trend = DelayTrend()
    for n in range(60):
        trend.arrived(Arrived(n * FRAME_US, n * FRAME_US, 1200))
        trend.arrived(Arrived(n * FRAME_US + BURST_US, n * FRAME_US + BURST_US + n * 900, 1200))
        assert not trend.overused
