"""How old an input is when its picture is shown, with a frame clock that waits for it and without.

A viewer steers a 30 fps stream of pictures made by one timed device (bench/timed) behind a real
gateway: the SDK's at 60 Hz, and a real Chromium with a key held down, which sends its camera once
for each frame of its display. For every picture: from the sending of the input that it was made
with, named in its facts, until it was decoded here, or on the page's canvas. "Even" sessions open
frames at even instants (`steady=1`), "latest" ones as late as device and inputs allow; they take
turns, each opened anew, because the phase between the two clocks is left to chance.

Two loads: frames of 12 ms, where only the inputs' phase is to be won, and of 45 ms, longer than
the period, where two frames in flight queue for the device. Predicted for those: latest is 0.6 of
even, a frame's wait for the one before (45 ms of about 115).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvloop

import framemesh
from bench.report import Report, arguments
from bench.timed.mesh import linked, timed_mesh
from bench.timed.plugin import NAME
from bench.victim import free_port
from clients.chromium import Chromium, Page, open_chromium
from clients.cli.demo import DemoMesh
from clients.sdk.session import Session
from mesh.core.loop import monotonic_us
from mesh.stream import barcode

SIZE = (640, 368)
FPS = 30
INPUT_HZ = 60
DEADLINE_MS = 200
QUICK_MS, SLOW_MS = 12.0, 45.0
LOADS_MS = (QUICK_MS, SLOW_MS)
SETTLE_S = 3.0  # thrown away: speeds are learnt, the clock finds its phase


def stream_options(
    frame_ms: float, *, steady: bool, fps: int = FPS, deadline_ms: int = DEADLINE_MS
) -> dict[str, Any]:
    """What to ask for a session."""
    return {
        "width": SIZE[0],
        "height": SIZE[1],
        "fps": fps,
        "frame_ms": frame_ms,
        "deadline_ms": deadline_ms,
        "barcode": 1,
        "steady": int(steady),
        "kind": f"{frame_ms:.0f} ms",
    }


# --- the SDK's viewer -----------------------------------------------------------------------------


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


async def sdk_ages(mesh: DemoMesh, frame_ms: float, steady: bool, seconds: float) -> list[float]:
    """One session, from its opening to its end."""
    options = stream_options(frame_ms, steady=steady)
    async with framemesh.connect(mesh.page_url(), NAME, **options) as session:
        viewing = Viewing(session)
        await viewing.watch(SETTLE_S + seconds)
        return viewing.ages_ms()


# --- Chromium -------------------------------------------------------------------------------------

# What goes over the page's data channels, each with the page's time, as [milliseconds, text].
WIRETAP: Final = """
globalThis.wiretap = { said: [], heard: [] };
const create = RTCPeerConnection.prototype.createDataChannel;
RTCPeerConnection.prototype.createDataChannel = function (...given) {
  const channel = create.apply(this, given);
  const send = channel.send.bind(channel);
  channel.send = (data) => { wiretap.said.push([performance.now(), data]); send(data); };
  channel.addEventListener("message", ({ data }) => {
    if (typeof data === "string") wiretap.heard.push([performance.now(), data]);
  });
  return channel;
};
"""


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A frame on the page. age_ms: of its input. newer: inputs said since then, until it was shown.

    opened_us, closed_us: on the gateway's clock, when its input was sampled and its last piece was
    there. queue_us: what its first piece waited on the device.
    """

    frame: int
    age_ms: float
    newer: int
    opened_us: int
    closed_us: int
    queue_us: int

    @property
    def open_us(self) -> int:
        """From sampling the input until the last piece was there."""
        return self.closed_us - self.opened_us


@asynccontextmanager
async def steered_page(chromium: Chromium, url: str) -> AsyncIterator[Page]:
    """The page at `url`, tapped, with a key held down that turns the camera."""
    page = await chromium.open_page("about:blank")
    try:
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=WIRETAP)
        await page.goto(url)
        await page.until("globalThis.framemesh?.look().counts.pictures > 0")
        await page.key("keyDown", "ArrowLeft", "ArrowLeft")
        yield page
    finally:
        await page.close()


async def seen_by(page: Page) -> list[ShownFrame]:
    """The frames shown since the last look, whose facts came and whose input is known, in order."""
    tap = await page.evaluate("wiretap")
    shown_ms: dict[int, float] = {}
    for at_ms, number in (await page.evaluate("framemesh.take()"))["pictures"]:
        if number is not None:
            shown_ms.setdefault(number, at_ms)
    said_ms: dict[int, float] = {}
    for at_ms, text in tap["said"]:
        said_ms.setdefault(json.loads(text)["id"], at_ms)
    messages = (json.loads(text) for _, text in tap["heard"])
    heard = sorted((m for m in messages if "frame" in m), key=lambda facts: facts["frame"])
    return [
        _shown_frame(facts, shown_ms[facts["frame"]], said_ms)
        for facts in heard
        if facts["input"] in said_ms and facts["frame"] in shown_ms
    ]


def _shown_frame(
    facts: Mapping[str, Any], shown_ms: float, said_ms: Mapping[int, float]
) -> ShownFrame:
    sampled_ms = said_ms[facts["input"]]
    stages = facts["stages"]
    return ShownFrame(
        facts["frame"],
        shown_ms - sampled_ms,
        sum(sampled_ms < ms <= shown_ms for ms in said_ms.values()),
        facts["opened_us"],
        facts["opened_us"] + stages["open"] + stages["pieces"],
        min((piece[-2] for piece in facts["pieces"]), default=0),
    )


def most_in_flight(frames: Sequence[ShownFrame]) -> int:
    """The most frames that were open at one instant."""
    return max(
        sum(other.opened_us <= frame.opened_us < other.closed_us for other in frames)
        for frame in frames
    )


async def page_ages(
    chromium: Chromium, mesh: DemoMesh, frame_ms: float, steady: bool, seconds: float
) -> list[float]:
    """One session, from its opening to its end."""
    url = mesh.page_url(workload=NAME, **stream_options(frame_ms, steady=steady))
    async with steered_page(chromium, url) as page:
        await asyncio.sleep(SETTLE_S)
        await seen_by(page)  # and forget what was shown
        await asyncio.sleep(seconds)
        return [frame.age_ms for frame in await seen_by(page)]


# --- both -----------------------------------------------------------------------------------------

Found = dict[tuple[str, float, str], list[float]]  # viewer, load, clock


async def measure(turns: int, seconds: float) -> Found:
    found: Found = {}
    async with timed_mesh(free_port(), {"only": 1.0}) as mesh, open_chromium() as chromium:
        await linked(mesh, 1)
        for _ in range(turns):
            for frame_ms in LOADS_MS:
                for clock, steady in (("even", True), ("latest", False)):
                    made = await sdk_ages(mesh, frame_ms, steady, seconds)
                    found.setdefault(("SDK", frame_ms, clock), []).extend(made)
            for clock, steady in (("even", True), ("latest", False)):
                made = await page_ages(chromium, mesh, SLOW_MS, steady, seconds)
                found.setdefault(("Chromium", SLOW_MS, clock), []).extend(made)
    return found


def main() -> None:
    options = arguments(__doc__)
    turns, seconds = (1, 2.0) if options.quick else (8, 10.0)
    found = uvloop.run(measure(turns, seconds))
    report = Report(
        "freshness",
        config={"fps": FPS, "input_hz": INPUT_HZ, "turns": turns, "seconds": seconds},
    )
    report.table(
        ["viewer", "frames of", "clock", "p50 ms", "p95 ms", "frames/s"],
        [
            [
                viewer,
                f"{frame_ms:.0f} ms",
                clock,
                statistics.median(times),
                sorted(times)[int(0.95 * len(times))],
                len(times) / (turns * seconds),
            ]
            for (viewer, frame_ms, clock), times in found.items()
        ],
    )
    for viewer, frame_ms in sorted({(viewer, frame_ms) for viewer, frame_ms, _ in found}):
        prefix = "" if viewer == "SDK" else "chromium_"
        even, latest = (
            statistics.median(found[viewer, frame_ms, clock]) for clock in ("even", "latest")
        )
        report.figure(f"{prefix}input_to_shown_ms_even_{frame_ms:.0f}", even)
        report.figure(f"{prefix}input_to_shown_ms_latest_{frame_ms:.0f}", latest)
        report.figure(f"{prefix}latest_to_even_{frame_ms:.0f}", latest / even)
    report.finish(options)


if __name__ == "__main__":
    main()
