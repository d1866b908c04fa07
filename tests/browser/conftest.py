"""A synthetic gateway for the real page: real HTTP, real WebRTC, invented pictures and makers.

The pictures are a panorama that slides with the frame id and turns with the viewer's yaw; the
facts name two makers, of which either can be taken away.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web

from clients.chromium import BrowserUnavailable, Page, find_chromium, open_chromium
from mesh.core.errors import NotAuthorized, SessionRefused
from mesh.core.turn import IceServer
from mesh.core.workload import PictureFormat
from mesh.http import JoinedSession, OpenedSession, UnknownSession, create_app
from mesh.stream.session import Stream, StreamOptions

PAGE = Path(str(files("clients") / "web"))
FORMAT = PictureFormat(640, 360)
FPS = 30
TOKEN = "let-me-in"
TILES = [(x, y, 320, 184 if y == 0 else 176) for y in (0, 184) for x in (0, 320)]
HOME = {"yaw": 0.4, "pitch": 0.25, "distance": 6.0, "target": [0.0, 1.0, 0.0]}

shared_loop = pytest_asyncio.fixture(loop_scope="session")  # the browser's


def pytest_collection_modifyitems(items):
    try:
        find_chromium()
    except BrowserUnavailable as missing:
        for item in items:
            if "chromium" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=str(missing)))


def panorama() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An I420 picture twice as wide as a frame: a sky above a chequered ground, with towers."""
    height, width = FORMAT.height, 2 * FORMAT.width
    rows, columns = np.mgrid[0:height, 0:width]
    ground = rows > height * 0.55
    luma = np.where(ground, 70 + 40 * ((rows // 12 + columns // 32) % 2), 200 - rows // 3)
    for tower in range(10):
        left, top = tower * 128 + 20, 60 + (tower * 37) % 110
        luma[top : int(height * 0.6), left : left + 56] = 60 + 14 * tower
    u = np.where(ground, 116, 150)[::2, ::2]
    v = np.where(ground, 132, 112)[::2, ::2]
    return luma.astype(np.uint8), u.astype(np.uint8), v.astype(np.uint8)


class SyntheticSession:
    """One stream and the loop that feeds it."""

    def __init__(self, gateway: SyntheticGateway, options: StreamOptions) -> None:
        self.gateway = gateway
        self.inputs: list[dict[str, Any]] = []
        self._input_came = asyncio.Event()
        self.frame_id = 0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stream = Stream(
            FORMAT,
            FPS,
            on_input=self._on_input,
            on_closed=lambda reason: self.closed.done() or self.closed.set_result(reason),
            options=options,
        )
        self.task = asyncio.create_task(self._run())

    def _on_input(self, event: dict[str, Any]) -> None:
        self.inputs.append(event)
        self._input_came.set()

    async def inputs_until(self, wanted: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Wait until all inputs so far are as wanted."""
        while not wanted(self.inputs):
            self._input_came.clear()
            await self._input_came.wait()

    async def _run(self) -> None:
        due = time.monotonic()
        while not self.closed.done():
            if self.stream.watched and not self.gateway.silent:
                await self._send_frame()
            due = max(due + 1 / FPS, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _send_frame(self) -> None:
        canvas = self.stream.lease_canvas()
        if canvas is None:
            return
        opened_us = time.monotonic_ns() // 1000
        applied = self.inputs[-1] if self.inputs else {"id": -1, "camera": HOME}
        self._draw(canvas.picture, applied["camera"]["yaw"])
        drawn_us = time.monotonic_ns() // 1000
        report = await self.stream.send(canvas, self.frame_id, opened_us)
        makers = self.gateway.makers
        pieces = [
            [*tile, (i + self.frame_id // 15) % 2, 120, 4200 + 800 * i]
            for i, tile in enumerate(TILES)
        ]
        for piece in pieces:
            if piece[4] >= len(makers):
                piece[4:] = [-1, 0, 0]
        stages = {"open": 180, "pieces": drawn_us - opened_us, "compose": 90}
        facts = {
            "frame": self.frame_id,
            "input": applied["id"],
            "opened_us": opened_us,
            "stages": stages | {"encode": report.encode_us, "send": 110},
            "makers": makers,
            "pieces": pieces,
            "filled": sum(piece[4] < 0 for piece in pieces),
        }
        self.frame_id += 1
        self.stream.publish(json.dumps(facts))

    def _draw(self, picture: np.ndarray, yaw: float) -> None:
        if self.gateway.grey:
            picture[:] = 128
            return
        shift = int(self.frame_id * 2 + yaw * 400) // 2 * 2 % FORMAT.width
        luma, u, v = self.gateway.panorama
        half = slice(shift // 2, shift // 2 + FORMAT.width // 2)
        picture[: FORMAT.height] = luma[:, shift : shift + FORMAT.width]
        chroma = picture[FORMAT.height :].reshape(2, FORMAT.height // 2, FORMAT.width // 2)
        chroma[0], chroma[1] = u[:, half], v[:, half]

    async def close(self) -> None:
        if not self.closed.done():
            self.closed.set_result("its client closed it")
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.stream.close()


class SyntheticGateway:
    """A GatewayApi whose sessions need no workers.

    makers: who makes pieces now; with one of the two gone its pieces are filled.
    silent: send nothing. grey: draw nothing. turntable: what sessions say of theirs, radians per
    second. refusal: refuse the next sessions with this. sessions: all ever opened.
    """

    def __init__(self) -> None:
        self.makers = ["anna@k3j2/vulkan0", "bert@p9x1/vulkan0"]
        self.silent = False
        self.grey = False
        self.turntable = 0.0
        self.refusal: Exception | None = None
        self.panorama = panorama()
        self.sessions: list[SyntheticSession] = []
        self.trickled = 0  # fragments that came after an offer
        self.deleted: asyncio.Queue[int] = asyncio.Queue()  # sessions that a client ended
        self.left: asyncio.Queue[str] = asyncio.Queue()  # viewers that looked on

    def authorize(self, token: str, scope: str) -> str:
        if token != TOKEN:
            raise NotAuthorized(
                what="the token is refused",
                why="it was signed by another realm",
                fix="Get one from the gateway's owner (`framemesh realm token`).",
            )
        return "tester"

    async def open_session(self, principal, request, offer_sdp: str) -> OpenedSession:
        if self.refusal is not None:
            raise self.refusal
        options, rest = StreamOptions.take(request.options)
        if request.workload != "render" or rest.keys() - {
            "scene",
            "width",
            "height",
            "fps",
            "tiles",
        }:
            raise SessionRefused(what="no such session", why=str(request), fix="Ask for render.")
        session = SyntheticSession(self, options)
        self.sessions.append(session)
        held = await session.stream.hold(offer_sdp)
        name = f"s{len(self.sessions) - 1}"
        return OpenedSession(name, held.answer_sdp, {}, held.viewer_id, held.resume)

    def _running(self, session_id: str) -> SyntheticSession:
        running = {f"s{i}": s for i, s in enumerate(self.sessions) if not s.closed.done()}
        if session_id not in running:
            raise UnknownSession(what="no such session", why="it is no more", fix="Open one.")
        return running[session_id]

    async def resume_session(
        self, principal, session_id: str, resume: str, offer_sdp: str
    ) -> OpenedSession:
        held = await self._running(session_id).stream.take_over(offer_sdp, resume)
        return OpenedSession(session_id, held.answer_sdp, {}, held.viewer_id, held.resume)

    async def join_session(self, principal, session_id: str, offer_sdp: str) -> JoinedSession:
        joined = await self._running(session_id).stream.join(offer_sdp)
        return JoinedSession(joined.viewer_id, joined.answer_sdp)

    async def trickle(self, principal, session_id: str, viewer_id, if_match, fragment) -> None:
        assert await self._running(session_id).stream.trickle(viewer_id, if_match, fragment)
        self.trickled += 1

    def leave_session(self, principal, session_id: str, viewer_id: str) -> None:
        self._running(session_id).stream.leave(viewer_id)
        self.left.put_nowait(viewer_id)

    def describe_session(self, principal, session_id: str) -> dict[str, Any]:
        self._running(session_id)
        size = dataclasses.asdict(FORMAT)
        bounds = {"low": [-4, 0, -4], "high": [4, 3, 4]}
        view = {"camera": HOME, "bounds": bounds, "turntable": self.turntable}
        return {"title": "Panorama", **size, "fps": FPS, **view}

    async def close_session(self, principal, session_id: str) -> None:
        number = int(session_id.removeprefix("s"))
        self.deleted.put_nowait(number)
        await self.sessions[number].close()

    def status(self) -> dict[str, Any]:
        return {"sessions": len(self.sessions)}


@asynccontextmanager
async def served(
    gateway: SyntheticGateway,
    port: int = 0,
    host: str = "127.0.0.1",
    ice_servers: Sequence[IceServer] = (),
    others: Sequence[str] = (),
) -> AsyncIterator[str]:
    """The gateway and the page on a loopback port; yields the page's address."""
    app = create_app(gateway, PAGE, ice_servers, others)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{runner.addresses[0][1]}"
    finally:
        for session in gateway.sessions:
            await session.close()
        await runner.cleanup()


@shared_loop
async def gateway():
    return SyntheticGateway()


@shared_loop
async def address(gateway):
    async with served(gateway) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium():
    """One browser for all: each test has pages of its own."""
    async with open_chromium(width=960, height=600) as browser:
        yield browser


@pytest.fixture
def token():
    """What the synthetic gateway believes."""
    return TOKEN


@pytest.fixture
def served_at():
    """`served`, for a test that ends and starts the gateway itself."""
    return served


@shared_loop
async def open_page(chromium, address):
    """Open the viewer page with a query string, `prepared` by a script; closed after the test."""
    pages: list[Page] = []

    async def open_viewer(query: str = "barcode=1", token: str = TOKEN, prepared: str = "") -> Page:
        page = await chromium.open_page("about:blank")
        pages.append(page)
        if prepared:
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=prepared)
        await page.goto(f"{address}/?{query}#token={token}")
        await page.until("globalThis.framemesh")
        return page

    yield open_viewer
    for page in pages:
        await page.close()


CARDS = """[...document.querySelectorAll("#header, #panel, #help, #tools")]
  .map((card) => [card.id, card.getBoundingClientRect().toJSON()])
  .filter(([, box]) => box.width > 0)"""


@pytest.fixture
def cards_of():
    """Where the page's cards lie, by name, once it is sure that none covers another or is cut."""

    async def look(page: Page, size: tuple[int, int]) -> dict[str, dict[str, float]]:
        await page.resize(*size)
        cards = await page.evaluate(CARDS)
        for name, box in cards:
            assert box["left"] >= 0, name
            assert box["top"] >= 0, name
            assert box["right"] <= size[0], name
            assert box["bottom"] <= size[1], name
        for (one, a), (other, b) in itertools.combinations(cards, 2):
            apart = (
                a["right"] <= b["left"]
                or b["right"] <= a["left"]
                or a["bottom"] <= b["top"]
                or b["bottom"] <= a["top"]
            )
            assert apart, f"{one} and {other}"
        return dict(cards)

    return look


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def run_js(chromium):
    """Evaluate JavaScript with some of the page's modules imported, by name, as in the page."""
    async with served(SyntheticGateway()) as url:
        page = await chromium.open_page(url)

        async def evaluate(modules: str, body: str, *arguments: Any) -> Any:
            names = modules.split()
            imports = ", ".join(f"import('/{name}.js')" for name in names)
            taken = f"([{', '.join(names)}]) => ((...given) => {{{body}}})"
            given = json.dumps(arguments)
            return await page.evaluate(
                f"Promise.all([{imports}]).then((modules) => ({taken})(modules)(...{given}))"
            )

        await page.until("globalThis.framemesh")
        yield evaluate
        await page.close()
        assert page.errors == []
