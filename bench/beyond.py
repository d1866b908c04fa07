"""Two nodes that only a hash table brings together, through two NATs: by which way, and how well.

A bootstrap node and a relay on a public network; a worker and a gateway behind NATs of their own,
which are told of that bootstrap node and of nothing else: no multicast, no configured peer. For
each kind of NAT: how the two came to be linked, what a question over the link takes, and how many
megabits of tiles a second it carries. Then, at 20 ms of round trip between them, a browser beside
the gateway is shown the courtyard by that worker, and sweeps are fed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.impair import Line, Link, joined
from bench.impair.relay import FAR_ADDRESS, NEAR_ADDRESS
from bench.netlab import Lab, Nat
from bench.realmlab import PLUGINS, RealmLab, RunningNode, config_of, ended
from bench.report import Report, arguments
from clients.cli.realm import viewer_token
from mesh.core.membership import Role
from mesh.core.token import Scope

SEED = 9
TABLE, RELAY = 6881, 7400
LAB_TABLE = "[discovery.dht]\nrestricted = false\n"  # all are in one /24
KINDS: dict[str, Nat] = {
    "direct": "full cone",
    "punched": "port restricted",
    "relayed": "symmetric",
}
ONE_WAY_MS = 10.0
FRAMES, SWEEPS = 120, 20
PATIENCE_S = 120.0
SESSION = "scene=courtyard&width=320&height=180&fps=10&deadline_ms=300&barcode=0"


@asynccontextmanager
async def node(namespace: str, module: str, *words: str) -> AsyncIterator[asyncio.StreamReader]:
    """A process in a namespace, once it has said that it is up; what it says from then on."""
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, "-m", module, *words),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{PLUGINS}"},
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        await ended(process)


class Stage:
    """The relay, and two machines behind NATs."""

    def __init__(self, lab: Lab, realm: RealmLab, kind: Nat) -> None:
        self.lab, self.realm = lab, realm
        self.first, address = lab.public()
        self.relay, _ = lab.public()
        self.table = f'{LAB_TABLE}look_ms = 1000\nbootstrap = ["{address}:{TABLE}"]\n'
        self.worker, self.gateway = lab.behind(kind)[0], lab.behind(kind)[0]

    @asynccontextmanager
    async def relayed(self) -> AsyncIterator[None]:
        link = f"port = {RELAY}\nsilent_ms = 5000"
        async with (
            node(self.first, "clients.cli", "dht-bootstrap", "--lab") as first,
            self.realm.running(self.relay, "relay", Role.RELAY, link=link, extra=self.table),
        ):
            await first.readline()
            yield


async def by_kind(realm: RealmLab, kind: Nat) -> dict[str, Any]:
    """What a link between two NATs of a kind carries."""
    lab = Lab()
    try:
        stage = Stage(lab, realm, kind)
        async with stage.relayed():
            paths = {
                name: config_of(realm.home(name, role), name, (role,), "", stage.table)
                for name, role in (("worker", Role.WORKER), ("gateway", Role.GATEWAY))
            }
            began_s = time.perf_counter()
            async with (
                node(stage.worker, "bench.pathnode", str(paths["worker"])) as worker,
                node(stage.gateway, "bench.pathnode", str(paths["gateway"]), "ask") as gateway,
            ):
                await worker.readline()
                async with asyncio.timeout(PATIENCE_S):
                    while not (line := await gateway.readline()).startswith(b"{"):
                        assert line, "the gateway ended"
                facts: dict[str, Any] = json.loads(line)
        return facts | {"linked_s": time.perf_counter() - began_s}
    finally:
        lab.close()


async def end_to_end(realm: RealmLab, kind: Nat, frames: int, sweeps: int) -> dict[str, Any]:
    """Frames and sweeps by a worker that is 20 ms away, behind a NAT of its own."""
    lab = Lab()
    try:
        stage = Stage(lab, realm, kind)
        inner = lab.inside(stage.worker)
        line = Line(delay_ms=ONE_WAY_MS)
        async with joined(Link(down=line, up=line, seed=SEED), inner, stage.worker):
            lab.route_inside(stage.worker, inner, near=NEAR_ADDRESS, far=FAR_ADDRESS)
            async with stage.relayed():
                extra = stage.table + "[workloads.render]\n[workloads.infer]\n"
                async with (
                    realm.running(inner, "far-worker", Role.WORKER, extra=extra),
                    realm.running(stage.gateway, "near", Role.GATEWAY, extra=extra) as gateway,
                ):
                    await gateway.until("linked with far-worker")
                    seen = await viewed(stage.gateway, page_url(realm, gateway), frames, sweeps)
                    report = await gateway.netcheck()
                    peer = next(p for p in report.peers if p.name == "far-worker")
        return seen | {"path": peer.path, "rtt_ms": peer.rtt_ms}
    finally:
        lab.close()


def page_url(realm: RealmLab, gateway: RunningNode) -> str:
    """To be opened beside the gateway."""
    said = next(line for line in gateway.said if "http on" in line)
    token = viewer_token(
        realm.owner.signer(int(time.time())),
        subject="viewer",
        lifetime_s=3600,
        scopes=tuple(Scope),
    )
    return f"http://127.0.0.1:{said.split()[-1]}/?{SESSION}#token={token}"


async def viewed(namespace: str, url: str, frames: int, sweeps: int) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, "-m", "bench.beyondview"),
        *(url, str(frames), str(sweeps)),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            seen: dict[str, Any] = json.loads(await process.stdout.readline())
    finally:
        await ended(process)
    return seen


async def measure(report: Report, *, quick: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        rows: list[list[str | float]] = []
        for wanted, kind in KINDS.items():
            realm = await asyncio.to_thread(RealmLab, Path(name) / wanted)
            facts = await by_kind(realm, kind)
            rows.append(
                [
                    kind,
                    facts["path"],
                    facts["linked_s"],
                    facts["small"],
                    facts["tile"],
                    facts["mbit"],
                ]
            )
            report.figure(f"{wanted}_small_ms_p50", facts["small"])
            report.figure(f"{wanted}_mbit_per_s", facts["mbit"])
        report.table(
            ["both NATs", "path", "linked and measured s", "1 KB ms", "700 KB ms", "Mb/s"], rows
        )
        shown: list[list[str | float]] = []
        for wanted in ("punched",) if quick else ("punched", "relayed"):
            realm = await asyncio.to_thread(RealmLab, Path(name) / f"e2e-{wanted}")
            counts = (FRAMES // 4, SWEEPS // 4) if quick else (FRAMES, SWEEPS)
            seen = await end_to_end(realm, KINDS[wanted], *counts)
            shown.append(
                [seen["path"], seen["rtt_ms"], seen["shown"], seen["late"], seen["answered"]]
            )
            report.figure(f"e2e_{wanted}_late", seen["late"])
        report.table(["path", "RTT ms", "frames shown", "late share", "sweeps answered"], shown)


def main() -> None:
    options = arguments(__doc__)
    report = Report("beyond", config={"one_way_ms": ONE_WAY_MS}, seeds=[SEED])
    uvloop.run(measure(report, quick=options.quick))
    report.finish(options)


if __name__ == "__main__":
    main()
