"""A real Chromium, with nothing between it and a stream but signalling."""

import asyncio
import itertools
import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mesh.http import create_app

pytestmark = pytest.mark.browser
PAGE = Path(__file__).parent / "page"


class Tab:
    """One page, driven over the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    async def call(self, method: str, **params):
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                return message.get("result")

    async def evaluate(self, expression: str):
        """Its value; None while the page is still loading."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer and answer["result"].get("value")

    async def until(self, expression: str):
        """Wait for a JavaScript expression to come true; the page's own error ends the wait."""
        while not await self.evaluate(expression):
            error = await self.evaluate("window.seen && window.seen.error")
            assert error is None, error
            await asyncio.sleep(0.05)


@asynccontextmanager
async def chromium(profile: Path, url: str):
    process = await asyncio.create_subprocess_exec(
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--no-first-run",
        "--disable-gpu",
        "--disable-background-networking",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async for line in process.stderr:
            if line.startswith(b"DevTools listening on"):
                break
        port = line.decode().rsplit(":", 1)[1].split("/")[0]
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
            drain = tasks.create_task(process.stderr.read())
            async with http.get(f"http://127.0.0.1:{port}/json") as answer:
                [page] = [t for t in await answer.json() if t["type"] == "page"]
            async with http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Tab(socket)
            drain.cancel()
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
async def address(gateway):
    runner = web.AppRunner(create_app(gateway, PAGE))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_chromium_shows_the_frames_with_their_colours(gateway, address, tmp_path, codec):
    async with chromium(tmp_path, f"{address}/#token={gateway.TOKEN}&codec={codec}") as tab:
        await tab.until("window.seen && seen.ids.length >= 60 && seen.messages >= 20")
        seen = json.loads(await tab.evaluate("JSON.stringify(seen)"))
        harness = gateway.sessions["s0"]
        assert await harness.inputs.get() == {"id": 7, "camera": {"yaw": 0.5}}
        await tab.evaluate("connection.close()")
        assert "gone" in await harness.closed
    read = [n for n in seen["ids"] if n is not None]
    assert len(read) >= 0.9 * len(seen["ids"])
    assert read == sorted(read)
    assert len(set(read)) >= 50
    red, green, blue = seen["colour"]  # read as BT.601 it would be (233, 0, 2)
    assert red >= 245
    assert max(green, blue) <= 20
    assert "playout-delay" in seen["answer"]
