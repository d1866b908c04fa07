"""How soon two nodes on one machine know of each other, by our finder and by zeroconf's defaults.

One node has been up for two seconds when a second one starts, on loopback. Timed from the moment
the second begins to start: "announced" until the first hears of it, "asked" until it hears of the
first. Both ways in turn, round by round. zeroconf's defaults are probing for uniqueness before
announcing, and a first question that asks for unicast answers.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvloop
from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from bench.report import Report, arguments
from discovery.mdns import create
from mesh.core.identity import NodeIdentity
from mesh.peers.advert import claimed_node, sign_advert

LOOPBACK = "127.0.0.1"
STOCK = "_fm-bench._tcp.local."
SETTLED_S = 2.0  # the first node's announcements are over, and it may answer again
PATIENCE_S = 10.0

# Start a node, call back with the name of each node it hears of (itself included).
Start = Callable[[NodeIdentity, Callable[[str], None]], AbstractAsyncContextManager[object]]


@asynccontextmanager
async def ours(identity: NodeIdentity, heard: Callable[[str], None]) -> AsyncIterator[None]:
    advert = sign_advert(
        identity,
        realm_public=bytes(32),
        port=7000,
        roles=("worker",),
        name="bench",
        sequence=1,
        not_after_s=int(time.time()) + 600,
    )
    finder = create({"interfaces": [LOOPBACK]})
    async with finder.open(advert, 7000, lambda blob, _: heard(claimed_node(blob))):
        yield


@asynccontextmanager
async def stock(identity: NodeIdentity, heard: Callable[[str], None]) -> AsyncIterator[None]:
    def changed(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Added:
            heard(name.removesuffix(f".{STOCK}"))

    zeroconf = AsyncZeroconf(interfaces=[LOOPBACK])
    browser = AsyncServiceBrowser(zeroconf.zeroconf, STOCK, handlers=[changed])
    name = f"{identity.node_id}.{STOCK}"
    info = AsyncServiceInfo(STOCK, name, port=7000, addresses=[socket.inet_aton(LOOPBACK)])
    announcing = await zeroconf.async_register_service(info)
    try:
        yield
    finally:
        await announcing
        await browser.async_cancel()
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


async def meet(start: Start) -> tuple[float, float]:
    """(announced, asked) of one meeting, in milliseconds."""
    first, second = NodeIdentity.generate(), NodeIdentity.generate()
    loop = asyncio.get_running_loop()
    announced: asyncio.Future[float] = loop.create_future()
    asked: asyncio.Future[float] = loop.create_future()

    def listen(awaited: NodeIdentity, then: asyncio.Future[float]) -> Callable[[str], None]:
        def heard(node: str) -> None:
            if node == awaited.node_id and not then.done():
                then.set_result(time.perf_counter())

        return heard

    async with start(first, listen(second, announced)):
        await asyncio.sleep(SETTLED_S)
        began = time.perf_counter()
        async with start(second, listen(first, asked)):
            ends = await asyncio.wait_for(asyncio.gather(announced, asked), PATIENCE_S)
    return (ends[0] - began) * 1000, (ends[1] - began) * 1000


async def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    ways: dict[str, Start] = {"ours": ours, "zeroconf's defaults": stock}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, start in ways.items():
            times[name].append(await meet(start))
    return times


def main() -> None:
    options = arguments(__doc__)
    rounds = 3 if options.quick else 20
    times = uvloop.run(measure(rounds))
    medians = {
        name: [statistics.median(column) for column in zip(*taken, strict=True)]
        for name, taken in times.items()
    }
    (announced, asked), (stock_announced, stock_asked) = medians.values()
    report = Report("mdns", config={"rounds": rounds})
    report.table(
        ["way", "announced p50 ms", "asked p50 ms"], [[name, *m] for name, m in medians.items()]
    )
    report.figure("announced_ms_p50", announced)
    report.figure("asked_ms_p50", asked)
    report.figure("announced_of_defaults", announced / stock_announced)
    report.figure("asked_of_defaults", asked / stock_asked)
    report.finish(options)


if __name__ == "__main__":
    main()
