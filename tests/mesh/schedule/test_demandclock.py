"""One frame per input, at most at the contracted rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.schedule.frameclock import DemandClock

PERIOD_US = 100_000


def test_inputs_at_the_contracted_rate_all_open_frames_however_they_jitter_by_half() -> None:
    clock = DemandClock(PERIOD_US)
    for number in range(50):
        jitter_us = 49_000 if number % 2 else -49_000
        frame = clock.demand(number * PERIOD_US + jitter_us)
        assert frame == number
        clock.closed(number)


def test_what_comes_twice_as_fast_is_refused_every_other_time_and_told_why() -> None:
    clock = DemandClock(PERIOD_US)
    answers = []
    for number in range(100):
        answers.append(clock.demand(number * PERIOD_US // 2))
        clock.closed(clock.opened - 1)
    refused = [answer for answer in answers if isinstance(answer, str)]
    assert abs(len(refused) - 50) <= 1
    assert all("faster" in answer for answer in refused)


def test_frames_in_flight_are_bounded() -> None:
    clock = DemandClock(PERIOD_US, max_in_flight=2)
    assert clock.demand(0) == 0
    assert clock.demand(PERIOD_US) == 1
    assert "worked on" in str(clock.demand(2 * PERIOD_US))
    clock.closed(0)
    assert clock.demand(3 * PERIOD_US) == 2


@given(st.lists(st.integers(0, 3 * PERIOD_US), max_size=60))
def test_over_any_stretch_no_more_frames_open_than_the_rate_and_one(gaps: list[int]) -> None:
    clock = DemandClock(PERIOD_US, max_in_flight=1000)
    opened, now_us = [], 0
    for gap in gaps:
        now_us += gap
        if isinstance(clock.demand(now_us), int):
            opened.append(now_us)
    for i, first in enumerate(opened):
        for count, last in enumerate(opened[i:], start=1):
            assert count <= (last - first) // PERIOD_US + 2
