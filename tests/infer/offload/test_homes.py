"""A vehicle always has a home if there can be one, and the better one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infer.offload.homes import CONFIRMED, KEPT, PROBE_EVERY, Homes, Leave, Open

NAMES = ("a", "b", "c")


def open_both(homes: Homes) -> None:
    assert homes.poll(0) == [Open("a"), Open("b")]
    homes.opened("a")
    homes.opened("b")


def answer(homes: Homes, cycle: int, took_us: dict[str, int]) -> None:
    for name in homes.targets(cycle):
        homes.sent(name, cycle, 0)
        homes.answered(name, cycle, took_us[name])


def test_two_sessions_are_kept_and_the_first_to_open_is_the_home():
    homes = Homes(NAMES)
    open_both(homes)
    assert homes.poll(0) == []
    assert homes.home == "a"
    assert homes.targets(1) == ("a",)
    assert homes.targets(PROBE_EVERY) == ("a", "b")


def test_a_standby_that_is_surely_better_becomes_the_home():
    homes = Homes(NAMES)
    open_both(homes)
    homes_by_probe = []
    for cycle in range((CONFIRMED + 2) * PROBE_EVERY):
        answer(homes, cycle, {"a": 50_000, "b": 10_000})
        if cycle % PROBE_EVERY == 0:
            homes_by_probe.append(homes.home)
    assert homes_by_probe == ["a"] * (CONFIRMED - 1) + ["b"] * 3
    assert homes.moves == 1


def test_a_standby_that_is_hardly_better_does_not():
    homes = Homes(NAMES)
    open_both(homes)
    for cycle in range(20 * PROBE_EVERY):
        answer(homes, cycle, {"a": 50_000, "b": 48_000})
    assert (homes.home, homes.moves) == ("a", 0)


def test_a_home_that_never_answers_is_left_though_it_never_says_so():
    homes = Homes(NAMES)
    open_both(homes)
    answer(homes, 0, {"a": 10_000, "b": 10_000})
    for cycle in range(1, 8 * PROBE_EVERY):
        for name in homes.targets(cycle):
            homes.sent(name, cycle, 0)
            if name == "b":
                homes.answered(name, cycle, 10_000)
        homes.over(cycle, 80_000)
    assert homes.home == "b"


def test_a_home_that_leaves_gets_no_more_sweeps_and_is_closed_when_it_has_answered():
    homes = Homes(NAMES)
    open_both(homes)
    homes.sent("a", 1, 0)
    homes.leaving("a")
    assert homes.targets(2) == ("b",)
    assert homes.poll(0) == [Open("c")]
    homes.answered("a", 1, 20_000)
    assert homes.poll(20_000) == [Leave("a")]
    assert homes.poll(20_000) == []  # it is said once
    assert homes.moves == 1


def test_a_lost_home_is_replaced_at_once_and_dialled_again():
    homes = Homes(("a", "b"))
    open_both(homes)
    homes.sent("a", 1, 0)
    assert homes.lost("a", 10) == [1]
    assert homes.home == "b"
    assert homes.poll(10) == [Open("a")]  # at once, the first time
    waits = []
    for _ in range(4):
        homes.lost("a", 10)
        assert homes.poll(10) == []
        waits.append(homes.wake_us(10) - 10)
        assert homes.poll(homes.wake_us(10)) == [Open("a")]
    assert waits == sorted(set(waits))


def test_what_is_foreseen_is_the_soonest_of_those_that_are_at_it():
    homes = Homes(("a", "b"))
    open_both(homes)
    for cycle in range(0, 40 * PROBE_EVERY, PROBE_EVERY):
        answer(homes, cycle, {"a": 30_000, "b": 30_000})
    assert homes.finish_us(1, 0) is None
    homes.sent("b", 1, 5_000)
    assert 34_000 < homes.finish_us(1, 5_000) < 37_000
    homes.refused("b", 1)
    assert homes.finish_us(1, 5_000) is None


EVENTS = st.tuples(
    st.sampled_from(["opened", "lost", "leaving", "sent", "answered", "over"]),
    st.sampled_from(NAMES),
    st.integers(0, 5),
)


@given(st.lists(EVENTS, max_size=80))
def test_there_is_a_home_whenever_a_session_is_open(events):
    homes, state = Homes(NAMES), dict.fromkeys(NAMES, "away")
    for now_us, (what, name, cycle) in enumerate(events):
        for decision in homes.poll(now_us * 100_000):
            state[decision.name] = "opening" if isinstance(decision, Open) else "closing"
        match what:
            case "opened" if state[name] == "opening":
                homes.opened(name)
                state[name] = "open"
            case "lost" if state[name] != "away":
                homes.lost(name, now_us * 100_000)
                state[name] = "away"
            case "leaving" if state[name] == "open":
                homes.leaving(name)
                state[name] = "leaving"
            case "sent" if state[name] == "open":
                homes.sent(name, cycle, now_us)
            case "answered" | "over":
                homes.over(cycle, now_us)
        ready = [n for n in NAMES if state[n] == "open"]
        assert (homes.home in ready) if ready else homes.home is None
        assert sum(s in ("open", "opening") for s in state.values()) <= KEPT
