"""`python -m bench.streaming.share FAR ADDRESS SECONDS`, run in the near namespace.

Two streams of ours and one TCP flow come from the namespace FAR, at ADDRESS, to a browser and a
socket here. Prints the bits per second that each got, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bench.streaming.browser import open_browser
from bench.streaming.watch import OURS, connect

OPTIONS = {"width": 1280, "height": 720, "fps": 60, "bitrate": 12_000_000}
SETTLE_S = 5.0
PORT = 7000
GREEDY = f"""
import contextlib, socket
with socket.create_server(("", {PORT})) as server:
    print(flush=True)
    with server.accept()[0] as client, contextlib.suppress(OSError):
        while True:
            client.sendall(bytes(65536))
"""


class Flow:
    """A TCP flow as fast as it goes."""

    def __init__(self) -> None:
        self.received = 0

    async def receive(self, address: str) -> None:
        reader, _ = await asyncio.open_connection(address, PORT)
        while data := await reader.read(65536):
            self.received += len(data)


@asynccontextmanager
async def flowing(inside: list[str], address: str) -> AsyncIterator[Flow]:
    process = await asyncio.create_subprocess_exec(
        *inside, sys.executable, "-c", GREEDY, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    flow = Flow()
    receiving = asyncio.create_task(flow.receive(address))
    try:
        yield flow
    finally:
        receiving.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def main(far: str, address: str, seconds: float) -> None:
    inside = ["ip", "netns", "exec", far]
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(open_browser())
        viewer = await stack.enter_async_context(browser.viewer())
        views = []
        for _ in range(2):
            child = await stack.enter_async_context(OURS.opened(OPTIONS, inside))
            views.append(await connect(viewer, OURS, child, "canvas"))
            await viewer.first_picture(views[-1])
        flow = await stack.enter_async_context(flowing(inside, address))

        async def received() -> list[int]:
            told = [await viewer.call("statistics", view) for view in views]
            of_views = [part["bytesReceived"] + part["headerBytesReceived"] for part in told]
            return [*of_views, flow.received]

        await asyncio.sleep(SETTLE_S)
        before = await received()
        await asyncio.sleep(seconds)
        rates = [8 * (b - a) / seconds for a, b in zip(before, await received(), strict=True)]
    print(json.dumps(dict(zip(("first", "second", "tcp"), rates, strict=True))))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
