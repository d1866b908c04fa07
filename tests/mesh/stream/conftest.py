"""Helpers for stream tests: synthetic moving pictures and streams that show them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from mesh.core.errors import NotAuthorized, SessionRefused
from mesh.core.workload import PictureFormat
from mesh.http import OpenedSession
from mesh.stream.session import Stream, StreamOptions

FORMAT = PictureFormat(640, 360)


@pytest.fixture(scope="session")
def picture():
    return FORMAT


@pytest.fixture(scope="session")
def draw() -> Callable[[memoryview, int], None]:
    """Draw frame n of a texture that slides to the left above a red floor."""
    rng = np.random.default_rng(1)
    tiles = rng.integers(60, 180, (FORMAT.height // 8, FORMAT.width // 4), dtype=np.uint8)
    texture = np.kron(tiles, np.ones((8, 8), np.uint8))

    def draw_frame(view: memoryview, n: int) -> None:
        pixels = np.frombuffer(view, np.uint8).reshape(FORMAT.height * 3 // 2, FORMAT.width)
        shift = (n * 4) % FORMAT.width
        pixels[: FORMAT.height] = texture[:, shift : shift + FORMAT.width]
        pixels[FORMAT.height :] = 110
        red = slice(FORMAT.height // 2, None)
        pixels[: FORMAT.height][red] = 63  # BT.709 limited-range red is Y 63, U 102, V 240
        u, v = pixels[FORMAT.height :].reshape(2, FORMAT.height // 2, FORMAT.width // 2)
        u[FORMAT.height // 4 :], v[FORMAT.height // 4 :] = 102, 240

    return draw_frame


class Harness:
    """A stream, what it reported, and a source that feeds it frames."""

    def __init__(self, draw, picture=FORMAT, fps=30.0, **options) -> None:
        self.inputs: asyncio.Queue = asyncio.Queue()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.reports: list = []
        self.frame_id = 0
        self.stream = Stream(
            picture,
            fps,
            on_input=self.inputs.put_nowait,
            on_closed=self.closed.set_result,
            **options,
        )
        self._draw = draw

    async def connect(self, viewer, **how):
        await viewer.accept(await self.stream.answer(await viewer.offer(), **how))
        return viewer

    async def send_frame(self):
        """Draw, send and announce one frame."""
        canvas = self.stream.lease_canvas()
        if canvas is None:
            return None
        self._draw(canvas.view, self.frame_id)
        now_us = time.monotonic_ns() // 1000
        report = await self.stream.send(canvas, self.frame_id, now_us)
        self.stream.publish(json.dumps({"frame": self.frame_id}))
        self.frame_id += 1
        return report

    async def run(self) -> None:
        """Send frames at 30 Hz until cancelled."""
        while True:
            report = await self.send_frame()
            if report is not None and report.bytes:
                self.reports.append(report)
            await asyncio.sleep(1 / 30)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None, task.exception()


@pytest.fixture
async def streams(draw):
    """Make streams that are closed at the end of the test."""
    made: list[Harness] = []

    def make(**how) -> Harness:
        made.append(Harness(**{"draw": draw, **how}))
        return made[-1]

    yield make
    await asyncio.gather(*(harness.stream.close() for harness in made))


class StreamGateway:
    """The smallest gateway (mesh.http.GatewayApi): every session is a synthetic stream."""

    TOKEN = "let-me-in"

    def __init__(self, make_stream) -> None:
        self._make_stream = make_stream
        self.sessions: dict[str, Harness] = {}
        self.running: list[asyncio.Task] = []

    def authorize(self, token: str, scope: str) -> str:
        if token != self.TOKEN:
            raise NotAuthorized(what="no", why="the token is another", fix="Use the right one.")
        return "tester"

    async def open_session(self, principal, request, offer_sdp: str) -> OpenedSession:
        options, rest = StreamOptions.take(request.options)
        if rest or request.workload != "synthetic":
            raise SessionRefused(what="no", why=f"{request} is unknown", fix="Ask for synthetic.")
        harness = self._make_stream(options=options)
        held = await harness.stream.hold(offer_sdp)
        name = f"s{len(self.sessions)}"
        self.sessions[name] = harness
        self.running.append(asyncio.create_task(harness.run()))
        told = {"workload": "synthetic"}
        return OpenedSession(name, held.answer_sdp, told, tag=held.viewer_id)

    async def trickle(self, principal, session_id, viewer_id, if_match, fragment) -> None:
        assert await self.sessions[session_id].stream.trickle(viewer_id, if_match, fragment)

    def describe_session(self, principal, session_id: str) -> dict:
        return {"frame": self.sessions[session_id].frame_id}

    async def close_session(self, principal, session_id: str) -> None:
        await self.sessions.pop(session_id).stream.close()

    def status(self) -> dict:
        return {"sessions": len(self.sessions)}


@pytest.fixture
async def gateway(streams):
    gateway = StreamGateway(streams)
    yield gateway
    for task in gateway.running:
        task.cancel()
    if gateway.running:
        await asyncio.wait(gateway.running)
