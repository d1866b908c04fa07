"""A scene on its way over a real link that breaks: what came is not sent again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from mesh.channel import LinkChannel
from mesh.core.errors import MeshError
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.loop import monotonic_us
from mesh.core.membership import Role, sign_membership
from mesh.core.wire import (
    AssetData,
    AssetRef,
    AssetWanted,
    Message,
    PieceDone,
    PieceRun,
    SessionOpen,
    SessionReady,
)
from mesh.core.workload import Asset, DeviceInfo
from mesh.device.supervisor import DeviceLimits, Plugins, open_device
from mesh.gateway import ASSET_RANGE, send_asset
from mesh.link.endpoint import dial, listen
from mesh.link.handshake import Credentials
from mesh.link.transport import Link
from mesh.worker import Worker

PLUGINS = Path(__file__).parent / "device" / "plugins"
INFO = DeviceInfo(unit="tiny", api="cpu", name="tiny device", driver="tiny 1", index=0)
SCENE = Asset("scene", np.random.default_rng(1).bytes(6 * ASSET_RANGE + 12_345))
WAIT_S = 60


class WorkerSide:
    """Hands a link's messages to a worker, as a node does; may cut it after some ranges."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._channels: dict[Link, LinkChannel] = {}
        self.cut_after: int | None = None

    def opened(self, link: Link) -> None:
        self._channels[link] = LinkChannel(link)

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview | None:
        return self._worker.body_buffer(self._channels[link], message, size)

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        self._worker.received(self._channels[link], message, body)
        if isinstance(message, AssetData) and self.cut_after is not None:
            self.cut_after -= 1
            if not self.cut_after:
                link.end(None, tell=False, at_once=True)

    def closed(self, link: Link, why: MeshError | None) -> None:
        self._worker.channel_gone(self._channels.pop(link))


class GatewaySide:
    """Sends the scene as a gateway does, and keeps what it is asked and told."""

    def __init__(self) -> None:
        self.asked: list[AssetWanted] = []
        self.answers: asyncio.Queue[Message] = asyncio.Queue()
        self.result = b""

    def opened(self, link: Link) -> None:
        pass

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview:
        return memoryview(bytearray(size))

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        if isinstance(message, AssetWanted):
            self.asked.append(message)
            send_asset(LinkChannel(link), SCENE, message.offset)
        else:
            self.result = bytes(body)
            self.answers.put_nowait(message)

    def closed(self, link: Link, why: MeshError | None) -> None:
        pass


def member(realm: RealmKey) -> Credentials:
    identity, now_s = NodeIdentity.generate(), int(time.time())
    blob = sign_membership(
        realm,
        node_public=identity.public_key,
        roles=[Role.WORKER, Role.GATEWAY],
        not_before=now_s - 60,
        not_after=now_s + 3600,
    )
    return Credentials(identity, realm.public_key, blob)


@asynccontextmanager
async def serving() -> AsyncIterator[Worker]:
    async with open_device(
        "tiny",
        [INFO],
        {"tiny": {}},
        limits=DeviceLimits(arena_bytes=1 << 20),
        changed=lambda _: None,
        plugins=Plugins({"tiny": "tiny_workload:create"}, (PLUGINS,)),
    ) as device:
        await device.ready()
        async with Worker([device], kill_after_us=60_000_000, policy="edf") as worker:
            yield worker


async def test_a_scene_whose_link_breaks_goes_on_where_it_stopped() -> None:
    realm, gateway = RealmKey.generate(), GatewaySide()
    ours, theirs = member(realm), member(realm)
    ref = AssetRef(SCENE.digest, len(SCENE.data))
    async with serving() as worker:
        side = WorkerSide(worker)
        async with listen("127.0.0.1", 0, theirs, side, lambda: (), refused=print) as listener:
            side.cut_after = 3
            link = await dial("127.0.0.1", listener.port, ours, gateway, lambda: ())
            link.send(SessionOpen("s", 1, "tiny", "tiny", b"", (ref,)))
            async with asyncio.timeout(WAIT_S):
                await link.gone
            side.cut_after = None
            link = await dial("127.0.0.1", listener.port, ours, gateway, lambda: ())
            link.send(SessionOpen("s", 2, "tiny", "tiny", b"", (ref,)))
            async with asyncio.timeout(WAIT_S):
                assert isinstance(await gateway.answers.get(), SessionReady)
            assert gateway.asked == [
                AssetWanted(SCENE.digest), AssetWanted(SCENE.digest, 3 * ASSET_RANGE)
            ]  # fmt: skip
            due_us = monotonic_us() + 60_000_000
            link.send(PieceRun("s", 2, 0, 0, "tiny", "tiny", 1.0, due_us, 4096, b"sum"))
            async with asyncio.timeout(WAIT_S):
                assert isinstance(await gateway.answers.get(), PieceDone)
            assert gateway.result == str(int(np.frombuffer(SCENE.data, "u1").sum())).encode()
            await link.close()
