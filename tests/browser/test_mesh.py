"""The page on a real mesh: a gateway and two workers in processes of their own, and Vulkan.

How many tiles are filled when a worker is lost depends on what else the machine does:
`python -m bench.failover` measures it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from clients.chromium import Page
from clients.cli.demo import DemoMesh

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OPTIONS = {"scene": "courtyard", "width": 640, "height": 360, "fps": 15, "tiles": 4, "barcode": 1}


class Watch:
    """What a page sees, read bit by bit: (at ms, frame, input, filled, pieces by maker)."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.facts: list[tuple[float, int, int, int, dict[str, int]]] = []

    async def until(self, seen: Callable[[], bool]) -> None:
        while not seen():
            # Wait for a picture more, in the page; how fast they come is not judged here.
            shown = await self.page.evaluate("framemesh.look().counts.pictures")
            await self.page.until(f"framemesh.look().counts.pictures > {shown}")
            record = await self.page.evaluate("framemesh.take()")
            self.facts += [tuple(entry) for entry in record["facts"]]


def makers(facts: list[tuple[Any, ...]]) -> set[str]:
    """Names of the nodes that made pieces of these frames."""
    return {maker.partition("@")[0] for *_, by_maker in facts for maker in by_maker}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoMesh]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    mesh = DemoMesh.lay_out(tmp_path_factory.mktemp("mesh"), workers=2, port=port)
    async with mesh.running():
        await mesh.ready()
        yield mesh


@pytest_asyncio.fixture(loop_scope="session")
async def watch(mesh: DemoMesh, chromium) -> AsyncIterator[Watch]:
    page = await chromium.open_page(mesh.page_url(**OPTIONS))
    await page.until("globalThis.framemesh?.look().counts.pictures > 0")
    yield Watch(page)
    await page.close()


async def test_a_worker_is_killed_and_comes_back_into_the_same_stream(mesh, watch):
    await watch.until(lambda: makers(watch.facts) == {"worker-1", "worker-2"})
    victim = mesh.processes["worker-1"]
    victim.send_signal(signal.SIGKILL)
    await asyncio.to_thread(victim.wait)
    # Pieces that were finished before the signal may still be on their way.
    await watch.until(lambda: makers(watch.facts[-15:]) == {"worker-2"})
    alone = len(watch.facts)
    mesh.start("worker-1")
    await watch.until(lambda: "worker-1" in makers(watch.facts[alone:]))
    counts = await watch.page.evaluate("framemesh.look().counts")
    assert counts["connections"] == 1
    assert counts["repeated"] == counts["backwards"] == 0
    assert watch.page.errors == []
