import pytest

from mesh.link.liveness import LinkTiming, Liveness

TIMING = LinkTiming(ping_us=100, silent_us=400, stuck_us=2000)


def ticks(liveness, since_us, until_us, step_us=100):
    for now_us in range(since_us + step_us, until_us + 1, step_us):
        why = liveness.tick(now_us)
        if why is not None:
            return now_us, why
    return None


def test_a_peer_that_falls_silent_is_lost_after_the_configured_time():
    liveness = Liveness(TIMING, 0)
    assert ticks(liveness, 0, 300) is None
    liveness.heard(350)
    lost_us, why = ticks(liveness, 300, 10_000)
    assert lost_us == 800  # the first tick at which 400 of silence since 350 were seen
    assert "nothing was heard" in why


def test_a_peer_that_speaks_is_alive_however_long():
    liveness = Liveness(TIMING, 0)
    for now_us in range(0, 100_000, 300):
        liveness.heard(now_us)
        assert ticks(liveness, now_us, now_us + 300) is None


@pytest.mark.parametrize("asked", [False, True])
def test_a_stall_of_our_own_is_not_blamed_on_the_peer(asked):
    liveness = Liveness(TIMING, 0)
    liveness.heard(50)
    if asked:
        liveness.asked()
    stalled_us = 1_000_000
    assert liveness.tick(stalled_us) is None  # timers run before the socket is read
    liveness.heard(stalled_us + 1)
    liveness.answered()
    assert ticks(liveness, stalled_us, stalled_us + 300) is None


def test_a_peer_that_talks_but_never_answers_is_lost_too():
    liveness = Liveness(TIMING, 0)
    liveness.asked()
    why = None
    for now_us in range(100, 10_000, 100):
        liveness.heard(now_us)
        why = liveness.tick(now_us)
        if why is not None:
            break
    assert now_us == 2000
    assert "answered no ping" in why


def test_the_first_pings_are_quicker_because_the_clock_needs_samples():
    liveness = Liveness(TIMING, 0)
    waits = []
    for _ in range(10):
        liveness.asked()
        waits.append(liveness.tick_us)
    assert waits[0] == 20 and waits[-1] == 100
    assert waits == sorted(waits)
