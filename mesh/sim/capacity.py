"""Running a scenario: what its sessions get, and how many of a class its nodes carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from mesh.core.errors import ConfigError
from mesh.schedule.ids import DeviceKey
from mesh.sim.fleet import Fleet, PooledGateway
from mesh.sim.gateway import SimSession
from mesh.sim.scenario import MAX_SESSIONS, NodeClass, Scenario, SessionClass

OPENING_US: Final = 500_000  # sessions open at odd instants within so long
_DRIFT_STEPS: Final = 10


@dataclass(frozen=True, slots=True)
class ClassResult:
    """What the sessions of a class got together. Latencies of whole frames, milliseconds."""

    name: str
    sessions: int
    due: int
    on_time: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def missed(self) -> int:
        """Frames that were due and did not come whole and in time, opened or not."""
        return max(0, self.due - self.on_time)

    @property
    def missed_pct(self) -> float:
        """Percent of the frames due."""
        return 100.0 * self.missed / self.due if self.due else 0.0


@dataclass(frozen=True, slots=True)
class NodesResult:
    """How busy the devices of a class of nodes were, percent of the counted time."""

    name: str
    devices: int
    busy_pct: float
    busiest_pct: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run showed. Equal scenarios and seeds give equal trace hashes."""

    seed: int
    sessions: tuple[ClassResult, ...]
    nodes: tuple[NodesResult, ...]
    pieces: int
    decisions: int
    max_to_mean_load: float
    trace_hash: str

    def carries(self, most_missed_pct: float) -> bool:
        """Whether no class missed more than that."""
        return all(result.missed_pct <= most_missed_pct for result in self.sessions)


class Run:
    """A scenario set up: `live` through it once, then read the `outcome`."""

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self._scenario = scenario
        self._seed = seed
        self._random = Random(f"{seed}/scenario")  # noqa: S311  a seeded simulation, not a secret
        warm_us, counted_us = round(1e6 * scenario.warm_up_s), round(1e6 * scenario.duration_s)
        self._end_us = warm_us + counted_us
        self.fleet = Fleet(
            [group.model() for group in scenario.nodes for _ in range(group.count)],
            gateways=scenario.gateways,
            seed=seed,
            counted_us=(warm_us, self._end_us),
        )
        self._worked_us: dict[DeviceKey, int] = {}  # by each device, in the counted time
        self.fleet.at(warm_us, partial(self._account, -1))
        self.fleet.at(self._end_us, partial(self._account, 1))
        self._names = self._by_class(scenario.nodes)
        self._opened: dict[str, list[tuple[PooledGateway, SimSession]]] = {}
        self._plan_sessions()
        for group in scenario.nodes:
            for name in self._names[group.name]:
                self._plan_faults(group, name)

    def _account(self, sign: int) -> None:
        for node in self.fleet.nodes.values():
            for key, device in node.devices.items():
                self._worked_us[key] = self._worked_us.get(key, 0) + sign * device.busy_us

    def _by_class(self, groups: Sequence[NodeClass]) -> dict[str, list[str]]:
        names = iter(self.fleet.nodes)
        return {group.name: [next(names) for _ in range(group.count)] for group in groups}

    def _plan_sessions(self) -> None:
        """Each class spread over time and gateways."""
        number = 0
        for group in self._scenario.sessions:
            self._opened[group.name] = []
            for _ in range(group.count):
                when_us = int(self._random.random() * OPENING_US)
                self.fleet.at(when_us, self._opening(group, number % self._scenario.gateways))
                number += 1

    def _opening(self, group: SessionClass, gateway: int) -> Callable[[], None]:
        def opens() -> None:
            session = self.fleet.open_session(group.model(), gateway)
            self._opened[group.name].append((self.fleet.pooled[gateway], session))

        return opens

    def _plan_faults(self, group: NodeClass, name: str) -> None:
        """A node's deaths come at random, without memory; its drift is the same for its class."""
        if group.slows_to > 1.0:
            for step in range(1, _DRIFT_STEPS + 1):
                share = step / _DRIFT_STEPS
                when_us = round(1e6 * group.slow_after_s * share)
                factor = 1.0 + (group.slows_to - 1.0) * share
                self.fleet.at(when_us, partial(self.fleet.slow, name, factor))
        if group.deaths_per_hour:
            when_s = 0.0
            while True:
                when_s += self._random.expovariate(group.deaths_per_hour / 3_600.0)
                if 1e6 * when_s > self._end_us:
                    break
                self.fleet.at(round(1e6 * when_s), partial(self.fleet.kill, name))
                when_s += group.back_after_s
                self.fleet.at(round(1e6 * when_s), partial(self.fleet.restart, name))

    def live(self) -> None:
        """Run until every counted frame has met its deadline or missed it."""
        latest_ms = max(group.deadline_ms for group in self._scenario.sessions)
        self.fleet.run(self._end_us + round(1e3 * latest_ms) + 1)

    @property
    def outcome(self) -> Outcome:
        """What was seen, once the run is over."""
        gateways = self.fleet.pooled
        busy_us = list(self._worked_us.values())
        counts = [s.driver.counts for opened in self._opened.values() for _, s in opened]
        pieces = sum(tally.pieces for gateway in gateways for tally in gateway.tallies.values())
        placed = sum(count.sent for count in counts)
        return Outcome(
            self._seed,
            tuple(self._class_result(group) for group in self._scenario.sessions),
            tuple(self._nodes_result(group) for group in self._scenario.nodes),
            pieces,
            placed + sum(gateway.asked for gateway in gateways),
            max(busy_us) * len(busy_us) / max(1, sum(busy_us)),
            self.fleet.trace_hash,
        )

    def _class_result(self, group: SessionClass) -> ClassResult:
        opened = self._opened[group.name]
        tallies = [gateway.tallies[session.name] for gateway, session in opened]
        latency_us = sorted(us for tally in tallies for us in tally.latency_us)
        period_us = group.model().contract.period_us
        p50_ms, p95_ms, p99_ms = (_quantile(latency_us, q) / 1e3 for q in (0.5, 0.95, 0.99))
        return ClassResult(
            group.name,
            group.count,
            sum(tally.due(period_us) for tally in tallies),
            sum(tally.whole for tally in tallies),
            p50_ms,
            p95_ms,
            p99_ms,
        )

    def _nodes_result(self, group: NodeClass) -> NodesResult:
        busy = [
            self._worked_us[key] / (1e4 * self._scenario.duration_s)
            for name in self._names[group.name]
            for key in self.fleet.nodes[name].devices
        ]
        return NodesResult(group.name, len(busy), sum(busy) / len(busy), max(busy))


def simulate(scenario: Scenario, seed: int = 0) -> Outcome:
    """Run a scenario from beginning to end."""
    run = Run(scenario, seed)
    run.live()
    return run.outcome


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest count found, the run that shows it, and every count tried."""

    count: int
    outcome: Outcome | None  # None: not even one is carried
    tried: tuple[tuple[int, bool], ...]


def find_capacity(
    scenario: Scenario,
    name: str,
    *,
    most_missed_pct: float = 1.0,
    seed: int = 0,
    tells: Callable[[int, Outcome], None] = lambda count, outcome: None,
) -> Capacity:
    """How many sessions of a class are carried, with every class missing at most so much.

    Doubles the scenario's own count until the nodes fail, then halves the gap. It takes for
    granted that what is carried by many is carried by fewer, which chance may contradict near the
    limit. tells: hears of every run.
    Raises ConfigError where the limit lies beyond what is simulated.
    """
    carried, outcome, tried = 0, None, []

    def carries(count: int) -> Outcome | None:
        found = simulate(scenario.with_count(name, count), seed)
        tells(count, found)
        good = found.carries(most_missed_pct)
        tried.append((count, good))
        return found if good else None

    failed = max(1, scenario.session_class(name).count)
    while (found := carries(failed)) is not None:
        carried, outcome = failed, found
        failed *= 2
        if failed > MAX_SESSIONS:
            raise ConfigError(
                what=f"the capacity for '{name}' is not found",
                why=f"{carried:,} are carried, and at most {MAX_SESSIONS:,} are simulated",
                fix="Take fewer or slower nodes, and scale what you find.",
            )
    while failed - carried > 1:
        middle = (carried + failed) // 2
        found = carries(middle)
        if found is not None:
            carried, outcome = middle, found
        else:
            failed = middle
    return Capacity(carried, outcome, tuple(tried))


def _quantile(ordered: Sequence[int], quantile: float) -> int:
    """The nearest rank; 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0
