"""The same arrivals served by a framemesh and by Ray Serve, beside each other: who misses what.

Four devices that take exactly as long as they are told (bench/timed; in Ray, four replicas that
sleep), loaded to nine tenths by streams of four classes: VR 6 ms of work due in 11.1, game 9 in
33.3, LiDAR 22 in 100, and jobs of 60 in 1000 that arrive at random. All times are stretched by
four, so that what a call costs Ray on a small machine is not what decides. A frame is on time if
its answer is back at the client before its deadline, which counts from when it was sent; anything
else is a miss. A mesh's deadline counts from a frame's opening until it is whole: its sessions are
given less than the client has, by what an input's and a result's way take. Ray Serve is told of
deadlines the only way it can be: a request is cancelled at its own. "Pieces" is the mesh with
frames cut into pieces of at most 4 ms, which it may; the replicas have no such thing. One after the
other, with nothing else up; arrivals are of one seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import msgspec
import uvloop

import framemesh
from bench import rayside
from bench.report import Report, arguments
from bench.timed.frames import Ask
from bench.timed.mesh import linked, made, timed_mesh
from bench.timed.plugin import NAME
from bench.victim import free_port
from clients.sdk.session import Session
from mesh.core.errors import MeshError

STRETCH = 4.0
DEVICES = 4
SEED = 1
QUANTUM_MS = 4.0
WARM_UP_S = 4.0
WAY_MS = 2.0  # of the deadline, not stretched: from the client to the gateway and back
LEAD_S = 0.2  # between everything being ready and the first arrival

# Whether one frame of a stream was back in time; called when it arrives.
Serve = Callable[["Stream"], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Class:
    """A kind of frame; times in milliseconds, before they are stretched."""

    name: str
    work_ms: float
    deadline_ms: float
    period_ms: float
    streams: int
    at_random: bool = False  # a Poisson process of that mean period, instead of a clock

    @property
    def load(self) -> float:
        """How many devices it keeps busy."""
        return self.streams * self.work_ms / self.period_ms


CLASSES = (
    Class("VR", 6, 11.1, 11.1, streams=3),
    Class("game", 9, 33.3, 33.3, streams=4),
    Class("LiDAR", 22, 100, 100, streams=2),
    Class("job", 60, 1000, 1000, streams=8, at_random=True),
)


@dataclass(frozen=True, slots=True)
class Stream:
    """One client's frames. arrivals_s: from the beginning; those below 0 are warm-up."""

    number: int
    kind: Class
    arrivals_s: tuple[float, ...]


def streams(seconds: float) -> list[Stream]:
    """Every stream with its arrivals, the same for everybody."""
    draw = random.Random(SEED)
    made: list[Stream] = []
    for kind in CLASSES:
        for _ in range(kind.streams):
            period_s = kind.period_ms * STRETCH / 1000
            at_s = -WARM_UP_S + draw.random() * period_s
            arrivals: list[float] = []
            while at_s < seconds:
                arrivals.append(at_s)
                at_s += draw.expovariate(1 / period_s) if kind.at_random else period_s
            made.append(Stream(len(made), kind, tuple(arrivals)))
    return made


async def play(loaded: Sequence[Stream], serve: Serve) -> dict[str, tuple[int, int]]:
    """(frames, misses) by class, of arrivals from 0 on."""
    start_s = time.monotonic() + LEAD_S + WARM_UP_S
    frames: Counter[str] = Counter()
    missed: Counter[str] = Counter()

    async def frame(stream: Stream, at_s: float) -> None:
        on_time = await serve(stream)
        if at_s >= 0:
            frames[stream.kind.name] += 1
            missed[stream.kind.name] += not on_time

    async def feed(stream: Stream, tasks: asyncio.TaskGroup) -> None:
        for at_s in stream.arrivals_s:
            await asyncio.sleep(max(0.0, start_s + at_s - time.monotonic()))
            tasks.create_task(frame(stream, at_s))

    async with asyncio.TaskGroup() as tasks:
        for stream in loaded:
            tasks.create_task(feed(stream, tasks))
    return {kind.name: (frames[kind.name], missed[kind.name]) for kind in CLASSES}


async def by_mesh(loaded: Sequence[Stream], *, quantum_ms: float) -> dict[str, tuple[int, int]]:
    """A gateway and four workers, each node and device in a process of its own."""
    asked = msgspec.msgpack.encode(Ask())
    speeds = {f"device-{i}": 1.0 for i in range(DEVICES)}
    async with timed_mesh(free_port(), speeds) as mesh, AsyncExitStack() as stack:
        await linked(mesh, DEVICES)
        sessions: list[Session] = []
        for stream in loaded:
            kind = stream.kind
            opening = framemesh.connect(
                mesh.page_url(),
                NAME,
                width=0,
                frame_ms=kind.work_ms * STRETCH,
                deadline_ms=kind.deadline_ms * STRETCH - WAY_MS,
                tiles=max(1, math.ceil(kind.work_ms / quantum_ms)),
                kind=kind.name,
            )
            sessions.append(await stack.enter_async_context(opening))

        async def serve(stream: Stream) -> bool:
            sent_s = time.monotonic()
            try:
                frame = made(await sessions[stream.number].ask(asked))
            except MeshError:
                return False  # refused: nobody waits for it
            return not frame.filled and _in_time(stream, sent_s)

        return await play(loaded, serve)


def by_ray(loaded: Sequence[Stream]) -> dict[str, tuple[int, int]]:
    """Ray Serve: one replica per device, each doing one thing at a time."""
    with rayside.ray_running(), rayside.serve_running() as ray_serve:

        class Device:
            def __call__(self, seconds: float) -> bytes:
                time.sleep(seconds)
                return bytes(1024)

        deployment = ray_serve.deployment(
            Device,
            num_replicas=DEVICES,
            max_ongoing_requests=1,
            ray_actor_options={"num_cpus": 0},
        )
        handle = ray_serve.run(deployment.bind(), name="devices", route_prefix=None)

        async def serve(stream: Stream) -> bool:
            sent_s = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stream.kind.deadline_ms * STRETCH / 1000):
                    await handle.remote(stream.kind.work_ms * STRETCH / 1000)
                    return _in_time(stream, sent_s)
            return False

        return uvloop.run(play(loaded, serve))


def _in_time(stream: Stream, sent_s: float) -> bool:
    return time.monotonic() - sent_s <= stream.kind.deadline_ms * STRETCH / 1000


def main() -> None:
    options = arguments(__doc__)
    seconds = 5.0 if options.quick else 60.0
    loaded = streams(seconds)
    load = sum(kind.load for kind in CLASSES) / DEVICES
    report = Report(
        "serving",
        config={"load": load, "stretch": STRETCH, "seconds": seconds, "devices": DEVICES},
        seeds=[SEED],
    )
    found = {
        "framemesh, pieces": uvloop.run(by_mesh(loaded, quantum_ms=QUANTUM_MS)),
        "framemesh, whole frames": uvloop.run(by_mesh(loaded, quantum_ms=math.inf)),
    }
    lacking = rayside.why_not()
    if lacking:
        print(f"\nnot beside Ray Serve: {lacking}")
    else:
        found["Ray Serve"] = by_ray(loaded)
    print(f"\nmissed, in percent, at a load of {load:.2f}")
    report.table(
        ["", *(kind.name for kind in CLASSES), "all"],
        [[name, *map(_percent, counts.values()), _all(counts)] for name, counts in found.items()],
    )
    report.figure("pieces_missed_pct", _all(found["framemesh, pieces"]))
    report.figure("whole_missed_pct", _all(found["framemesh, whole frames"]))
    if not lacking:
        report.figure("ray_serve_missed_pct", _all(found["Ray Serve"]))
    report.finish(options)


def _percent(count: tuple[int, int]) -> float:
    frames, missed = count
    return 100.0 * missed / max(frames, 1)


def _all(counts: dict[str, tuple[int, int]]) -> float:
    frames, missed = map(sum, zip(*counts.values(), strict=True))
    return _percent((frames, missed))


if __name__ == "__main__":
    main()
