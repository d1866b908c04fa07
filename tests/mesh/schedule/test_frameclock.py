from hypothesis import given
from hypothesis import strategies as st

from mesh.schedule.frameclock import FrameClock


def test_frames_open_on_the_grid_however_late_the_caller_was() -> None:
    clock = FrameClock(10_000, 0, max_in_flight=9)
    opened = [(now_us, clock.poll(now_us)) for now_us in (0, 9_999, 13_000, 19_999, 20_000)]
    assert opened == [(0, 0), (9_999, None), (13_000, 1), (19_999, None), (20_000, 2)]
    assert clock.next_open_us == 30_000
    assert clock.skipped == 0


def test_instants_slept_through_are_skipped_and_counted_not_made_up_for() -> None:
    clock = FrameClock(10_000, 0, max_in_flight=9)
    clock.poll(0)
    assert clock.poll(45_000) == 1
    assert clock.skipped == 3
    assert clock.next_open_us == 50_000


def test_no_more_frames_are_in_flight_than_allowed() -> None:
    clock = FrameClock(10_000, 0, max_in_flight=2)
    assert [clock.poll(t) for t in (0, 10_000, 20_000)] == [0, 1, None]
    clock.closed(0)
    assert clock.poll(30_000) == 2
    assert clock.skipped == 1


def test_an_instant_with_too_many_in_flight_is_held_for_half_a_period() -> None:
    clock = FrameClock(10_000, 0, max_in_flight=1)
    assert [clock.poll(t) for t in (0, 10_000)] == [0, None]
    assert clock.next_open_us == 15_000
    clock.closed(0)
    assert clock.next_open_us == 10_000
    assert clock.poll(13_000) == 1
    clock.closed(1)
    assert clock.skipped == 0
    assert clock.next_open_us == 20_000


def test_a_held_instant_is_given_up_in_the_end() -> None:
    clock = FrameClock(10_000, 0, max_in_flight=1)
    assert [clock.poll(t) for t in (0, 10_000, 15_000)] == [0, None, None]
    assert clock.skipped == 1
    clock.closed(0)
    assert clock.poll(15_001) is None
    assert clock.poll(20_000) == 1


def test_an_instant_that_may_not_be_used_is_skipped() -> None:
    clock = FrameClock(10_000, 0)
    assert clock.poll(0, may_open=False) is None
    assert clock.poll(10_000) == 0
    assert clock.skipped == 1


@given(
    st.integers(1, 50_000),
    st.lists(st.tuples(st.integers(0, 120_000), st.booleans()), max_size=60),
)
def test_every_instant_is_either_opened_or_skipped_and_the_grid_never_drifts(
    period_us: int, steps: list[tuple[int, bool]]
) -> None:
    clock, now_us, frames = FrameClock(period_us, 0, max_in_flight=2), 0, []
    for wait_us, close_oldest in steps:
        now_us += wait_us
        frame = clock.poll(now_us)
        if frame is not None:
            frames.append(frame)
        instant_us = (clock.opened + clock.skipped) * period_us
        assert clock.next_open_us in (instant_us, instant_us + period_us // 2)
        assert now_us < clock.next_open_us
        assert instant_us <= now_us + period_us
        if close_oldest and frames:
            clock.closed(frames[-1])
    assert frames == list(range(len(frames)))
