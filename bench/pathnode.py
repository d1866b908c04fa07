"""A real node that also measures: `python -m bench.pathnode CONFIG [ask]`.

With `ask` it is the gateway's end: on its first link with a worker it asks the questions of
bench.link and prints as one line of JSON what they took, and by which path.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import uvloop

import mesh.node
from bench.link import SMALL, TILE, LinkEnd, timed
from mesh.core.config import read_config
from mesh.core.loop import monotonic_us
from mesh.core.membership import Role
from mesh.core.wire import AssetData, Message
from mesh.link.transport import Link

ROUNDS, SECONDS = 60, 4.0


class Probe(mesh.node.Node):
    """A node whose links answer questions, beside all that a node does."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asks = sys.argv[2:] == ["ask"]
        self.end = LinkEnd(answers=not self.asks)

    def opened(self, link: Link) -> None:
        super().opened(link)
        if self.asks and link.is_open and link.peer.membership.has(Role.WORKER):
            self.measuring = asyncio.ensure_future(self.measure(link))

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview | None:
        if isinstance(message, AssetData):
            return self.end.body_buffer(link, message, size)
        return super().body_buffer(link, message, size)

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        if isinstance(message, AssetData):
            self.end.received(link, message, body)
        else:
            super().received(link, message, body)

    async def measure(self, link: Link) -> None:
        ask = self.end.asker(link)
        small = [await timed(ask, SMALL, SMALL) for _ in range(ROUNDS)]
        tile = [await timed(ask, SMALL, TILE) for _ in range(ROUNDS)]
        began_us, count = monotonic_us(), 0

        async def keep_asking() -> None:
            nonlocal count
            while monotonic_us() - began_us < SECONDS * 1e6:
                await ask(SMALL, TILE)
                count += 1

        await asyncio.gather(*(keep_asking() for _ in range(4)))
        rate = count * TILE * 8 / (monotonic_us() - began_us)
        facts = {"path": link.path, "small": statistics.median(small), "mbit": rate}
        print(json.dumps(facts | {"tile": statistics.median(tile)}), flush=True)


async def main() -> None:
    async with mesh.node.open_node(read_config(Path(sys.argv[1]))):
        print("up", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    logging.basicConfig(level="INFO" if "FRAMEMESH_LOG" in os.environ else "ERROR")
    mesh.node.Node = Probe  # type: ignore[misc]
    uvloop.run(main())
