"""How far what the page shows lags behind a turning head, with and without the late warp.

A panorama of grey stripes, whose every stretch of 60 degrees is unlike any other, is drawn by a
real mesh on this machine (gateway, two workers, software Vulkan), encoded, and looked at in
headless Chromium through a relay that adds 50 ms each way. A script turns the page's camera, as a
mouse would, by 120 degrees a second. What is shown is read back from the canvas: the yaw at which
its middle row fits the panorama best, against the script's yaw at the moment of drawing; and the
share of the canvas that no pixel of a picture covered.

From drawing to light is not in it: the display's own delay is the same with and without. Each way
is watched after its first 1.5 seconds. Angles are medians, of which the worst of all runs counts;
so do the worst run's mean and p95 of the share.
"""

from __future__ import annotations

import asyncio
import base64
import math
import random
import socket
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from bench.impair import Line, Link, Relay, impaired, without_candidates
from bench.report import Report, arguments
from clients.chromium import Chromium, open_chromium
from clients.cli.demo import DemoMesh
from render.camera import DEFAULT_FOV
from render.gltf.writer import GlbWriter

ONE_WAY_MS = 50.0
DEG_PER_S = 120.0
WARM_UP_S = 1.5
WIDTH, HEIGHT, FPS = 480, 272, 30
STRIPES = 72  # of 5 degrees
RADIUS, TALL = 10.0, 16.0  # metres, of the panorama's wall
SEED = 20
SESSION = {
    "scene": "yours",
    "width": WIDTH,
    "height": HEIGHT,
    "fps": FPS,
    "tiles": 2,
    "deadline_ms": 400,
    "overscan": 1.6,
    "depth": 16,
}
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PASSED_ON = ("Authorization", "Content-Type", "Location")

# Runs before the page's own scripts, so that its callbacks come first in each of the display's
# frames, where a browser hands out what a mouse did.
DRIVER = """
let turn = null;
const yawAt = (atMs) => turn.from + turn.rate * (atMs - turn.beganMs) / 1000;
const each = () => {
  requestAnimationFrame(each);
  if (turn === null) return;
  const yaw = yawAt(performance.now());
  const target = [-turn.away * Math.sin(yaw), 0, -turn.away * Math.cos(yaw)];
  framemesh.steer({ yaw, pitch: 0, distance: turn.away, target });
  if (!turn.warped) turn.read();
};
each();
globalThis.drive = async (rate, away, lastsMs, skippedMs, warped) => {
  const canvas = document.getElementById(warped ? "warped" : "unsqueezed");
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const samples = [];
  const beganMs = performance.now();
  const read = () => {
    const yaw = yawAt(performance.now());
    copy.clearRect(0, 0, width, height);
    copy.drawImage(canvas, 0, 0);
    if (performance.now() < beganMs + skippedMs) return;
    const { data } = copy.getImageData(0, 0, width, height);
    let bare = 0;
    for (let at = 3; at < data.length; at += 4) bare += data[at] < 255;
    const middle = 4 * width * (height >> 1);
    const row = data.slice(middle, middle + 4 * width);
    samples.push([yaw, bare / (width * height), btoa(String.fromCharCode(...row))]);
  };
  turn = { from: 0, rate, away, beganMs, warped, read };
  let drawn = 0;
  framemesh.onPresented(({ warped }) => { if (warped && drawn++ % 3 === 0) read(); });
  await new Promise((resolve) => setTimeout(resolve, lastsMs));
  turn = null;
  framemesh.onPresented(null);
  return { samples, drawn, lastsMs };
};
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """One run. errors_deg: of each sample; bare: the share of the canvas it left uncovered.

    per_s: how often the late warp drew; latency_ms: from an input to its picture.
    """

    errors_deg: NDArray[np.float64]
    bare: NDArray[np.float64]
    per_s: float
    latency_ms: float

    def error_deg(self, quantile: float = 0.5) -> float:
        return float(np.quantile(np.abs(self.errors_deg), quantile))


def main() -> None:
    options = arguments(__doc__)
    lasts_s, runs = (8.0, 1) if options.quick else (20.0, 3)
    config = {"one_way_ms": ONE_WAY_MS, "deg_per_s": DEG_PER_S, "session": SESSION, "runs": runs}
    warped, plain = asyncio.run(watch(lasts_s, runs))
    report = Report("latewarp", config=config, seeds=[SEED])
    rows: list[list[str | float]] = []
    for name, each in (("late warp", warped), ("as it comes", plain)):
        for run in each:
            errors = run.error_deg(), run.error_deg(0.95)
            rows.append([name, *errors, 100 * float(run.bare.mean()), run.per_s, run.latency_ms])
    head = ["shown", "error deg", "p95", "uncovered %", "drawn /s", "input to picture ms"]
    report.table(head, rows)
    report.figure("warp_error_deg", max(run.error_deg() for run in warped))
    report.figure("warp_error_deg_p95", max(run.error_deg(0.95) for run in warped))
    report.figure("warp_error_unwarped_deg", statistics.median(run.error_deg() for run in plain))
    report.figure("uncovered_share", max(float(run.bare.mean()) for run in warped))
    report.figure("uncovered_share_p95", max(float(np.quantile(run.bare, 0.95)) for run in warped))
    report.figure("drawn_per_s", min(run.per_s for run in warped))
    report.figure("input_to_picture_ms", statistics.median(run.latency_ms for run in warped))
    report.finish(options)


async def watch(lasts_s: float, runs: int) -> tuple[list[Watched], list[Watched]]:
    """Runs with the late warp and without, in turn."""
    greys = stripes()
    warped: list[Watched] = []
    plain: list[Watched] = []
    line = Line(delay_ms=ONE_WAY_MS)
    with tempfile.TemporaryDirectory(prefix="framemesh-latewarp-") as folder:
        mesh = laid_out(Path(folder), greys)
        async with (
            mesh.running(),
            impaired(Link(line, line, SEED)) as relay,
            relayed(mesh, relay) as port,
            open_chromium(width=WIDTH, height=HEIGHT, flags=SOFTWARE_GL) as browser,
        ):
            await mesh.ready()
            for _ in range(runs):
                for each, warp in ((warped, 1), (plain, 0)):
                    url = mesh.page_url(**SESSION, warp=warp)
                    url = url.replace(f":{mesh.port}/", f":{port}/")
                    each.append(await turned(browser, url, greys, lasts_s, bool(warp)))
    return warped, plain


async def turned(
    browser: Chromium, url: str, greys: NDArray[np.float64], lasts_s: float, warped: bool
) -> Watched:
    """Open the page, turn its camera, and read what it shows."""
    page = await browser.open_page("about:blank")
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=DRIVER)
    await page.goto(url)
    await page.until("globalThis.framemesh?.look().counts.matched > 3")
    if await page.evaluate("framemesh.look().warp") != warped:
        raise SystemExit("the page does not show its pictures as it was asked to: no WebGL2?")
    rate = math.radians(DEG_PER_S)
    told: dict[str, Any] = await page.evaluate(
        f"(globalThis.driven = null, drive({rate}, {RADIUS}, {1000 * lasts_s},"
        f" {1000 * WARM_UP_S}, {str(warped).lower()}).then((all) => {{ driven = all; }}), 0)"
    )
    told = await page.until("driven", timeout_s=lasts_s + 30)
    trips = (await page.evaluate("framemesh.take()"))["roundTrips"]
    latency_ms = statistics.median(ms for _, ms in trips)
    await page.close()
    errors = [
        shown_yaw(np.frombuffer(base64.b64decode(row), np.uint8).reshape(-1, 4), greys, yaw) - yaw
        for yaw, _, row in told["samples"]
    ]
    bare = np.array([share for _, share, _ in told["samples"]])
    return Watched(np.degrees(errors), bare, 1000 * told["drawn"] / told["lastsMs"], latency_ms)


# --- the panorama ---------------------------------------------------------------------------------


def stripes() -> NDArray[np.float64]:
    """How light each stripe is, from azimuth 0 to the left: float64 (STRIPES,), 0 or 1."""
    chance = random.Random(SEED)
    return np.array([float(chance.random() < 0.5) for _ in range(STRIPES)])


def laid_out(folder: Path, greys: NDArray[np.float64]) -> DemoMesh:
    """A gateway and two workers that know the panorama."""
    scene = folder / "panorama.glb"
    scene.write_bytes(panorama(greys))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    return DemoMesh.lay_out(folder, workers=2, port=port, scene=scene)


def panorama(greys: NDArray[np.float64]) -> bytes:
    """A wall around the origin, striped; GLB. Stripe i spans azimuths i to i + 1, from -Z
    leftwards.
    """
    azimuths = np.linspace(0, 2 * np.pi, STRIPES + 1)
    quads = []
    for left, right in zip(azimuths[1:], azimuths[:-1], strict=True):
        corners = [(left, -1), (right, -1), (right, 1), (left, -1), (right, 1), (left, 1)]
        quads += [
            (-RADIUS * math.sin(at), end * TALL / 2, -RADIUS * math.cos(at)) for at, end in corners
        ]
    shades = np.repeat(0.02 + 0.8 * greys, 6)
    glb = GlbWriter()
    attributes = {
        "POSITION": glb.accessor(np.array(quads, np.float32)),
        "COLOR_0": glb.accessor(np.repeat(shades[:, None], 3, axis=1).astype(np.float32)),
    }
    glb.document["extensionsUsed"] = ["KHR_materials_unlit"]
    extensions: dict[str, Any] = {"KHR_materials_unlit": {}}
    material = glb.add("materials", {"doubleSided": True, "extensions": extensions})
    glb.add("nodes", {"mesh": glb.mesh([{"attributes": attributes, "material": material}])})
    return glb.glb()


def shown_yaw(row: NDArray[np.uint8], greys: NDArray[np.float64], near: float) -> float:
    """The yaw at which a row of pixels (n, 4), RGBA, fits the panorama best, radians, within 45
    degrees of `near`; by least squares of what is covered as a scaled and shifted panorama.
    """
    across = (np.arange(len(row)) + 0.5) / len(row) * 2 - 1
    tangent = math.tan(DEFAULT_FOV / 2) * WIDTH / HEIGHT
    covered = row[:, 3] == 255
    away = np.arctan(across * tangent)[covered]  # to the right
    seen = row[covered, 1] - row[covered, 1].mean()

    def fit(yaws: NDArray[np.float64]) -> float:
        places = (yaws[:, None] - away) / (2 * np.pi) * STRIPES
        wanted = blurred(greys, places, 2 * tangent / len(row) / (2 * np.pi) * STRIPES)
        wanted -= wanted.mean(axis=1, keepdims=True)
        scale = np.sqrt((wanted**2).sum(axis=1) * (seen**2).sum()) + 1e-9
        return float(yaws[np.argmax((wanted * seen).sum(axis=1) / scale)])

    rough = fit(near + np.radians(np.arange(-45, 45, 0.25)))
    return fit(rough + np.radians(np.arange(-0.4, 0.4, 0.01)))


def blurred(
    greys: NDArray[np.float64], places: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """The panorama's mean over `width` stripes around each place."""
    sums = np.concatenate([[0.0], np.cumsum(greys)])
    total = sums[-1]

    def up_to(at: NDArray[np.float64]) -> NDArray[np.float64]:
        rounds, within = np.divmod(at, STRIPES)
        filled: NDArray[np.float64] = rounds * total + np.interp(
            within, np.arange(STRIPES + 1), sums
        )
        return filled

    mean: NDArray[np.float64] = (up_to(places + width / 2) - up_to(places - width / 2)) / width
    return mean


# --- the way there --------------------------------------------------------------------------------


@asynccontextmanager
async def relayed(mesh: DemoMesh, relay: Relay) -> AsyncIterator[int]:
    """A port that hands out the gateway's page, whose WebRTC then goes through the relay."""
    async with aiohttp.ClientSession() as http:

        async def pass_on(request: web.Request) -> web.Response:
            body = await request.read()
            signalling = request.content_type == "application/sdp"
            if signalling:
                body = without_candidates(body.decode()).encode()
            headers = kept(request.headers, PASSED_ON)
            url = f"http://127.0.0.1:{mesh.port}{request.rel_url}"
            async with http.request(request.method, url, data=body, headers=headers) as answer:
                text = await answer.read()
                if signalling and answer.ok:
                    text = (await relay.answer(text.decode())).encode()
                return web.Response(
                    status=answer.status, body=text, headers=kept(answer.headers, PASSED_ON)
                )

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()


def kept(headers: Any, names: Sequence[str]) -> dict[str, str]:
    """Those of some headers that are there."""
    return {name: headers[name] for name in names if name in headers}


if __name__ == "__main__":
    main()
