"""Feed a session from files or from made-up inputs at a rate, and keep account of the answers."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from clients.sdk.session import Result, Session, SessionEnded
from mesh.core.errors import LinkLost, MeshError, Misuse
from mesh.core.loop import monotonic_us
from mesh.core.plugins import create_workload
from mesh.core.workload import Buffer, Feedable, Recording

PERCENTILES = (50, 95, 99)
MAX_WAITING = 16  # inputs sent and not yet answered: with more, sending waits


def feedable(name: str) -> Feedable:
    """The installed workload of that name. Raises ConfigError, Misuse if it cannot be fed so."""
    workload = create_workload(name, {})
    if not isinstance(workload, Feedable):
        raise Misuse(
            what=f"'{name}' cannot be fed from files",
            why="its plug-in does not say how (mesh.core.workload.Feedable)",
            fix="Feed it from a program with `framemesh.connect`.",
        )
    return workload


class Reader(Protocol):
    """A `Feedable`, or what follows one."""

    def read_inputs(self, recording: Recording) -> Iterator[tuple[int, Buffer]]:
        """See Feedable."""
        ...


async def recorded(
    plugin: Reader, recording: Recording, *, loops: int = 1, period_us: int = 100_000
) -> AsyncIterator[tuple[int, Buffer]]:
    """The inputs of a recording, gone through `loops` times (0: for ever), with rising stamps.

    period_us: between a lone input and itself; elsewhere the recording's last interval counts.
    Raises ContentRefused.
    """
    shift_us, last_us = 0, None
    for _ in range(loops) if loops else itertools.count():
        inputs = await asyncio.to_thread(plugin.read_inputs, recording)
        first = True
        while (item := await asyncio.to_thread(next, inputs, None)) is not None:
            stamp_us, data = item
            if first and last_us is not None:
                shift_us = last_us + period_us - stamp_us
            elif last_us is not None:
                period_us = stamp_us + shift_us - last_us
            first, last_us = False, stamp_us + shift_us
            yield last_us, data


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one input.

    index: of the input, from 0. stamp_us: as it was sent. sent_us, received_us: on this machine's
    monotonic clock.
    """

    index: int
    stamp_us: int
    sent_us: int
    received_us: int
    result: Result

    @property
    def latency_us(self) -> int:
        """From sending on."""
        return self.received_us - self.sent_us

    @property
    def missing(self) -> int:
        """Pieces that never came."""
        filled: int = self.result.facts["filled"]
        return filled

    @property
    def pieces(self) -> Sequence[Sequence[int]]:
        """Each with maker, queue_us and run_us last (docs/protocol-browser.md)."""
        pieces: Sequence[Sequence[int]] = self.result.facts["pieces"]
        return pieces

    def stages(self) -> dict[str, int]:
        """Microseconds by stage, in the order they happen; only durations, so no clock is mapped.

        way: all that was spent outside of the gateway: up, down and in this program.
        queue, run: of the slowest piece; part of pieces.
        """
        within: Mapping[str, int] = self.result.facts["stages"]
        slowest = max(self.pieces, key=lambda piece: piece[-1] + piece[-2], default=(0, 0))
        return {
            "way": self.latency_us - sum(within.values()),
            "cut": within["open"],
            "pieces": within["pieces"],
            "queue": slowest[-2],
            "run": slowest[-1],
            "merge": within["compose"],
            "send": within["send"],
        }


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An input that was refused. index: of the input, from 0."""

    index: int
    problem: MeshError


News: TypeAlias = Answer | NotTaken


class InOrder:
    """Passes on news of inputs one by one, in the order of the inputs."""

    def __init__(self, take: Callable[[News], Awaitable[None]]) -> None:
        self._take, self._next = take, 0
        self._turn = asyncio.Condition()

    async def __call__(self, news: News) -> None:
        """Wait for those before, then pass it on. Raises what that raises."""
        async with self._turn:
            await self._turn.wait_for(lambda: self._next == news.index)
            await self._take(news)
            self._next += 1
            self._turn.notify_all()


async def feed(
    session: Session,
    inputs: AsyncIterator[tuple[int, Buffer]],
    rate_hz: float,
    told: Callable[[News], Awaitable[None]],
) -> None:
    """Send the inputs, at most at the rate, until there are no more and each is answered.

    told: of each, as news comes; while it takes longer than inputs do, fewer are sent.
    An input that is not there in time moves those after it: none is sent in a burst.
    Raises why the session has ended, or what reading raises.
    """
    period_us = round(1e6 / rate_hz)
    due_us, index = monotonic_us(), 0
    room = asyncio.Semaphore(MAX_WAITING)

    async def ask(index: int, stamp_us: int, data: Buffer) -> None:
        sent_us = monotonic_us()
        try:
            result = await session.ask(data, stamp_us=stamp_us)
        except (SessionEnded, LinkLost):
            raise
        except MeshError as problem:
            await told(NotTaken(index, problem))
        else:
            await told(Answer(index, stamp_us, sent_us, monotonic_us(), result))
        finally:
            room.release()

    try:
        async with asyncio.TaskGroup() as asking:
            async for stamp_us, data in inputs:
                await asyncio.sleep((due_us - monotonic_us()) / 1e6)
                await room.acquire()
                asking.create_task(ask(index, stamp_us, data))
                due_us, index = max(due_us + period_us, monotonic_us() + period_us // 2), index + 1
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


@dataclass
class Tally:
    """What came of the inputs. Pure."""

    deadline_us: int
    refused: int = 0
    late: int = 0  # over the deadline, counted from sending
    incomplete: int = 0
    latencies_us: list[int] = field(default_factory=list)
    stages_us: dict[str, list[int]] = field(default_factory=dict)
    pieces_by: Counter[str] = field(default_factory=Counter)

    def add(self, told: News) -> None:
        """One input's fate."""
        if isinstance(told, NotTaken):
            self.refused += 1
            return
        self.latencies_us.append(told.latency_us)
        self.late += told.latency_us > self.deadline_us
        self.incomplete += told.missing > 0
        for stage, us in told.stages().items():
            self.stages_us.setdefault(stage, []).append(us)
        makers = told.result.facts["makers"]
        self.pieces_by.update(makers[piece[-3]] for piece in told.pieces if piece[-3] >= 0)

    def summary(self) -> dict[str, Any]:
        """JSON-ready; times in milliseconds by percentile, shares of pieces by maker."""
        made = max(1, self.pieces_by.total())
        return {
            "answered": len(self.latencies_us),
            "refused": self.refused,
            "late": self.late,
            "incomplete": self.incomplete,
            "deadline_ms": self.deadline_us / 1000,
            "latency_ms": percentiles(self.latencies_us),
            "stages_ms": {stage: percentiles(us) for stage, us in self.stages_us.items()},
            "makers": {name: n / made for name, n in sorted(self.pieces_by.items())},
        }


def percentiles(times_us: Sequence[int]) -> dict[str, float]:
    """Milliseconds at PERCENTILES, by the nearest rank; empty if there are no times."""
    ordered = sorted(times_us)
    rank = {p: math.ceil(p / 100 * len(ordered)) - 1 for p in PERCENTILES}
    return {f"p{p}": ordered[rank[p]] / 1000 for p in PERCENTILES if ordered}
