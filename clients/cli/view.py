"""`framemesh view`: watch a session from a terminal, and say how it goes."""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clients.sdk.connect import connect
from clients.sdk.session import Session
from mesh.core.errors import Misuse
from mesh.core.loop import monotonic_us

if TYPE_CHECKING:
    from clients.cli.options import Commands
    from clients.sdk.frame import Frame

REPORT_US = 1_000_000


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("view", help="watch a session: rate, times per stage, makers")
    parser.add_argument("url", metavar="URL", help="as `framemesh demo` prints it, with the token")
    parser.add_argument("--workload", metavar="NAME", help="default: the address's, else render")
    parser.add_argument("--frames", type=int, metavar="N", help="end after N pictures")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="record to FILE (.mp4, .mkv or .mov) as it comes"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line each second until interrupted, or until enough pictures came."""
    asyncio.run(_view(arguments.url, arguments.workload, arguments.frames, arguments.out))
    return 0


async def _view(url: str, workload: str | None, frames: int | None, out: Path | None) -> None:
    options: dict[str, Any] = {"codec": "h264"} if out is not None else {}
    async with connect(url, workload, **options) as session, AsyncExitStack() as stack:
        if session.fed or session.description.get("pictures") is False:
            raise Misuse(
                what="there is nothing to view",
                why=f"'{session.description.get('workload')}' makes no pictures",
                fix="Look at it in a browser, or read its results with `framemesh.connect`.",
            )
        print(f"session {session.id}", flush=True)
        if out is not None:
            recorder = await stack.enter_async_context(session.recording(out))
            stack.callback(lambda: print(f"{recorder.pictures} pictures recorded to {out}"))
        tally = Tally(monotonic_us())
        reading = asyncio.create_task(_read_facts(session, tally))
        try:
            shown = 0
            async for frame in session.frames:
                tally.saw(frame)
                shown += 1
                done = shown == frames
                if done or frame.received_us - tally.since_us >= REPORT_US:
                    print(tally.line(frame.received_us), flush=True)
                    tally.restart(frame.received_us)
                if done:
                    return
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            if session.frames.dropped:
                print(f"{session.frames.dropped} pictures were not looked at in time")


async def _read_facts(session: Session, tally: Tally) -> None:
    async for facts in session.facts:
        tally.heard(facts)


class Tally:
    """What came since the last line. Pure."""

    def __init__(self, now_us: int) -> None:
        self._first = True
        self.restart(now_us)

    def restart(self, now_us: int) -> None:
        """Begin a new line."""
        self.since_us = now_us
        self._pictures = 0
        self._size = ""
        self._stages: dict[str, list[float]] = {}
        self._passes: dict[str, list[float]] = {}
        self._makers: Counter[str] = Counter()
        self._pieces = self._filled = 0

    def saw(self, frame: Frame) -> None:
        """A picture came."""
        self._pictures += 1
        self._size = f"{frame.picture.width}x{frame.picture.height}"

    def heard(self, facts: Mapping[str, Any]) -> None:
        """A frame's facts came (docs/protocol-browser.md)."""
        for stage, us in facts.get("stages", {}).items():
            self._stages.setdefault(stage, []).append(us)
        for name, us in facts.get("passes", {}).items():
            self._passes.setdefault(name, []).append(us)
        makers = facts.get("makers", ())
        for piece in facts.get("pieces", ()):
            self._pieces += 1
            *_, maker, _, _ = piece
            if maker >= 0:
                self._makers[makers[maker]] += 1
        self._filled += facts.get("filled", 0)

    def line(self, now_us: int) -> str:
        """Rate, median milliseconds of stages and of devices' passes, who made what share."""
        seconds = max(1, now_us - self.since_us) / 1e6
        stages, passes = _medians(self._stages), _medians(self._passes)
        devices = f"  |  devices: {passes}" if passes else ""
        makers = "  ".join(
            f"{name} {n / self._pieces:.0%}" for name, n in sorted(self._makers.items())
        )
        return (
            f"{self._pictures / seconds:5.1f} fps  {self._size}  ms: {stages or '-'}{devices}"
            f"  |  {makers or '-'}  |  filled {self._filled} of {self._pieces}"
        )


def _medians(times_us: Mapping[str, list[float]]) -> str:
    """Milliseconds by name."""
    return "  ".join(
        f"{name} {statistics.median(times) / 1000:.1f}" for name, times in times_us.items()
    )
