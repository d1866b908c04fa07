"""A gateway and workers with timed devices, each node and each device a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

import framemesh
from bench.timed.frames import Ask
from bench.timed.plugin import NAME, install
from clients.cli.demo import DemoMesh
from clients.sdk.session import Result, Session

# A busy machine must not pass for a lost link or a hung device.
EXTRA = """
[link]
ping_ms = 500
silent_ms = 5000
[device]
kill_ms = 5000
[gateway]
max_sessions = 64
"""


@asynccontextmanager
async def timed_mesh(
    port: int, speeds: Mapping[str, float], *, start: Sequence[str] | None = None
) -> AsyncIterator[DemoMesh]:
    """Nodes named "gateway" and "worker-1" onwards, the workers' devices labelled and sped.

    port: of the gateway's page. speeds: by label, in the order of the workers. start: the nodes
    to start with (default: all); others with `DemoMesh.start`.
    """
    with tempfile.TemporaryDirectory(prefix="framemesh-timed-") as name:
        folder = Path(name)
        install(folder / "plugin")
        mesh = DemoMesh.lay_out(folder, workers=len(speeds), port=port, workloads=(NAME,))
        labelled = zip(mesh.names[1:], speeds.items(), strict=True)
        settings = {node: f"label = {json.dumps(label)}\nspeed = {speed}\n"
                    for node, (label, speed) in labelled}  # fmt: skip
        for node in mesh.names:
            with (folder / f"{node}.toml").open("a") as config:  # its last table is the workload's
                config.write(settings.get(node, "") + EXTRA)
        with _on_path(folder / "plugin"):
            async with mesh.running(mesh.names if start is None else start):
                yield mesh


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Nodes started meanwhile find what is installed in `folder`."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), before)))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


async def linked(mesh: DemoMesh, workers: int) -> None:
    """Wait until the gateway has so many workers."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                found = (await mesh.status())["workers"]
                assert isinstance(found, list)
                if sum(bool(worker["devices"]) for worker in found) >= workers:
                    return
            await asyncio.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Made:
    """A frame that came back.

    latency_us: from its opening until it was whole. stages: the gateway's. devices: by maker, when
    its last piece was done, from when its first one arrived there: us, by the device's own word.
    pieces: (region, maker, queue_us, run_us) each. result: the picture, if it was asked for.
    """

    number: int
    latency_us: int
    stages: Mapping[str, int]
    pieces: tuple[tuple[tuple[int, ...], str, int, int], ...]
    filled: int
    result: memoryview

    @property
    def devices(self) -> dict[str, int]:
        done: dict[str, int] = {}
        for _, maker, queue_us, run_us in self.pieces:
            done[maker] = max(done.get(maker, 0), queue_us + run_us)
        return done

    @property
    def spread(self) -> float:
        """How far the first and the last device to finish are apart, as a share of the last's."""
        done = self.devices.values()
        return (max(done) - min(done)) / max(done) if done else 0.0


def made(result: Result) -> Made:
    """Read a frame's facts."""
    facts: Mapping[str, Any] = result.facts
    stages = facts["stages"]
    makers = facts["makers"]
    pieces = tuple(
        (tuple(region), makers[maker] if maker >= 0 else "nobody", queue_us, run_us)
        for *region, maker, queue_us, run_us in facts["pieces"]
    )
    latency_us = stages["open"] + stages["pieces"] + stages["compose"]
    return Made(result.frame, latency_us, stages, pieces, facts["filled"], result.data)


async def ask(
    session: Session, *, slower: Mapping[str, float] | None = None, whole: bool = False
) -> Made:
    """One frame, from its opening to its result."""
    asked = msgspec.msgpack.encode(Ask(dict(slower or {}), whole))
    return made(await session.ask(asked))


@asynccontextmanager
async def timed_session(
    mesh: DemoMesh, devices: int, **options: float | str
) -> AsyncIterator[Session]:
    """A session that `devices` devices take part in. options: see TimedOptions."""
    async with framemesh.connect(mesh.page_url(), NAME, **options) as session:
        makers: set[str] = set()
        async with asyncio.timeout(60):
            while len(makers) < devices:
                makers |= set((await ask(session)).devices)
        yield session
