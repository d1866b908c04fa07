"""What `bench.stream` asks: each scenario is one run that answers with figures by their names."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import latewarp
from bench.childprocess import ROOT, Child
from bench.impair import Line, Link, joined_namespaces
from bench.streaming.browser import Browser, Viewer
from bench.streaming.fovea import bits_saved
from bench.streaming.hostile import QUIET, SPOOFED, STRANGERS, attacked
from bench.streaming.selkies import executable, watch_selkies
from bench.streaming.source import now_us
from bench.streaming.watch import OURS, SETTLE_S, Sender, Watched, connect, watch, window
from mesh.core.errors import MeshError

Figures = dict[str, float]

HD60: Final = {"width": 1280, "height": 720, "fps": 60}
SMALL30: Final = {"width": 640, "height": 360, "fps": 30}
WARM_UP_S = 5.0
PEER_BITRATE = 8_000_000  # of whoever is told one
STEP_BITRATE = 12_000_000  # more than the path carries: the path must be what limits
STEP_BPS = (8e6, 4e6, 8e6)
SHARED_BPS = 10e6
VIEWERS = 8
SEED = 7
SECONDS = 20.0  # of a run, when not in a hurry

_AS_PEERS: Final = {**HD60, "bitrate": PEER_BITRATE}

STOCK_AIORTC = Sender.module("stock aiortc", "bench.streaming.aiortc_stock")
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that Debian's bindings are for
GSTREAMER = Sender("GStreamer", (SYSTEM_PYTHON, "-m", "bench.streaming.gstreamer"), offers=True)


class Unmeasured(MeshError):
    """A scenario cannot run here."""

    code = "unmeasured"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where and how long a scenario runs. run: its number, from 0; changes the seeds."""

    browser: Browser
    seconds: float
    run: int = 0

    @property
    def seed(self) -> int:
        return SEED + self.run

    def both_ways(self, line: Line) -> Link:
        return Link(line, line, self.seed)


@dataclass(frozen=True, slots=True)
class Scenario:
    """figures: the names that a run answers with, in the order of the table.

    optional: it needs what a machine may lack, so that its failing fails nothing.
    """

    name: str
    run: Callable[[Stage], Awaitable[Figures]]
    figures: tuple[str, ...]
    once: bool = False  # nothing in it is left to chance
    optional: bool = False


# --- a clean path ---------------------------------------------------------------------------------


async def warm_up(browser: Browser) -> None:
    """A stream of nobody's: what a browser loads and compiles for its first one is no sender's."""
    await watch(browser, OURS, HD60, WARM_UP_S)


async def canvas(stage: Stage) -> Figures:
    """720p60 on the canvas path."""
    seen = judged(await watch(stage.browser, OURS, _AS_PEERS, stage.seconds))
    return {
        "fps_720p60": seen.fps,
        "shown_ms_p50_canvas": p50(seen.ages_ms()),
        "shown_ms_p99_canvas": p99(seen.ages_ms()),
        "arrived_ms_p50_canvas": p50(seen.arrivals_ms()),
        "arrived_ms_p99_canvas": p99(seen.arrivals_ms()),
        "freeze_ms_canvas": seen.freeze_ms,
        "keyframes_canvas": seen.keyframes,
        "encoder_rebuilds_canvas": rebuilds(seen),
        "mbit_per_s_canvas": seen.mbit_per_s,
        "encode_ms_p50": seen.report["encode_us_p50"] / 1000,
    }


async def video(stage: Stage) -> Figures:
    """720p60 in a plain <video>, which may leave pictures out."""
    seen = judged(await watch(stage.browser, OURS, _AS_PEERS, stage.seconds, how="video"))
    return {
        "fps_video": seen.fps,
        "shown_ms_p50_video": p50(seen.ages_ms()),
        "shown_ms_p99_video": p99(seen.ages_ms()),
        "freeze_ms_video": seen.freeze_ms,
        "keyframes_video": seen.keyframes,
    }


def peer(
    sender: Sender, prefix: str, options: Mapping[str, Any], check: Callable[[], None]
) -> Callable[[Stage], Awaitable[Figures]]:
    """720p60 by another project's sender, on the canvas path: the better one for all."""

    async def run(stage: Stage) -> Figures:
        check()
        told = {**HD60, **options}
        return of_peer(prefix, await watch(stage.browser, sender, told, stage.seconds))

    return run


async def selkies(stage: Stage) -> Figures:
    """The same by Selkies, from an X screen, in its own page."""
    if executable() is None:
        raise unmeasured("Selkies", "it is not installed", "See bench/streaming/selkies.py.")
    seen = await watch_selkies(stage.browser, HD60, PEER_BITRATE, stage.seconds)
    return of_peer("selkies", seen)


def of_peer(prefix: str, watched: Watched) -> Figures:
    seen = judged(watched)
    return {
        f"{prefix}_fps": seen.fps,
        f"{prefix}_shown_ms_p50": p50(seen.ages_ms()),
        f"{prefix}_shown_ms_p99": p99(seen.ages_ms()),
        f"{prefix}_keyframes": seen.keyframes,
        f"{prefix}_mbit_per_s": seen.mbit_per_s,
    }


def peer_figures(prefix: str) -> tuple[str, ...]:
    names = ("fps", "shown_ms_p50", "shown_ms_p99", "keyframes", "mbit_per_s")
    return tuple(f"{prefix}_{name}" for name in names)


def nothing_needed() -> None:
    """The peer comes with the checkout."""


def needs_gstreamer() -> None:
    """Raises Unmeasured without webrtcbin."""
    inspect = shutil.which("gst-inspect-1.0")
    if inspect is None or not Path(SYSTEM_PYTHON).exists():
        raise unmeasured(
            "GStreamer", "it is not installed", f"See {GSTREAMER.command[-1]} for its packages."
        )


# --- an impaired path -----------------------------------------------------------------------------


async def step(stage: Stage) -> Figures:
    """8, 4, and again 8 Mb/s, a third of the time each, with a queue of 100 ms."""
    third = stage.seconds / len(STEP_BPS)
    rates = tuple((n * third, bps) for n, bps in enumerate(STEP_BPS))
    link = Link(Line(rate_bps=rates, queue_ms=100), seed=stage.seed)
    options = {**HD60, "bitrate": STEP_BITRATE}
    seen = judged(await watch(stage.browser, OURS, options, stage.seconds, link=link))
    late_ms = []
    used = []
    for begin_s, bps in rates[1:]:
        begin_us = seen.begin_us + round(begin_s * 1e6)
        end_us = begin_us + round(third * 1e6)
        late_ms += seen.ages_ms(begin_us + 1_000_000, end_us)
        used.append(100 * carried_bps(seen, begin_us + round(0.75 * third * 1e6), end_us) / bps)
    return {
        "step_p99_ms_after_1s": p99(late_ms),
        "step_freeze_ms_max": seen.freeze_ms,
        "step_keyframes": seen.later_keyframes,
        "step_encoder_rebuilds": rebuilds(seen),
        "step_utilisation_pct": min(used),
        "step_fps": seen.fps,
        "step_relay_late_pct": seen.relay_late_pct,
    }


def carried_bps(seen: Watched, begin_us: int, end_us: int) -> float:
    """What the relay passed on between two times, by its samples."""
    inside = [(at, counts) for at, counts in seen.path if begin_us <= at <= end_us]
    (first_us, first), (last_us, last) = inside[0], inside[-1]
    return (last.sent_bytes - first.sent_bytes) * 8e6 / max(last_us - first_us, 1)


async def loss1(stage: Stage) -> Figures:
    """20 ms there and back, 1 % lost each way."""
    link = stage.both_ways(Line(delay_ms=10, loss=0.01))
    seen = judged(await watch(stage.browser, OURS, HD60, stage.seconds, link=link))
    return {
        "loss1_fps": seen.fps,
        "loss1_p50_ms": p50(seen.ages_ms()),
        "loss1_p99_ms": p99(seen.ages_ms()),
        "loss1_freeze_ms": seen.freeze_ms,
        "loss1_idr": seen.later_keyframes,
        "loss1_mbit_per_s": seen.mbit_per_s,
        "loss1_relay_late_pct": seen.relay_late_pct,
    }


async def loss5(stage: Stage) -> Figures:
    """40 ms there and back, 5 % lost each way; coming down also 8 in a row, about each second."""
    up = Line(delay_ms=20, loss=0.05)
    down = Line(delay_ms=20, loss=0.05, burst=0.001, burst_packets=8)
    link = Link(down, up, stage.seed)
    seen = judged(await watch(stage.browser, OURS, HD60, stage.seconds, link=link))
    return {
        "loss5_fps": seen.fps,
        "loss5_p50_ms": p50(seen.ages_ms()),
        "loss5_p99_ms": p99(seen.ages_ms()),
        "loss5_freeze_ms": seen.freeze_ms,
        "loss5_idr": seen.later_keyframes,
        "loss5_mbit_per_s": seen.mbit_per_s,
        "loss5_relay_late_pct": seen.relay_late_pct,
    }


async def share(stage: Stage) -> Figures:
    """Two streams of ours and one TCP flow through 10 Mb/s: what each gets, of a third."""
    line = Line(delay_ms=5, rate_bps=((0, SHARED_BPS),), queue_ms=100)
    async with joined_namespaces(Link(line, Line(delay_ms=5), stage.seed)) as (_, spaces):
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", spaces.near, sys.executable, "-m", "bench.streaming.share"),
            *(spaces.far, spaces.far_address, str(stage.seconds)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
    if process.returncode:
        raise unmeasured("the shared bottleneck", "its viewer failed", "See what it wrote above.")
    got: dict[str, float] = json.loads(said)
    fair = sum(got.values()) / len(got)
    return {
        "share_stream_least_of_fair": min(got["first"], got["second"]) / fair,
        "share_stream_most_of_fair": max(got["first"], got["second"]) / fair,
        "share_tcp_of_fair": got["tcp"] / fair,
        "share_used_pct": 100 * sum(got.values()) / SHARED_BPS,
    }


# --- many viewers ---------------------------------------------------------------------------------


async def viewers(stage: Stage) -> Figures:
    """What the sending process costs with 8 viewers of one session, and with 1."""
    async with OURS.opened(SMALL30) as child, stage.browser.viewer() as viewer:
        view = await connect(viewer, OURS, child, "canvas")
        await viewer.first_picture(view)
        alone_ms, _ = await cpu_ms(stage, viewer, view, child)
        for _ in range(VIEWERS - 1):
            await viewer.first_picture(await connect(viewer, OURS, child, "plain"))
        together_ms, fps = await cpu_ms(stage, viewer, view, child)
    return {
        "cpu_8_viewers_to_1": together_ms / alone_ms,
        "cpu_ms_a_frame_1_viewer": alone_ms,
        "fps_8_viewers": fps,
    }


async def cpu_ms(stage: Stage, viewer: Viewer, view: int, child: Child) -> tuple[float, float]:
    """The sender's CPU time for a frame, and what the view shows a second, from now on."""
    await asyncio.sleep(2.0)
    before = await child.call("report")
    seen = judged(await window(viewer, view, child, stage.seconds / 2))
    frames = len(seen.made_us) - len(before["made_us"])
    return 1000 * (seen.report["cpu_s"] - before["cpu_s"]) / frames, seen.fps


async def sessions(stage: Stage) -> Figures:
    """8 sessions at once, each with a source and an encoder, of one sending process."""
    options = {**SMALL30, "sessions": VIEWERS}
    async with OURS.opened(options) as child, stage.browser.viewer() as viewer:
        views = [
            await connect(viewer, OURS, child, "plain", session=session)
            for session in range(VIEWERS)
        ]
        for view in views:
            await viewer.first_picture(view)
        await asyncio.sleep(SETTLE_S)
        before = [await viewer.call("count", view) for view in views]
        begin_us = now_us()
        await asyncio.sleep(stage.seconds)
        seconds = (now_us() - begin_us) / 1e6
        after = [await viewer.call("count", view) for view in views]
    fps = [(b - a) / seconds for a, b in zip(before, after, strict=True)]
    return {"sessions_fps_least": min(fps), "sessions_fps_mean": statistics.mean(fps)}


async def hostile(stage: Stage) -> Figures:
    """360p30 while malformed datagrams come, 1,000 a second, from strangers or as the viewer's."""
    ages, crashes, per_s = await attacked(stage.browser, SMALL30, stage.seconds, stage.seed)
    if crashes:
        raise WrongPictures(
            what="the stream did not survive malformed datagrams",
            why=f"{crashes} windows showed nothing, or the sender ended",
            fix=f"Look at the sender; the datagrams are those of seed {stage.seed}.",
        )
    quiet_ms = p99(ages[QUIET])
    return {
        "hostile_crashes": crashes,
        "hostile_p99_ratio": p99(ages[STRANGERS]) / quiet_ms,
        "hostile_spoofed_p99_ratio": p99(ages[SPOOFED]) / quiet_ms,
        "hostile_p99_ms_quiet": quiet_ms,
        "hostile_datagrams_per_s": per_s,
    }


# --- figures of what other parts have -------------------------------------------------------------


async def foveated(stage: Stage) -> Figures:
    """Bits of a rendered view with squeezed edges, of those of the whole one, at one quantiser."""
    saved, psnr_db = await asyncio.to_thread(bits_saved, 24 if stage.seconds < SECONDS else 60)
    return {"foveated_bits_saved_pct": saved, "foveated_psnr_gain_db": psnr_db}


async def warp(stage: Stage) -> Figures:
    """The late warp of a turning view at 100 ms there and back (bench.latewarp says how)."""
    warped, plain = await latewarp.watch(stage.seconds, 1)
    return {
        "warp_error_deg": warped[0].error_deg(),
        "warp_error_unwarped_deg": plain[0].error_deg(),
        "warp_uncovered_pct": 100 * float(warped[0].bare.mean()),
    }


SCENARIOS: Final = (
    Scenario(
        "canvas",
        canvas,
        (
            *("fps_720p60", "shown_ms_p50_canvas", "shown_ms_p99_canvas"),
            *("arrived_ms_p50_canvas", "arrived_ms_p99_canvas", "freeze_ms_canvas"),
            *("keyframes_canvas", "encoder_rebuilds_canvas", "mbit_per_s_canvas"),
            "encode_ms_p50",
        ),
    ),
    Scenario(
        "video",
        video,
        (
            *("fps_video", "shown_ms_p50_video", "shown_ms_p99_video", "freeze_ms_video"),
            "keyframes_video",
        ),
    ),
    Scenario(
        "aiortc",
        peer(STOCK_AIORTC, "stock_aiortc", {}, nothing_needed),
        peer_figures("stock_aiortc"),
        optional=True,
    ),
    Scenario(
        "gstreamer",
        peer(GSTREAMER, "gstreamer", {"bitrate": PEER_BITRATE}, needs_gstreamer),
        peer_figures("gstreamer"),
        optional=True,
    ),
    Scenario("selkies", selkies, peer_figures("selkies"), optional=True),
    Scenario(
        "step",
        step,
        (
            *("step_p99_ms_after_1s", "step_freeze_ms_max", "step_keyframes"),
            *("step_encoder_rebuilds", "step_utilisation_pct", "step_fps"),
            "step_relay_late_pct",
        ),
    ),
    Scenario(
        "loss1",
        loss1,
        (
            *("loss1_fps", "loss1_p50_ms", "loss1_p99_ms", "loss1_freeze_ms", "loss1_idr"),
            *("loss1_mbit_per_s", "loss1_relay_late_pct"),
        ),
    ),
    Scenario(
        "loss5",
        loss5,
        (
            *("loss5_fps", "loss5_p50_ms", "loss5_p99_ms", "loss5_freeze_ms", "loss5_idr"),
            *("loss5_mbit_per_s", "loss5_relay_late_pct"),
        ),
    ),
    Scenario(
        "share",
        share,
        (
            *("share_stream_least_of_fair", "share_stream_most_of_fair", "share_tcp_of_fair"),
            "share_used_pct",
        ),
        optional=True,
    ),
    Scenario(
        "viewers", viewers, ("cpu_8_viewers_to_1", "cpu_ms_a_frame_1_viewer", "fps_8_viewers")
    ),
    Scenario(
        "hostile",
        hostile,
        (
            *("hostile_crashes", "hostile_p99_ratio", "hostile_spoofed_p99_ratio"),
            *("hostile_p99_ms_quiet", "hostile_datagrams_per_s"),
        ),
    ),
    Scenario("sessions", sessions, ("sessions_fps_least", "sessions_fps_mean")),
    Scenario("warp", warp, ("warp_error_deg", "warp_error_unwarped_deg", "warp_uncovered_pct")),
    Scenario("foveated", foveated, ("foveated_bits_saved_pct", "foveated_psnr_gain_db"), once=True),
)


# --- figures --------------------------------------------------------------------------------------


def p50(values: list[float]) -> float:
    return statistics.median(values)


def p99(values: list[float]) -> float:
    """The value that 99 of 100 do not exceed (nearest rank)."""
    return sorted(values)[max(0, -(-99 * len(values) // 100) - 1)]


def rebuilds(seen: Watched) -> int:
    return int(seen.report["encoders_opened"]) - 1


class WrongPictures(MeshError):
    """A viewer showed what was never sent, or in another order: no load excuses that."""

    code = "wrong_pictures"


def judged(seen: Watched) -> Watched:
    """What was seen, if it can be used. Raises WrongPictures, or Unmeasured if it is nothing."""
    if oddities := seen.oddities():
        raise WrongPictures(
            what=f"{len(oddities)} of {len(seen.shown)} pictures shown are wrong",
            why="; ".join(oddities[:3]),
            fix="Look at the sender and at how the page reads its pictures.",
        )
    if not seen.frames():
        raise unmeasured("the stream", "no picture was shown in the window", "Look at the sender.")
    return seen


def unmeasured(what: str, why: str, fix: str) -> Unmeasured:
    return Unmeasured(what=f"{what} cannot be measured", why=why, fix=fix)
