"""The viewer: a headless Chromium with the benchmark's page, and its clock beside the machine's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from bench.streaming.source import now_us
from clients.chromium import Chromium, Page, open_chromium

FOLDER = Path(__file__).parent / "page"
PRODUCT = Path(__file__).resolve().parents[2] / "clients" / "web"
FLAGS = ("--disable-features=WebRtcHideLocalIpsWithMdns",)  # peers do not look up .local names
# An isolated page's clock is exact to 5 microseconds, any other's to 100.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
    "Access-Control-Allow-Origin": "*",  # a peer's page loads the viewer too
}


@dataclass(frozen=True, slots=True)
class Clock:
    """The page's clock: its milliseconds plus offset_ms are the machine's monotonic ones."""

    offset_ms: float
    error_ms: float  # at most; half of the quickest of many round trips

    def machine_us(self, page_ms: float) -> int:
        return round((page_ms + self.offset_ms) * 1000)


class Viewer:
    """One page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def call(self, function: str, *given: Any) -> Any:
        """`bench.function(...given)` in the page."""
        words = ", ".join(json.dumps(value) for value in given)
        return await self.page.evaluate(f"bench.{function}({words})")

    async def clock(self) -> Clock:
        return Clock(*await self.call("clock"))

    async def first_picture(self, view: int) -> None:
        """Wait until a view has shown something. Raises PageFailed."""
        await self.page.until(f"bench.count({view}) > 0")


class Browser:
    """A running Chromium and where the benchmark's page is."""

    def __init__(self, chromium: Chromium, url: str) -> None:
        self.chromium, self._url = chromium, url

    @asynccontextmanager
    async def viewer(self) -> AsyncIterator[Viewer]:
        page = await self.chromium.open_page(self._url)
        try:
            await page.until("globalThis.bench && crossOriginIsolated")
            yield Viewer(page)
            await page.evaluate("bench.close()")
        finally:
            await page.close()

    @asynccontextmanager
    async def hooked(self, url: str) -> AsyncIterator[Viewer]:
        """Another project's page, whose received video the viewer shows too."""
        script = (FOLDER / "hook.js").read_text("utf-8").replace("BASE", self._url.rstrip("/"))
        page = await self.chromium.open_page("about:blank")
        try:
            await page.call("Page.setBypassCSP", enabled=True)
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=script)
            await page.goto(url)
            yield Viewer(page)
        finally:
            await page.close()


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A browser and the server of its page, on loopback. Raises BrowserUnavailable."""
    app = web.Application()
    app.router.add_get("/clock", _clock)
    app.router.add_get("/", _index)
    app.router.add_static("/web", PRODUCT)
    app.router.add_static("/", FOLDER)
    app.on_response_prepare.append(_isolate)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with open_chromium(flags=FLAGS) as chromium:
            yield Browser(chromium, url)
    finally:
        await runner.cleanup()


async def _index(_: web.Request) -> web.FileResponse:
    return web.FileResponse(FOLDER / "index.html")


async def _isolate(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(ISOLATED)


async def _clock(request: web.Request) -> web.WebSocketResponse:
    """Whatever it is sent, it answers with the machine's milliseconds."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _ in socket:
        await socket.send_str(f"{now_us() / 1000:.3f}")
    return socket
