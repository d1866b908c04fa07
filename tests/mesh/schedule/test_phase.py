"""Frames sample their input as late as their devices and the client's own rate allow."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.schedule.frameclock import FrameClock
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.ledger import ClosedFrame, PieceAccount
from mesh.schedule.phase import WAIT_US, LatestStart, LatestStartClock

DEVICE = DeviceKey("a", "gpu")
PERIOD_US = 33_333
WAY_US = 200


def closed(*waits_us: int | None) -> ClosedFrame:
    """A frame of one piece per wait, each on a device of its own; None: it never came."""
    pieces = tuple(
        PieceAccount(
            PieceKey("s", 0, 0, i),
            maker=DeviceKey(str(i), "gpu") if w is not None else None,
            queue_us=w or 0,
        )
        for i, w in enumerate(waits_us)
    )
    return ClosedFrame(0, (), 0, 0, 0, pieces)


@dataclass
class Played:
    """What a session of one device and one piece per frame came to, its warm-up left out."""

    latency_us: list[int] = field(default_factory=list)  # from the input's coming
    opened_us: list[int] = field(default_factory=list)

    @property
    def typical_us(self) -> float:
        return statistics.median(self.latency_us[len(self.latency_us) // 2 :])

    @property
    def fps(self) -> float:
        opened = self.opened_us[len(self.opened_us) // 2 :]
        return 1e6 * (len(opened) - 1) / (opened[-1] - opened[0])


def play(
    kind: type[FrameClock],
    run_us: Callable[[], int],
    *,
    input_us: int = 0,
    first_input_us: int = 0,
    jitter_us: int = 0,
    frames: int = 800,
) -> Played:
    """input_us: between inputs, from `first_input_us` on, each late by some jitter; 0: none."""
    draw, clock, played = random.Random(1), kind(PERIOD_US, 0), Played()
    inputs, came_us, newest_us = 0, first_input_us, 0
    free_us, in_flight = 0, []
    while len(played.latency_us) < frames:
        done_us = in_flight[0][0] if in_flight else 1 << 62
        now_us = min(clock.next_open_us, done_us, came_us if input_us else 1 << 62)
        if now_us == done_us:
            _, frame, sampled_us, wait_us = in_flight.pop(0)
            played.latency_us.append(done_us - sampled_us)
            clock.closed(frame)
            if isinstance(clock, LatestStartClock):
                clock.composed(closed(wait_us))
        elif input_us and now_us == came_us:
            newest_us = now_us
            if isinstance(clock, LatestStartClock):
                clock.input_came(now_us)
            inputs += 1
            late_us = abs(round(draw.gauss(0, jitter_us)))
            came_us = max(now_us + 1, first_input_us + inputs * input_us + late_us)
        elif (frame := clock.poll(now_us)) is not None:
            start_us = max(now_us + WAY_US, free_us)
            free_us = start_us + run_us()
            sampled_us = newest_us if input_us else now_us
            in_flight.append((free_us, frame, sampled_us, start_us - now_us - WAY_US))
            played.opened_us.append(now_us)
    return played


# --- what it is for -----------------------------------------------------------------------------


@pytest.mark.parametrize("run_us", [40_000, 60_000])
def test_frames_longer_than_the_period_do_not_queue(run_us):
    before, after = (play(kind, lambda: run_us) for kind in (FrameClock, LatestStartClock))
    assert before.typical_us > 1.3 * run_us
    assert after.typical_us < 1.1 * run_us
    assert after.fps > 0.95 * before.fps


@pytest.mark.parametrize("first_us", range(1000, 17_000, 2500))
@pytest.mark.parametrize("jitter_us", [0, 500, 2000])
def test_inputs_of_a_steady_rate_are_sampled_soon_after_they_come(first_us, jitter_us):
    played = play(
        LatestStartClock,
        lambda: 15_000,
        input_us=PERIOD_US // 2,
        first_input_us=first_us,
        jitter_us=jitter_us,
    )
    assert played.typical_us < 15_000 + WAY_US + 2_500 + 3 * jitter_us
    assert played.fps == pytest.approx(30, rel=0.01)


def test_a_session_with_time_to_spare_keeps_its_rate():
    draw = random.Random(2)
    played = play(LatestStartClock, lambda: round(draw.gauss(25_000, 3_000)))
    assert played.fps > 29.5


# --- what it must not do ------------------------------------------------------------------------


def test_without_inputs_and_waits_it_is_a_frame_clock():
    one = play(FrameClock, lambda: 10_000)
    other = play(LatestStartClock, lambda: 10_000)
    assert one == other


def test_inputs_of_no_common_rate_leave_the_clock_alone():
    latest, draw = LatestStart(PERIOD_US), random.Random(3)
    now_us, moved = 0, []
    for _ in range(300):
        now_us += draw.randrange(1_000, 60_000)
        latest.input_came(now_us)
        moved.append(latest.opened(now_us + draw.randrange(0, 20_000)))
    assert sum(move != 0 for move in moved) < 0.1 * len(moved)


def test_inputs_that_have_stopped_are_not_waited_for():
    latest = LatestStart(PERIOD_US)
    for count in range(100):
        latest.input_came(count * 16_667)
        latest.opened(count * 16_667 + 12_000)
    assert latest.opened(100 * 16_667 + 60_000) == 0


def test_only_what_every_device_waits_for_is_waited_for():
    latest = LatestStart(PERIOD_US)
    assert latest.closed(closed(0, 20_000)) == 0
    assert latest.closed(closed(9_000, 5_000)) == (5_000 - WAIT_US) // 2


def test_waiting_at_the_gateway_for_room_counts_as_on_the_device():
    frame = closed(3_000)
    frame.pieces[0].sent_us = 6_000
    assert LatestStart(10 * PERIOD_US).closed(frame) == (9_000 - WAIT_US) // 2


def test_a_frame_with_a_hole_says_nothing_of_waits():
    latest = LatestStart(PERIOD_US)
    assert latest.closed(closed(20_000, None)) == 0
    assert latest.stretch_us == 0


def test_the_rate_comes_back_when_the_devices_have_time_again():
    latest = LatestStart(PERIOD_US)
    for _ in range(50):
        latest.closed(closed(15_000))
    assert latest.stretch_us > PERIOD_US
    for _ in range(100):
        latest.closed(closed(0))
    assert latest.stretch_us == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["input", "open", "close"]), st.integers(0, 10**7)), max_size=200
    )
)
def test_whatever_happens_no_correction_is_wild(events):
    latest, now_us = LatestStart(PERIOD_US), 0
    for kind, us in events:
        now_us += us
        moved = 0
        if kind == "input":
            latest.input_came(now_us)
        elif kind == "open":
            moved = latest.opened(now_us)
        else:
            moved = latest.closed(closed(us))
        assert abs(moved) <= PERIOD_US / 8 + 1
        assert 0 <= latest.stretch_us <= 3 * PERIOD_US
