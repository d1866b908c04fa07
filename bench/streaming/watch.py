"""One run: a sender, perhaps an impaired path, a viewer, and what was shown in a window of time."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.childprocess import Child, open_child
from bench.impair import Counts, Link, Relay, impaired, without_candidates
from bench.streaming.browser import Browser, Viewer
from bench.streaming.source import now_us

SETTLE_S = 3.0  # thrown away: the first keyframe, the browser's first delays, the ramp of rates
SAMPLE_S = 0.25  # between looks at the relay's counts


@dataclass(frozen=True, slots=True)
class Sender:
    """A program that answers a browser's offer with the moving picture, or makes the offer.

    command: it gets `options` as JSON, as its last word. offers: it makes the offer.
    """

    name: str
    command: tuple[str, ...]
    data: bool = False  # the view opens a data channel too, as the product's page does
    offers: bool = False

    @classmethod
    def module(cls, name: str, module: str, *, data: bool = False) -> Sender:
        """A module of this checkout."""
        return cls(name, (sys.executable, "-m", module), data=data)

    @asynccontextmanager
    async def opened(
        self, options: Mapping[str, Any], before: Sequence[str] = ()
    ) -> AsyncIterator[Child]:
        """before: a command to run it by."""
        words = (*before, *self.command, json.dumps(options))
        async with open_child(self.name, *words) as child:
            yield child


OURS = Sender.module("framemesh", "bench.streaming.ours", data=True)


class Shown(NamedTuple):
    """One picture: when it was on its canvas, when the page began to draw it; its number, if it
    could be read. Without a canvas both times are requestVideoFrameCallback's.
    """

    at_us: int
    arrived_us: int
    number: int | None


@dataclass(slots=True)
class Watched:
    """What one view showed in a window. Times: the machine's monotonic microseconds."""

    begin_us: int
    end_us: int
    clock_error_ms: float
    made_us: Mapping[int, int]
    shown: list[Shown]  # all pictures, in their order
    before: Mapping[str, Any]  # the browser's statistics at the window's begin
    after: Mapping[str, Any]  # and at its end
    report: Mapping[str, Any]  # the sender's own
    path: list[tuple[int, Counts]] = field(default_factory=list)  # samples of the way down

    @property
    def seconds(self) -> float:
        return (self.end_us - self.begin_us) / 1e6

    def frames(self, begin_us: int | None = None, end_us: int | None = None) -> list[Frame]:
        """The frames first shown in the window, or in part of it, in that order."""
        begin_us = self.begin_us if begin_us is None else begin_us
        end_us = self.end_us if end_us is None else end_us
        first: dict[int, Shown] = {}
        for picture in self.shown:
            if picture.number is not None and picture.number in self.made_us:
                first.setdefault(picture.number, picture)
        return [
            Frame(number, self.made_us[number], picture.arrived_us, picture.at_us)
            for number, picture in first.items()
            if begin_us <= picture.at_us < end_us
        ]

    def ages_ms(self, begin_us: int | None = None, end_us: int | None = None) -> list[float]:
        """From made to shown."""
        return [(f.shown_us - f.made_us) / 1000 for f in self.frames(begin_us, end_us)]

    def arrivals_ms(self) -> list[float]:
        """From made to decoded and in the page's hands."""
        return [(f.arrived_us - f.made_us) / 1000 for f in self.frames()]

    @property
    def fps(self) -> float:
        return len(self.frames()) / self.seconds

    @property
    def freeze_ms(self) -> float:
        """The longest time without a new frame."""
        times = [self.begin_us, *(frame.shown_us for frame in self.frames()), self.end_us]
        return max(b - a for a, b in itertools.pairwise(times)) / 1000

    @property
    def mbit_per_s(self) -> float:
        """Received by the browser, RTP headers included."""
        names = ("bytesReceived", "headerBytesReceived")
        got: int = sum(self.after.get(name, 0) - self.before.get(name, 0) for name in names)
        return got * 8 / 1e6 / self.seconds

    @property
    def keyframes(self) -> int:
        """Decoded since the stream began."""
        return int(self.after.get("keyFramesDecoded", 0))

    @property
    def later_keyframes(self) -> int:
        """Of those, in the window."""
        return self.keyframes - int(self.before.get("keyFramesDecoded", 0))

    @property
    def relay_late_pct(self) -> float:
        """Packets that the relay passed on over a millisecond late: the machine's doing."""
        counts = self.path[-1][1]
        return 100 * counts.late / max(counts.packets, 1)

    def oddities(self) -> list[str]:
        """What no load and no network excuses: a picture that was never made, or out of order."""
        found = []
        last = -1
        for at_us, _, number in self.shown:
            if number is None:
                found.append(f"a picture without a readable number at {at_us}")
            elif number not in self.made_us:
                found.append(f"picture {number} was never made")
            elif at_us < self.made_us[number] - self.clock_error_ms * 1000:
                found.append(f"picture {number} was shown before it was made")
            elif number < last:
                found.append(f"picture {number} came after {last}")
            last = max(last, number or -1)
        return found


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that was shown."""

    number: int
    made_us: int
    arrived_us: int
    shown_us: int


async def connect(
    viewer: Viewer,
    sender: Sender,
    child: Child,
    how: str,
    relay: Relay | None = None,
    *,
    session: int = 0,
) -> int:
    """Open a view of what the sender shows; its number.

    how: "canvas", "video" or "plain". session: of a sender that has several.
    """
    view = int(await viewer.call("open", how, sender.data))
    if sender.offers:
        offer = (await child.call("offer"))["sdp"]
        await child.call("accept", sdp=await viewer.call("answer", view, offer))
        return view
    offer = await viewer.call("offer", view)
    if relay is None:
        answer = (await child.call("answer", sdp=offer, session=session))["sdp"]
    else:
        told = await child.call("answer", sdp=without_candidates(offer))
        answer = await relay.answer(told["sdp"])
    await viewer.call("accept", view, answer)
    return view


async def watch(
    browser: Browser,
    sender: Sender,
    options: Mapping[str, Any],
    seconds: float,
    *,
    how: str = "canvas",
    link: Link | None = None,
    settle_s: float = SETTLE_S,
) -> Watched:
    """One run. Raises MeshError if it does not come about."""
    async with AsyncExitStack() as stack:
        child = await stack.enter_async_context(sender.opened(options))
        relay = await stack.enter_async_context(impaired(link)) if link else None
        viewer = await stack.enter_async_context(browser.viewer())
        view = await connect(viewer, sender, child, how, relay)
        await viewer.first_picture(view)
        await asyncio.sleep(settle_s)
        return await window(viewer, view, child, seconds, relay)


async def window(
    viewer: Viewer, view: int, child: Child, seconds: float, relay: Relay | None = None
) -> Watched:
    """What a connected view shows from now on, for so long."""
    clock = await viewer.clock()
    before = await viewer.call("statistics", view)
    if relay is not None:
        await relay.start()
    begin_us = now_us()
    path = await _sample(relay, begin_us + round(seconds * 1e6))
    end_us = now_us()
    after = await viewer.call("statistics", view)
    seen = await viewer.call("seen", view)
    report = await child.call("report")
    return Watched(
        begin_us,
        end_us,
        clock.error_ms,
        dict(report["made_us"]),
        [
            Shown(clock.machine_us(at), clock.machine_us(arrived), number)
            for at, arrived, number in seen["shown"]
        ],
        before,
        after,
        report,
        path,
    )


async def _sample(relay: Relay | None, end_us: int) -> list[tuple[int, Counts]]:
    """Look at the relay's way down until the end."""
    path = []
    while (left_s := (end_us - now_us()) / 1e6) > 0:
        await asyncio.sleep(min(left_s, SAMPLE_S))
        if relay is not None:
            path.append((now_us(), (await relay.counts())[0]))
    return path
