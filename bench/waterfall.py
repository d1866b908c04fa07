"""Where a frame's time goes, from being opened to being drawn in a browser, stage by stage.

A demo mesh of real processes: a gateway and two workers on the machine's Vulkan driver. A headless
Chromium shows the courtyard, 640x360 at 30 fps, in the product's own page. Each stage is timed by
whoever does it, as a duration on one clock:

* open, pieces, compose, encode, send: the gateway, told in each frame's facts; of pieces, how long
  the slowest one waited on its device, ran there, and was on its way (placed, sent, returned);
* network: half of the round trip that ICE's checks see; the browser's statistics;
* receive: from a picture's first packet until it goes to the decoder, and decode (getStats);
* draw: the page, around its own drawing.

The end to end is measured apart from them: from `opened_us` on the gateway's clock until the page
has drawn the picture that carries the frame's number in its pixels, on the page's clock, which is
aligned to the machine's to within `clock_error_ms`. What the sum lacks of it, the hand-overs
between those who measure, is what nobody saw.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from bench.freshness import WIRETAP
from bench.mixed import two_workers
from bench.report import Report, arguments
from clients.chromium import Page, open_chromium
from clients.cli.demo import DemoMesh
from mesh.core.loop import monotonic_us

SESSION: Final = {
    "scene": "courtyard",
    "width": 640,
    "height": 360,
    "fps": 30,
    "barcode": 1,
    "deadline_ms": 133,
}
GATEWAY: Final = ("open", "pieces", "compose", "encode", "send")
STAGES: Final = (*GATEWAY, "network", "receive", "decode", "draw")
PARTS: Final = ("queue", "run", "way")
SETTLE_S = 5.0
READINGS = 300  # of the page's clock; the quickest one counts
NEAR = 0.05  # of the end to end, that the sum may be off

# When the page drew which picture, as [begun, done] in its milliseconds; and its connection.
TAP: Final = """
globalThis.tap = { drawn: [], connections: [] };
{
  const { drawImage } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.drawImage = function (source, ...where) {
    const begunMs = performance.now();
    drawImage.call(this, source, ...where);
    if (source instanceof VideoFrame) tap.drawn.push([begunMs, performance.now()]);
  };
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Native {
    constructor(...given) {
      super(...given);
      tap.connections.push(this);
    }
  };
}
"""
STATISTICS: Final = """
(async () => {
  const kept = {};
  (await tap.connections.at(-1).getStats()).forEach((part) => {
    if (part.type === "inbound-rtp" && part.kind === "video") Object.assign(kept, part);
    if (part.type === "candidate-pair" && part.nominated) kept.trips = part;
  });
  return kept;
})()
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One frame on the page. stages: the gateway's, milliseconds. slowest: of pieces, by PARTS.
    draw_ms: the page's drawing.
    """

    stages: Mapping[str, float]
    slowest: Mapping[str, float]
    draw_ms: float
    end_to_end_ms: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A window's frames, and the browser's own means of it, milliseconds by stage."""

    frames: Sequence[Drawn]
    browser: Mapping[str, float]
    clock_error_ms: float

    def slowest(self, part: str) -> float:
        """The mean of one of PARTS, milliseconds."""
        return statistics.mean(frame.slowest[part] for frame in self.frames)

    def means(self) -> dict[str, float]:
        """Each stage's mean, in the order that they happen."""
        told = {s: statistics.mean(f.stages[s] for f in self.frames) for s in GATEWAY}
        draw = statistics.mean(frame.draw_ms for frame in self.frames)
        return {**told, **self.browser, "draw": draw}


async def clock_of(page: Page) -> tuple[float, float]:
    """What to add to the page's milliseconds for the machine's, and how wrong that may be."""
    best = (float("inf"), 0.0)
    for _ in range(READINGS):
        before_ms = monotonic_us() / 1000
        page_ms = float(await page.evaluate("performance.now()"))
        after_ms = monotonic_us() / 1000
        best = min(best, (after_ms - before_ms, (before_ms + after_ms) / 2 - page_ms))
    trip_ms, offset_ms = best
    return offset_ms, trip_ms / 2


async def watch(page: Page, seconds: float) -> Seen:
    """What a page that is live shows from now on, for so long."""
    offset_ms, error_ms = await clock_of(page)
    before = await page.evaluate(STATISTICS)
    await page.evaluate("framemesh.take(); tap.drawn = []; wiretap.heard = []; 0")
    await asyncio.sleep(seconds)
    after = await page.evaluate(STATISTICS)
    pictures = (await page.evaluate("framemesh.take()"))["pictures"]
    drawn, heard = await page.evaluate("[tap.drawn, wiretap.heard.map(([, text]) => text)]")
    facts = {said["frame"]: said for said in map(json.loads, heard) if "frame" in said}
    return Seen(joined(facts, pictures, drawn, offset_ms), browser_stages(before, after), error_ms)


def joined(
    facts: Mapping[int, Mapping[str, Any]],
    pictures: Sequence[tuple[float, int | None]],
    drawn: Sequence[tuple[float, float]],
    offset_ms: float,
) -> list[Drawn]:
    """Frames whose facts came and whose picture was drawn.

    pictures: when the page was through with each, and the number in it. drawn: when it began to
    draw each, and had; both in order, on the page's clock.
    """
    found: list[Drawn] = []
    at = -1
    for through_ms, number in pictures:
        while at + 1 < len(drawn) and drawn[at + 1][1] <= through_ms:
            at += 1
        said = facts.get(number) if number is not None else None
        if at < 0 or said is None:
            continue
        begun_ms, done_ms = drawn[at]
        stages = {stage: said["stages"][stage] / 1000 for stage in GATEWAY}
        end_ms = done_ms + offset_ms - said["opened_us"] / 1000
        slowest = slowest_piece(said["pieces"], stages["pieces"])
        found.append(Drawn(stages, slowest, done_ms - begun_ms, end_ms))
    return found


def slowest_piece(pieces: Sequence[Sequence[int]], all_ms: float) -> dict[str, float]:
    """What `pieces` took, all_ms, by PARTS: of the one that was on its device the longest."""
    *_, queue_us, run_us = max(pieces, key=lambda piece: piece[-2] + piece[-1])
    queue_ms, run_ms = queue_us / 1000, run_us / 1000
    return {"queue": queue_ms, "run": run_ms, "way": all_ms - queue_ms - run_ms}


def browser_stages(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """Means over a window, milliseconds, from the statistics at its begin and end."""

    def grown(name: str) -> float:
        return float(after[name] - before[name])

    pictures = grown("framesDecoded")
    decode_ms = 1000 * grown("totalDecodeTime") / pictures
    whole_ms = 1000 * grown("totalProcessingDelay") / pictures  # first packet to decoded
    trips = after["trips"]
    trip_s = trips["totalRoundTripTime"] / max(trips["responsesReceived"], 1)
    return {
        "network": 1000 * trip_s / 2,
        "receive": whole_ms - decode_ms,
        "decode": decode_ms,
    }


async def measure(runs: int, seconds: float) -> list[Seen]:
    """Each run with a page and a session of its own."""
    async with two_workers() as mesh, open_chromium() as chromium:
        return [await one_run(mesh, await chromium.open_page("about:blank"), seconds)
                for _ in range(runs)]  # fmt: skip


async def one_run(mesh: DemoMesh, page: Page, seconds: float) -> Seen:
    try:
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=TAP + WIRETAP)
        await page.goto(mesh.page_url(**SESSION))
        await page.until("globalThis.framemesh?.look().counts.matched > 30")
        await asyncio.sleep(SETTLE_S)
        return await watch(page, seconds)
    finally:
        await page.close()


def p99(values: Sequence[float]) -> float:
    """The smallest value that 99 of 100 do not exceed."""
    return sorted(values)[max(0, -(-99 * len(values) // 100) - 1)]


def main() -> int:
    options = arguments(__doc__)
    runs, seconds = (1, 8.0) if options.quick else (3, 20.0)
    seen = uvloop.run(measure(runs, seconds))
    report = Report("waterfall", config={**SESSION, "runs": runs, "seconds": seconds})
    means = {stage: statistics.median(one.means()[stage] for one in seen) for stage in STAGES}
    ends = [frame.end_to_end_ms for one in seen for frame in one.frames]
    ratios = [
        sum(one.means().values()) / statistics.mean(f.end_to_end_ms for f in one.frames)
        for one in seen
    ]
    mean = statistics.mean(ends)
    parts = {part: statistics.median(one.slowest(part) for one in seen) for part in PARTS}
    rows: list[list[str | float]] = []
    for stage, ms in means.items():
        rows.append([stage, ms, 100 * ms / mean])
        if stage == "pieces":
            rows += [[f"  of it {part}", ms, 100 * ms / mean] for part, ms in parts.items()]
    report.table(["stage", "mean ms", "share %"], rows)
    for part, ms in parts.items():
        report.figure(f"piece_{part}_ms", ms)
    for stage, ms in means.items():
        report.figure(f"{stage}_ms", ms)
    worst = max(ratios, key=lambda ratio: abs(1 - ratio))
    report.table(
        ["end to end", "p50 ms", "p99 ms", "mean ms", "sum of stages to it, worst run"],
        [["", statistics.median(ends), p99(ends), mean, worst]],
    )
    report.figure("end_to_end_ms_p50", statistics.median(ends))
    report.figure("end_to_end_ms_p99", p99(ends))
    report.figure("sum_to_end_to_end", worst)
    report.figure("frames_per_s", len(ends) / (runs * seconds))
    report.figure("clock_error_ms", max(one.clock_error_ms for one in seen))
    report.finish(options)
    return int(abs(1 - worst) > NEAR)


if __name__ == "__main__":
    sys.exit(main())
