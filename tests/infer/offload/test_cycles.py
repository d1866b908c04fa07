"""One answer for every cycle, by its deadline, whatever comes and whenever: in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from infer.offload.cycles import Cycles, Give, StartLocal, StopLocal

PERIOD, DEADLINE, MARGIN = 100_000, 80_000, 10_000
DUE = DEADLINE - MARGIN


def ready(local_us: int = 20_000) -> Cycles:
    """With a local pipeline that takes so long, surely."""
    cycles = Cycles(MARGIN)
    for _ in range(60):
        cycles.local.observe(local_us)
    cycles.local_up(True)
    return cycles


def test_a_remote_answer_is_given_as_soon_as_it_is_here():
    cycles = ready()
    cycles.open(1, DEADLINE, 0)
    cycles.foresee(1, 30_000)
    assert cycles.poll(0) == []
    cycles.remote_came(1)
    assert cycles.poll(25_000) == [Give(1, "remote")]
    assert cycles.wake_us() is None


def test_the_local_pipeline_starts_at_the_latest_safe_instant_when_the_mesh_is_overdue():
    cycles = ready()
    cycles.open(1, DEADLINE, 0)
    cycles.foresee(1, 30_000)
    assert cycles.poll(0) == []
    start_us = cycles.wake_us()
    assert start_us == DUE - cycles.local.high_us
    assert cycles.poll(start_us - 1) == []
    assert cycles.poll(start_us) == [StartLocal(1)]
    cycles.local_came(1, start_us + 15_000)
    assert cycles.poll(start_us + 15_000) == []  # the mesh is late, and may still be in time
    assert cycles.wake_us() == DUE
    assert cycles.poll(DUE) == [Give(1, "local")]


def test_it_starts_at_once_when_nobody_else_is_at_the_sweep():
    cycles = ready()
    cycles.open(1, DEADLINE, 0)
    assert cycles.poll(0) == [StartLocal(1)]


def test_it_does_not_start_while_the_mesh_is_trusted_to_be_on_time():
    cycles = ready()
    cycles.open(1, DEADLINE, 0)
    cycles.foresee(1, DUE - 1)
    assert cycles.poll(DUE - 20_000) == []
    assert cycles.wake_us() == DUE
    assert cycles.poll(DUE) == [Give(1, "extrapolated")]


def test_a_local_answer_waits_while_a_gateway_is_at_the_sweep():
    cycles = ready()
    cycles.open(1, DEADLINE, 0)
    assert cycles.poll(0) == [StartLocal(1)]
    cycles.foresee(1, 50_000)  # a gateway was found after all
    cycles.local_came(1, 20_000)
    assert cycles.poll(20_000) == []
    cycles.foresee(1, None)  # and lost
    assert cycles.poll(30_000) == [Give(1, "local")]


def test_what_the_local_pipeline_is_at_is_stopped_when_the_mesh_was_quicker():
    cycles = ready()
    cycles.open(1, DEADLINE, 0)
    cycles.poll(0)
    cycles.remote_came(1)
    assert cycles.poll(10_000) == [Give(1, "remote"), StopLocal(1)]


def test_without_a_local_pipeline_tracks_are_extrapolated():
    cycles = ready()
    cycles.local_up(False)
    cycles.open(1, DEADLINE, 0)
    assert cycles.poll(0) == []
    assert cycles.poll(DUE) == [Give(1, "extrapolated")]


def test_the_margin_grows_with_the_lateness_of_our_own_timers():
    cycles = Cycles(MARGIN)
    cycles.open(1, DEADLINE, 0)
    cycles.poll(0)
    assert cycles.poll(DUE + 15_000) == [Give(1, "extrapolated")]
    cycles.open(2, PERIOD + DEADLINE, PERIOD)
    assert PERIOD + DEADLINE // 2 <= cycles.answer_by_us(2) < PERIOD + DUE - 15_000


def test_an_estimate_that_forbids_the_local_pipeline_is_doubted_until_it_is_tried_again():
    cycles = ready(local_us=60_000)
    cycles.local.observe(200_000)
    assert cycles.local.high_us > DEADLINE
    started = 0
    for number in range(30):
        now_us = number * PERIOD
        cycles.open(number, now_us + DEADLINE, now_us)
        decided = cycles.poll(now_us)
        started += StartLocal(number) in decided
        cycles.poll(now_us + DUE)
        if StartLocal(number) in decided:
            cycles.local_came(number, now_us + 60_000)
    assert started > 10


# --- whatever comes -------------------------------------------------------------------------------


@dataclass
class Vehicle:
    """Carries decisions out in virtual time; what it hears, and when, is drawn beforehand."""

    cycles: Cycles = field(default_factory=lambda: Cycles(MARGIN))
    given: dict[int, tuple[str, int]] = field(default_factory=dict)
    heard: dict[int, set[str]] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    stopped: int = 0

    def poll(self, now_us: int) -> None:
        for decision in self.cycles.poll(now_us):
            match decision:
                case Give(cycle, mark):
                    assert cycle not in self.given, "a second answer"
                    self.given[cycle] = mark, now_us
                    assert mark == "extrapolated" or mark in self.heard[cycle]
                    if mark != "remote":
                        assert "remote" not in self.heard[cycle], "a better one was here"
                case StartLocal(cycle):
                    assert cycle not in self.asked
                    self.asked.add(cycle)
                case StopLocal():
                    self.stopped += 1


EVENTS = st.tuples(
    st.integers(0, 12 * PERIOD),
    st.sampled_from(["remote", "local", "failed", "up", "down", "foresee", "hopeless"]),
    st.integers(0, 9),
    st.integers(0, 2 * PERIOD),
)


@given(
    st.lists(EVENTS, max_size=60),
    st.lists(st.integers(0, MARGIN // 2), min_size=1, max_size=20),
    st.sampled_from([PERIOD // 3, PERIOD, 2 * PERIOD]),
)
def test_every_cycle_gets_exactly_one_answer_by_its_deadline(events, lateness, period):
    """Timers are late by up to half the margin; cycles may overlap (their time is DEADLINE)."""
    vehicle, late = Vehicle(cycles=ready()), 0
    opened = {number: number * period for number in range(10)}
    todo = [(at, 0, "open", number, 0) for number, at in opened.items()]
    todo += [(at, 1, what, number, more) for at, what, number, more in events]
    for at, _, what, number, more in [*sorted(todo), (100 * PERIOD, 2, "end", 0, 0)]:
        while (wake_us := vehicle.cycles.wake_us()) is not None and wake_us < at:
            late += 1
            vehicle.poll(wake_us + lateness[late % len(lateness)])
        tell(vehicle, at, what, number, more)
        vehicle.poll(at)
    assert vehicle.given.keys() == opened.keys()
    for number, (_, given_us) in vehicle.given.items():
        assert opened[number] <= given_us <= opened[number] + DEADLINE
    assert vehicle.cycles.wake_us() is None


def tell(vehicle: Vehicle, at: int, what: str, number: int, more: int) -> None:
    cycles = vehicle.cycles
    match what:
        case "open":
            vehicle.heard[number] = set()
            cycles.open(number, at + DEADLINE, at)
        case "remote" if number in vehicle.heard:
            vehicle.heard[number].add("remote")
            cycles.remote_came(number)
        case "local" if vehicle.asked:
            asked = max(vehicle.asked)
            vehicle.heard[asked].add("local")
            cycles.local_came(asked, at)
        case "failed":
            cycles.local_failed(at)
        case "up" | "down":
            cycles.local_up(what == "up")
        case "foresee" | "hopeless":
            cycles.foresee(number, at + more if what == "foresee" else None)


@given(st.lists(st.integers(1, 10**7), min_size=1))
def test_an_estimate_is_within_what_was_seen_and_its_spread(durations):
    cycles = Cycles(MARGIN)
    for took_us in durations:
        cycles.local.observe(took_us)
        assert min(durations) <= cycles.local.high_us
    highs = []
    for _ in range(20):
        cycles.local.doubt()
        highs.append(cycles.local.high_us)
    assert all(a >= b for a, b in pairwise(highs))
