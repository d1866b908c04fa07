"""Whether nodes find each other in a hash table that is under attack.

Honest workers in a /24 each announce themselves; so many of them are found by a seeker that looks
for three seconds, before and while hostile nodes (bench.sybils) crowd around the very key at which
they announce, which only a member can know: 254 of them in one /24, then 20 in a /24 each. A worker
that comes under attack announces itself as well. Last, an eclipse: a new seeker whose bootstrap
node cannot be reached is courted by hostile nodes until it knows nobody else; timed from when the
bootstrap node can be reached again until it finds a worker.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop

from bench.discovery import TABLE, Seeker, Wide
from bench.netlab import Lab, run
from bench.realmlab import RealmLab, ended
from bench.report import Report, arguments
from discovery.dht.rendezvous import Rendezvous

WORKERS = 12
LOOK_MS = 3000
COURTED_S = 8.0
ESCAPE_S = 60.0
KEY = Rendezvous(bytes(range(32)), "worker", "", "light").targets[0]

_AWAY = """
table ip away {
  chain out {
    type filter hook output priority 0; policy accept;
    ip daddr %s drop
  }
  chain in {
    type filter hook input priority 0; policy accept;
    ip saddr %s drop
  }
}
"""


@asynccontextmanager
async def sybils(lab: Lab, victims: list[str], *, subnets: int, each: int) -> AsyncIterator[None]:
    """Hostile nodes at so many addresses of so many networks, until the block ends."""
    where, addresses = lab.crowd(subnets, each)
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", where, sys.executable, "-m", "bench.sybils", KEY.hex()),
        *(*victims, "--", *addresses),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        yield
    finally:
        await ended(process)


async def found(seekers: list[Seeker], workers: int) -> float:
    """The smallest share of the workers that any of them finds."""
    return min([len(await seeker.look(LOOK_MS)) / workers for seeker in seekers])


async def measure(report: Report) -> None:
    lab = Lab()
    rows: list[list[str | float]] = []
    try:
        with tempfile.TemporaryDirectory() as name:
            async with AsyncExitStack() as stack:
                network = Wide(lab, await asyncio.to_thread(RealmLab, Path(name)), stack)
                await network.bootstrap(3)
                await network.start(WORKERS)
                seekers = [await network.seeker(f"seeker-{at}") for at in range(3)]
                for seeker in seekers:
                    await seeker.settle()
                rows.append(["none", await found(seekers, WORKERS)])
                for key, subnets, each in (("one_subnet", 1, 254), ("20_subnets", 20, 1)):
                    async with sybils(lab, network.everyone(), subnets=subnets, each=each):
                        await asyncio.sleep(COURTED_S)
                        late = await network.start_one(f"late-{subnets}")
                        seeker = await network.seeker(f"seeker-of-{subnets}")
                        await seeker.settle()
                        share = await found([*seekers, seeker], len(network.workers))
                        rows.append([f"{subnets * each} in {subnets} networks", share])
                        report.figure(f"found_under_{key}", share)
                        assert late in await seeker.look(LOOK_MS), "who came under attack is found"
                report.table(["hostile nodes", "share of workers found, least"], rows)
                report.figure("escaped_eclipse_s", await eclipse(lab, network))
    finally:
        lab.close()


async def eclipse(lab: Lab, network: Wide) -> float:
    """How long until one who was shut in by hostile nodes finds a worker, in seconds."""
    first = json.loads(network.table.rpartition("bootstrap = ")[2])[0].partition(":")[0]
    where, address = lab.routed()
    run(where, "nft", "-f", "-", given=_AWAY % (first, first))
    async with sybils(lab, [f"{address}:{TABLE}"], subnets=20, each=1):
        seeker = await network.seeker("shut-in", where, bootstrap=[f"{first}:{TABLE}"])
        await asyncio.sleep(COURTED_S)
        assert not await seeker.look(), "it is shut in"
        run(where, "nft", "delete", "table", "ip", "away")
        began = time.perf_counter()
        while not await seeker.look(1000):
            if time.perf_counter() - began > ESCAPE_S:
                raise RuntimeError(f"it did not escape within {ESCAPE_S:g} s")
        return time.perf_counter() - began


def main() -> None:
    options = arguments(__doc__)
    report = Report("attack", config={"workers": WORKERS, "look_ms": LOOK_MS})
    uvloop.run(measure(report))
    report.finish(options)


if __name__ == "__main__":
    main()
