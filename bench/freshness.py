"""How old an input is when its picture is shown, with a frame clock that waits for it and without.

A viewer (the SDK's, over WebRTC) steers at 60 Hz a 30 fps stream of pictures made by one timed
device (bench/timed) behind a real gateway. For every picture that is decoded: from the sending of
the input that it was made with, named in its facts, until it was here. "Even" sessions open frames
at even instants (`steady=1`), "latest" ones as late as device and inputs allow; they take turns,
each opened anew, because the phase between the two clocks is left to chance.

Two loads: frames of 12 ms, where only the inputs' phase is to be won, and of 45 ms, longer than
the period, where two frames in flight queue for the device.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import Mapping
from typing import Any

import uvloop

import framemesh
from bench.report import Report, arguments
from bench.timed.mesh import linked, timed_mesh
from bench.timed.plugin import NAME
from bench.victim import free_port
from clients.cli.demo import DemoMesh
from clients.sdk.session import Session
from mesh.core.loop import monotonic_us
from mesh.stream import barcode

SIZE = (640, 368)
FPS = 30
INPUT_HZ = 60
DEADLINE_MS = 200
LOADS_MS = (12.0, 45.0)
SETTLE_S = 3.0  # thrown away: speeds are learnt, the clock finds its phase


class Viewing:
    """One session's inputs and pictures."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sent_us: dict[int, int] = {}
        self._shown_us: dict[int, int] = {}  # by frame
        self._facts: dict[int, Mapping[str, Any]] = {}

    async def watch(self, seconds: float) -> None:
        """Steer and look for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._steer())
                tasks.create_task(self._see())
                tasks.create_task(self._hear())

    async def _steer(self) -> None:
        next_us = monotonic_us()
        while True:
            self._sent_us[self._session.steer()] = monotonic_us()
            next_us += 1_000_000 // INPUT_HZ
            await asyncio.sleep(max(0, next_us - monotonic_us()) / 1e6)

    async def _see(self) -> None:
        async for frame in self._session.frames:
            number = barcode.read(frame.to_ndarray()[: SIZE[1]])
            if number is not None:
                self._shown_us.setdefault(number, frame.received_us)

    async def _hear(self) -> None:
        async for facts in self._session.facts:
            self._facts[facts["frame"]] = facts

    def ages_ms(self) -> list[float]:
        """From input to picture, of every picture since things have settled."""
        settled_us = min(self._sent_us.values()) + round(SETTLE_S * 1e6)
        return [
            (shown_us - sent_us) / 1000
            for frame, shown_us in self._shown_us.items()
            if shown_us > settled_us
            and (facts := self._facts.get(frame)) is not None
            and (sent_us := self._sent_us.get(facts["input"])) is not None
        ]


async def ages(mesh: DemoMesh, frame_ms: float, steady: int, seconds: float) -> list[float]:
    """One session, from its opening to its end."""
    async with framemesh.connect(
        mesh.page_url(),
        NAME,
        width=SIZE[0],
        height=SIZE[1],
        fps=FPS,
        frame_ms=frame_ms,
        deadline_ms=DEADLINE_MS,
        barcode=1,
        steady=steady,
        kind=f"{frame_ms:.0f} ms",
    ) as session:
        viewing = Viewing(session)
        await viewing.watch(SETTLE_S + seconds)
        return viewing.ages_ms()


async def measure(turns: int, seconds: float) -> dict[tuple[float, str], list[float]]:
    found: dict[tuple[float, str], list[float]] = {}
    async with timed_mesh(free_port(), {"only": 1.0}) as mesh:
        await linked(mesh, 1)
        for _ in range(turns):
            for frame_ms in LOADS_MS:
                for name, steady in (("even", 1), ("latest", 0)):
                    made = await ages(mesh, frame_ms, steady, seconds)
                    found.setdefault((frame_ms, name), []).extend(made)
    return found


def main() -> None:
    options = arguments(__doc__)
    turns, seconds = (1, 4.0) if options.quick else (8, 10.0)
    found = uvloop.run(measure(turns, seconds))
    report = Report(
        "freshness",
        config={"fps": FPS, "input_hz": INPUT_HZ, "turns": turns, "seconds": seconds},
    )
    report.table(
        ["frames of", "clock", "p50 ms", "p95 ms", "frames/s"],
        [
            [
                f"{frame_ms:.0f} ms",
                name,
                statistics.median(times),
                sorted(times)[int(0.95 * len(times))],
                len(times) / (turns * seconds),
            ]
            for (frame_ms, name), times in found.items()
        ],
    )
    for frame_ms in LOADS_MS:
        even, latest = (statistics.median(found[frame_ms, name]) for name in ("even", "latest"))
        report.figure(f"input_to_shown_ms_even_{frame_ms:.0f}", even)
        report.figure(f"input_to_shown_ms_latest_{frame_ms:.0f}", latest)
    report.finish(options)


if __name__ == "__main__":
    main()
