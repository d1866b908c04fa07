from hypothesis import given
from hypothesis import strategies as st

from mesh.link.clocksync import DRIFT_PPM, ClockSync

delays = st.integers(0, 50_000)


@given(
    st.integers(-(2**50), 2**50),
    st.integers(-DRIFT_PPM, DRIFT_PPM),
    st.lists(st.tuples(delays, delays, delays, st.integers(1, 300_000)), min_size=1, max_size=100),
    st.integers(0, 500_000),
)
def test_the_true_instant_lies_within_the_error_bar(offset_us, drift_ppm, exchanges, later_us):
    def theirs(our_us):
        return our_us + offset_us + our_us * drift_ppm // 1_000_000

    clock, now_us = ClockSync(), 0
    for there_us, thinking_us, back_us, pause_us in exchanges:
        t0 = now_us
        t1, t2 = theirs(t0 + there_us), theirs(t0 + there_us + thinking_us)
        now_us = t0 + there_us + thinking_us + back_us
        if t2 - t1 <= now_us - t0:
            clock.sample(t0, t1, t2, now_us)
        now_us += pause_us
    if not clock.measured:
        return
    instant_us = now_us - pause_us + later_us
    assert abs(clock.to_local_us(theirs(instant_us)) - instant_us) <= clock.error_us
    assert abs(clock.to_remote_us(instant_us) - theirs(instant_us)) <= clock.error_us


def test_a_quick_exchange_counts_for_more_than_a_slow_one_after_it():
    clock = ClockSync()
    clock.sample(0, 1_000_050, 1_000_050, 100)
    clock.sample(10_000, 1_050_000, 1_050_000, 50_100)  # all of its 40 ms on the way there
    assert clock.to_local_us(1_000_000) == 0
    assert clock.rtt_us == 100


def test_an_old_sample_gives_way_when_drift_may_have_overtaken_it():
    clock = ClockSync()
    clock.sample(0, 1_000_050, 1_000_050, 100)
    later_us = 10_000_000  # 1 ms of drift: more than half of the next one's delay
    clock.sample(later_us, later_us + 1_000_600, later_us + 1_000_600, later_us + 400)
    assert clock.to_local_us(1_000_400) == 0


def test_impossible_exchanges_are_ignored():
    clock = ClockSync()
    for stamps in [(100, 0, 0, 50), (0, 100, 50, 200), (0, 0, 500, 100)]:
        clock.sample(*stamps)
    assert not clock.measured
