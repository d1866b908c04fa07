"""What a viewer sees when one of two workers dies or hangs, and when it comes back.

Real processes, real Chromium, 640x360 at 15 fps. The worker is ended by SIGKILL and started
again, or stopped by SIGSTOP and continued. Counted from the signal until the worker makes tiles
again: frames with a filled tile, and pictures out of order. "Back" is from the moment the gateway
accepts the worker's new hello until the first frame with a tile of its own arrives in the page.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import Report, arguments
from bench.victim import Victim, free_port
from clients.chromium import Page, open_chromium
from clients.cli.demo import DemoMesh

WAYS = ("killed", "stopped")
# Three periods: a tile that was with the victim has time to be made again by a software renderer.
DEADLINE_MS = 200
STEADY_FRAMES = 60
STOPPED_FOR_S = 3.0  # well past the link's silence limit
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What the page saw.

    filled_before: of the STEADY_FRAMES frames before the signal, what the machine's other load
        costs: with more than none, `filled_frames` says little about the failure.
    """

    filled_before: int
    frames: int  # from the signal until some time after the return
    filled_frames: int
    connections: int
    repeated: int
    backwards: int
    longest_gap_ms: float  # between two pictures on the screen
    back_s: float  # from the new hello to its first tile


class Watch:
    """The page's record, read piece by piece."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.facts: list[tuple[float, int, int, int, dict[str, int]]] = []
        self.pictures: list[float] = []
        self.counts: dict[str, int] = {}

    async def read(self) -> None:
        record = await self._page.evaluate("framemesh.take()")
        self.facts += [tuple(entry) for entry in record["facts"]]
        self.pictures += [at for at, _ in record["pictures"]]

    async def until(self, seen: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not seen():
                await asyncio.sleep(0.1)
                await self.read()


async def run(how: str, deadline_ms: int = DEADLINE_MS) -> Outcome:
    """One failure of the victim, in a mesh of its own; deadline_ms: 0 for two periods."""
    with tempfile.TemporaryDirectory() as folder:
        mesh = DemoMesh.lay_out(Path(folder), workers=2, port=free_port())
        async with mesh.running(), open_chromium() as browser:
            await mesh.ready()
            url = mesh.page_url(
                scene="courtyard",
                width=640,
                height=360,
                fps=15,
                barcode=1,
                tiles=4,
                deadline_ms=deadline_ms,
            )
            page = await browser.open_page(url)
            await page.until("globalThis.framemesh")
            watch = Watch(page)
            await watch.until(lambda: len(watch.facts) >= STEADY_FRAMES)
            return await fail(mesh, page, watch, how)


async def fail(mesh: DemoMesh, page: Page, watch: Watch, how: str) -> Outcome:
    victim = Victim(mesh)
    await watch.read()
    before = len(watch.facts)
    pictures_before = len(watch.pictures)
    linked_before = len(victim.hellos_s())
    if how == "killed":
        victim.kill()
        victim.start()
    else:
        victim.stop()
        await asyncio.sleep(STOPPED_FOR_S)
        victim.resume()
    # What it sent before it was hit may still arrive: only a new hello is a return.
    await watch.until(lambda: len(victim.hellos_s()) > linked_before)
    hello_s = victim.hellos_s()[linked_before]
    origin_s = await page.evaluate("performance.timeOrigin") / 1000
    back: list[float] = []

    def is_back() -> bool:
        back[:] = [
            facts[0] / 1000 + origin_s
            for facts in watch.facts[before:]
            if victim.made_any(facts[4]) and facts[0] / 1000 + origin_s > hello_s
        ]
        return len(back) >= STEADY_FRAMES // 4

    await watch.until(is_back)
    counts = await page.evaluate("framemesh.look().counts")
    shown = watch.pictures[pictures_before:]
    return Outcome(
        filled_before=sum(facts[3] > 0 for facts in watch.facts[before - STEADY_FRAMES : before]),
        frames=len(watch.facts) - before,
        filled_frames=sum(facts[3] > 0 for facts in watch.facts[before:]),
        connections=counts["connections"],
        repeated=counts["repeated"],
        backwards=counts["backwards"],
        longest_gap_ms=max(b - a for a, b in itertools.pairwise(shown)),
        back_s=back[0] - hello_s,
    )


def main() -> None:
    options = arguments(__doc__)
    rounds = 1 if options.quick else 5
    report = Report(
        "failover",
        config={"rounds": rounds, "fps": 15, "size": [640, 360], "deadline_ms": DEADLINE_MS},
    )
    rows: list[list[str | float]] = []
    for how in WAYS:
        outcomes = [asyncio.run(run(how)) for _ in range(rounds)]
        worst = {
            "filled_before": max(o.filled_before for o in outcomes),
            "filled_frames": max(o.filled_frames for o in outcomes),
            "back_s": max(o.back_s for o in outcomes),
            "longest_gap_ms": max(o.longest_gap_ms for o in outcomes),
            "renegotiations": max(o.connections for o in outcomes) - 1,
            "out_of_order": max(o.repeated + o.backwards for o in outcomes),
        }
        rows.append([how, *worst.values()])
        for key, value in worst.items():
            report.figure(f"{how}_{key}_max", value)
    report.table(
        [
            "worker",
            "filled before",
            "filled frames",
            "back s",
            "longest gap ms",
            "renegotiations",
            "out of order",
        ],
        rows,
    )
    report.finish(options)


if __name__ == "__main__":
    main()
