"""A worker node in a process of its own, asked for one piece at a time over the real link."""

from __future__ import annotations

import asyncio
import itertools
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from clients.cli.demo import DemoMesh
from mesh.core.errors import LinkLost
from mesh.core.home import NodeHome
from mesh.core.wire import (
    AssetData,
    AssetRef,
    AssetWanted,
    Message,
    Observed,
    PeersSeen,
    PieceDone,
    PieceRun,
    RealmNews,
    SessionOpen,
    SessionReady,
)
from mesh.core.workload import Piece, SessionWork
from mesh.link.endpoint import dial
from mesh.link.handshake import Credentials
from mesh.link.liveness import LinkTiming
from mesh.link.transport import Link

SESSION = "bench"
LONG_US = 60_000_000
PATIENT = LinkTiming(silent_us=5_000_000)


class WorkerNode:
    """The gateway's end of a link, reduced to one piece at a time."""

    def __init__(self, work: SessionWork) -> None:
        self._assets = {a.digest: a.data for a in work.setup.assets}
        self._answer: asyncio.Future[PieceDone] = asyncio.get_running_loop().create_future()
        self._ready = asyncio.Event()
        self._buffer = memoryview(bytearray(work.picture.nbytes if work.picture else 1 << 20))
        self._frames = itertools.count()

    async def prepare(self, link: Link, work: SessionWork) -> None:
        self._link, self._device = link, link.peer.hello.devices[0].device
        refs = tuple(AssetRef(a.digest, len(a.data)) for a in work.setup.assets)
        link.send(SessionOpen(SESSION, 1, "render", self._device, work.setup.spec, refs))
        await self._ready.wait()

    async def run(self, piece: Piece) -> tuple[PieceDone, memoryview]:
        """The answer and its result, which is valid until the next call."""
        self._answer = asyncio.get_running_loop().create_future()
        self._link.send(
            PieceRun(
                SESSION,
                1,
                next(self._frames),
                piece.index,
                self._device,
                piece.kind,
                piece.units,
                time.monotonic_ns() // 1000 + LONG_US,
                piece.output_bytes,
                piece.spec,
            )
        )
        return await self._answer, self._buffer[: piece.output_bytes]

    def opened(self, link: Link) -> None:
        pass

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview:
        return self._buffer[:size]

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        match message:
            case AssetWanted():
                link.send(AssetData(message.digest), self._assets[message.digest])
            case SessionReady():
                self._ready.set()
            case PieceDone():
                self._answer.set_result(message)
            case Observed() | PeersSeen() | RealmNews():
                pass  # what members tell each other
            case _:
                self._answer.set_exception(RuntimeError(f"the worker said {message}"))

    def closed(self, link: Link, why: object) -> None:
        if not self._answer.done():
            self._answer.set_exception(RuntimeError(f"the link closed: {why}"))


@asynccontextmanager
async def worker_node(work: SessionWork) -> AsyncIterator[WorkerNode]:
    """A started node that holds the session; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        held.close()
        # The last table of each configuration file is [workloads.render].
        extra = f'[link]\nhost = "127.0.0.1"\nport = {port}\nsilent_ms = 5000\n'
        extra += "[device]\nkill_ms = 20000\n"  # a busy machine must not pass for a hung device
        mesh = DemoMesh.lay_out(Path(folder), workers=1, port=0, extra=extra)
        async with mesh.running(["worker-1"]):
            node = WorkerNode(work)
            link = await _dial_until_up(mesh, port, node)
            await node.prepare(link, work)
            yield node
            await link.close()


async def _dial_until_up(mesh: DemoMesh, port: int, node: WorkerNode) -> Link:
    home = NodeHome(mesh.folder / "gateway")
    realm = NodeHome(mesh.folder / "admin").realm_key()
    credentials = Credentials(home.identity(), realm.public_key, home.membership())
    async with asyncio.timeout(60):
        while True:
            try:
                return await dial("127.0.0.1", port, credentials, node, tuple, timing=PATIENT)
            except LinkLost:
                await asyncio.sleep(0.1)
