"""A worker of a mesh with both workloads is killed, and comes back: what both clients see of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from bench.cycles import Cycle, Fate, Wrongs, between, miss_pct
from bench.mixed import Both, Load, Scan, playing, until
from bench.victim import Victim
from clients.cli.demo import DemoMesh
from mesh.core.loop import monotonic_us


@dataclass(frozen=True, slots=True)
class Acts:
    """How long each act of a death lasts, seconds: with both, alone after the kill, with both."""

    steady_s: float = 3.0
    alone_s: float = 3.0
    shared_s: float = 4.0


@dataclass(frozen=True, slots=True)
class Missed:
    """What one workload lost by the death of a worker.

    missed: cycles, of those open at the signal and those due until one that was due after the
    gateway had noticed came on time. for_ms: from the signal until that one was due. next_on_time:
    whether it was the very first due after the notice. alone_pct: the share missed from then on
    until the worker was started again, by the other alone. starting_pct: and from then until its
    hello, for which it compiles and loads on the same cores. back_s: from that hello to the first
    piece of its own. share: its part of the pieces from then on.
    """

    missed: int
    for_ms: float
    next_on_time: bool
    alone_pct: float
    starting_pct: float
    back_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Course:
    """When things happened, microseconds on the monotonic clock."""

    killed_us: int
    noticed_us: int  # the gateway ended the link
    started_us: int  # the worker's process, again
    hello_us: int  # the gateway accepted it again


@dataclass(frozen=True, slots=True)
class Death:
    """A worker's death and return as both clients saw it."""

    noticed_ms: float  # from the signal until the gateway ended the link
    missed: dict[str, Missed]
    wrongs: dict[str, Wrongs]


async def kill(
    mesh: DemoMesh,
    load: Load,
    scans: Sequence[Scan],
    *,
    seed: int,
    acts: Acts = Acts(),
) -> Death:
    """Kill one worker of a running mesh under both sessions, and start it again."""
    victim = Victim(mesh)
    phase_s = Random(seed).random() / load.sweep_hz
    async with playing(mesh, load, scans, seed=seed) as both:
        await both.joined()
        await asyncio.sleep(acts.steady_s + phase_s)
        hellos, partings = len(victim.hellos_s()), len(victim.partings_s())
        killed_us = monotonic_us()
        victim.kill()
        await until(lambda: len(victim.partings_s()) > partings)
        noticed_us = as_monotonic_us(victim.partings_s()[partings])
        await asyncio.sleep(acts.alone_s)
        started_us = monotonic_us()
        victim.start()
        await until(lambda: len(victim.hellos_s()) > hellos)
        hello_us = as_monotonic_us(victim.hellos_s()[hellos])
        await until(lambda: all(back_us(c, victim, hello_us) for c in since(both, hello_us)))
        await asyncio.sleep(acts.shared_s)
        until_us = monotonic_us()
        await asyncio.sleep(both.rest_s)
        cycles = both.cycles(0, until_us)
        course = Course(killed_us, noticed_us, started_us, hello_us)
        return Death(
            (noticed_us - killed_us) / 1000,
            {
                name: missed(cycles[name], victim, deadline_ms, course)
                for name, deadline_ms in load.deadlines_ms().items()
            },
            both.wrongs(),
        )


def as_monotonic_us(unix_s: float) -> int:
    """An instant of the machine's wall clock, on its monotonic one."""
    return round((unix_s - time.time()) * 1e6) + monotonic_us()


def since(both: Both, from_us: int) -> Iterable[Sequence[Cycle]]:
    """Each workload's cycles from then on."""
    return both.cycles(from_us, monotonic_us()).values()


def back_us(cycles: Iterable[Cycle], victim: Victim, hello_us: int) -> int | None:
    """When the first frame due after the hello that has a piece of the victim's was there."""
    back = (
        cycle.due_us + cycle.took_us
        for cycle in cycles
        if cycle.due_us >= hello_us and victim.made_any(maker for maker, _, _ in cycle.pieces)
    )
    return min(back, default=None)


def missed(cycles: Sequence[Cycle], victim: Victim, deadline_ms: int, course: Course) -> Missed:
    """The account of one workload."""
    after = [cycle for cycle in cycles if cycle.due_us > course.noticed_us]
    recovered_us = next((c.due_us for c in after if c.fate is Fate.ON_TIME), course.hello_us)
    around = between(cycles, course.killed_us - 1000 * deadline_ms, recovered_us)
    first_us = back_us(cycles, victim, course.hello_us)
    assert first_us is not None, "waited for"
    makers = [maker for cycle in cycles if cycle.due_us > first_us for maker, _, _ in cycle.pieces]
    return Missed(
        missed=sum(cycle.fate is not Fate.ON_TIME for cycle in around),
        for_ms=(recovered_us - course.killed_us) / 1000,
        next_on_time=after[0].fate is Fate.ON_TIME,
        alone_pct=miss_pct(between(cycles, recovered_us, course.started_us)),
        starting_pct=miss_pct(between(cycles, course.started_us, course.hello_us)),
        back_s=(first_us - course.hello_us) / 1e6,
        share=sum(victim.made_any([maker]) for maker in makers) / max(1, len(makers)),
    )
