"""How soon nodes know of each other: on one local network, and by the hash table beyond it.

Local: five `framemesh node` start at once on one network, again and again; timed from each one's
listening, and from its start, until it knows of another. Then two linked nodes of which one falls
silent: it is stopped, or all its packets are dropped.

Wide: nodes in a /24 each, routed without multicast, with three bootstrap nodes of their own. Five
seekers look for workers of one capability; then 30 % of the nodes are killed at once; then two of
the three bootstrap nodes, and a new node starts. Timed from each look until the first worker's
advert is verified. (`python -m bench.mdns` holds our finder for the local network against
zeroconf's defaults.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop

from bench.netlab import Lab, run
from bench.realmlab import RealmLab, RunningNode, children_of, ended, rss_mb, written_s
from bench.report import Report, arguments
from mesh.core.membership import Role

SEED = 8
TABLE = 6881
SEEKERS = 5
LOOK_MS = 400
KILLED = 0.3
AT_ONCE = 4  # nodes that start at a time: the machine has two cores


# --- on one network ---------------------------------------------------------------------------


async def first_meetings(lab: Lab, folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """(from listening, from starting) until another node is known, in milliseconds."""
    places = [lab.public()[0] for _ in range(5)]
    since_listening, since_start = [], []
    for number in range(rounds):
        realm = RealmLab(folder / f"round-{number}")
        async with AsyncExitStack() as stack:
            nodes = await asyncio.gather(
                *(
                    stack.enter_async_context(
                        realm.running(place, f"n{at}", Role.RELAY, extra="[discovery.mdns]")
                    )
                    for at, place in enumerate(places)
                )
            )
            for node in nodes:
                found_s = await said_at(node, "found")
                since_listening.append(max(0.0, found_s - await said_at(node, "takes links")) * 1e3)
                since_start.append((found_s - node.began_s) * 1e3)
    return since_listening, since_start


async def said_at(node: RunningNode, words: str) -> float:
    """When it first said so, in unix seconds."""
    for line in node.said:
        if words in line:
            return written_s(line)
    return await node.until(words)


async def silences(lab: Lab, folder: Path, rounds: int) -> list[float]:
    """Until one of two linked nodes notices that the other is silent, in milliseconds."""
    taken = []
    realm = RealmLab(folder / "silence")
    (here, _), (there, address) = lab.public(), lab.public()
    link = f'port = 7000\npeers = ["{address}:7000"]\nsilent_ms = 400'
    async with (
        realm.running(there, "far", Role.RELAY, link="port = 7000\nsilent_ms = 400") as far,
        realm.running(here, "near", Role.RELAY, link=link) as near,
    ):
        for number in range(rounds):
            await near.until("linked with far")
            began_s = time.time()
            if number % 2:
                far.process.send_signal(signal.SIGSTOP)
            else:
                run(there, "nft", "-f", "-", given=_DROP)
            taken.append((await near.until("link with far ended") - began_s) * 1e3)
            if number % 2:
                far.process.send_signal(signal.SIGCONT)
            else:
                run(there, "nft", "delete", "table", "ip", "mute")
    return taken


_DROP = """
table ip mute {
  chain in {
    type filter hook input priority 0; policy drop;
  }
  chain out {
    type filter hook output priority 0; policy drop;
  }
}
"""


# --- beyond -----------------------------------------------------------------------------------


class Wide:
    """Nodes in networks of their own, and who looks for them."""

    def __init__(self, lab: Lab, realm: RealmLab, stack: AsyncExitStack) -> None:
        self._lab, self._realm, self._stack = lab, realm, stack
        self.bootstraps: list[asyncio.subprocess.Process] = []
        self.workers: list[RunningNode] = []
        self._addresses: list[str] = []
        self.table = ""

    async def bootstrap(self, count: int) -> None:
        places = [self._lab.routed() for _ in range(count)]
        names = [f"{address}:{TABLE}" for _, address in places]
        self.table = (
            f'[discovery.dht]\nlisten = "0.0.0.0:{TABLE}"\nbootstrap = {json.dumps(names)}\n'
        )
        for where, _ in places:
            process = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", where, sys.executable, "-m", "clients.cli"),
                *("dht-bootstrap", *(word for name in names for word in ("--peer", name))),
                stdout=subprocess.PIPE,
            )
            self._stack.push_async_callback(ended, process)
            assert process.stdout is not None
            await process.stdout.readline()
            self.bootstraps.append(process)

    async def start(self, count: int) -> None:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> None:
            async with turns:
                await self.start_one(name)

        names = [f"w{len(self.workers) + at}" for at in range(count)]
        await asyncio.gather(*map(one, names))

    async def start_one(self, name: str) -> str:
        """A worker; its name."""
        where, address = self._lab.routed()
        running = self._realm.running(where, name, Role.WORKER, extra=self.table)
        self.workers.append(await self._stack.enter_async_context(running))
        self._addresses.append(f"{address}:{TABLE}")
        return name

    def everyone(self) -> list[str]:
        """ "ip:port" of all tables that are here."""
        return [*json.loads(self.table.rpartition("bootstrap = ")[2]), *self._addresses]

    async def seeker(self, name: str, where: str = "", bootstrap: Sequence[str] = ()) -> Seeker:
        where = where or self._lab.routed()[0]
        home = self._realm.home(name, Role.GATEWAY)
        settings = {"listen": f"0.0.0.0:{TABLE}", "look_ms": 3_600_000}
        settings["bootstrap"] = bootstrap or json.loads(self.table.rpartition("bootstrap = ")[2])
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", where, sys.executable, "-m", "bench.seeker"),
            *(str(home.path), json.dumps(settings)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"XDG_CACHE_HOME": str(home.path / "cache")},
        )
        self._stack.push_async_callback(ended, process)
        assert process.stdout is not None
        await process.stdout.readline()
        return Seeker(process)

    def kill(self, share: float, draw: random.Random) -> None:
        """End some nodes, and their children, without a word."""
        for node in draw.sample(self.workers, round(len(self.workers) * share)):
            for pid in [*children_of(node.process.pid), node.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Seeker:
    """A process that looks when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def look(self, for_ms: int = LOOK_MS) -> dict[str, float]:
        """Names found, and after how many milliseconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{for_ms}\n".encode())
        found: dict[str, float] = json.loads(await self.process.stdout.readline())
        return found

    async def settle(self) -> None:
        """Look until somebody is found."""
        while not await self.look():
            pass


async def looks(
    seekers: list[Seeker], each: int, for_ms: int = LOOK_MS
) -> tuple[list[float], float]:
    """Milliseconds to the first worker of each look, and how many were found at the median."""
    firsts, counts = [], []
    for _ in range(each):
        for seeker in seekers:
            found = await seeker.look(for_ms)
            firsts.append(min(found.values(), default=float(for_ms)))
            counts.append(len(found))
    return firsts, statistics.median(counts)


@asynccontextmanager
async def wide(lab: Lab, folder: Path, nodes: int) -> AsyncIterator[tuple[Wide, list[Seeker]]]:
    async with AsyncExitStack() as stack:
        network = Wide(lab, await asyncio.to_thread(RealmLab, folder), stack)
        await network.bootstrap(3)
        await network.start(nodes - 3)
        seekers = [await network.seeker(f"seeker-{at}") for at in range(SEEKERS)]
        for seeker in seekers:
            await seeker.settle()
        yield network, seekers


# --- all of it --------------------------------------------------------------------------------


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[18]


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


async def measure(report: Report, *, quick: bool) -> None:
    lab = Lab()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            await local(report, lab, folder, rounds=3 if quick else 50)
            await beyond(report, lab, folder / "wide", 15 if quick else 60, each=8 if quick else 40)
    finally:
        lab.close()


async def local(report: Report, lab: Lab, folder: Path, rounds: int) -> None:
    listening, starting = await first_meetings(lab, folder, rounds)
    noticed = await silences(lab, folder, max(6, rounds // 2))
    report.table(
        ["on one network", "p50 ms", "p95 ms", "worst"],
        [
            [
                "listening to first known",
                statistics.median(listening),
                p95(listening),
                max(listening),
            ],
            ["started to first known", statistics.median(starting), p95(starting), max(starting)],
            ["silent to noticed", statistics.median(noticed), p95(noticed), max(noticed)],
        ],
    )
    report.figure("lan_first_ms_p95", p95(listening))
    report.figure("lan_from_start_ms_p95", p95(starting))
    report.figure("kill_noticed_ms_p95", p95(noticed))


async def beyond(report: Report, lab: Lab, folder: Path, nodes: int, each: int) -> None:
    rows: list[list[str | float]] = []
    async with wide(lab, folder, nodes) as (network, seekers):
        sizes = [
            rss_mb(node.process.pid)
            + max(rss_mb(child) for child in children_of(node.process.pid) if _is_table(child))
            for node in network.workers
        ]
        before, count = await looks(seekers, each)
        rows.append(["all there", statistics.median(before), p99(before), max(before), count])
        network.kill(KILLED, random.Random(SEED))
        after, count = await looks(seekers, each, 2 * LOOK_MS)
        rows.append(["30 % killed", statistics.median(after), p99(after), max(after), count])
        for process in network.bootstraps[:2]:
            await ended(process)
        began = time.perf_counter()
        late = await network.seeker("late")
        await late.settle()
        joined_ms = (time.perf_counter() - began) * 1e3
    report.table(["beyond: first worker found", "p50 ms", "p99 ms", "worst", "found p50"], rows)
    report.figure("wan_find_ms_p50", statistics.median(before))
    report.figure("wan_find_ms_p99", p99(before))
    report.figure("wan_find_ms_p99_after_kill30", p99(after))
    report.figure("wan_joined_with_one_bootstrap_ms", joined_ms)
    report.figure("node_rss_mb", max(sizes))


def _is_table(pid: int) -> bool:
    return b"discovery.dht.process" in Path(f"/proc/{pid}/cmdline").read_bytes()


def main() -> None:
    options = arguments(__doc__)
    report = Report("discovery", config={"quick": options.quick}, seeds=[SEED])
    uvloop.run(measure(report, quick=options.quick))
    report.finish(options)


if __name__ == "__main__":
    main()
