"""A session in a mesh of more nodes than it may hold: opened on a few, made up for when they go."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh.channel import Channel, LocalChannel
from mesh.core.config import GatewayConfig
from mesh.core.errors import ContentRefused
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.token import Scope, sign_token
from mesh.core.wire import (
    DeviceOffer,
    Message,
    SessionClose,
    SessionFailed,
    SessionOpen,
    SessionReady,
)
from mesh.core.workload import DeviceInfo, SessionRequest
from mesh.gateway import Gateway
from mesh.link.handshake import Credentials
from mesh.schedule.pool import MOST, START

PLUGINS = Path(__file__).parent / "plugins"
OFFER = DeviceOffer("0", (DeviceInfo("stripes", "cpu", "stripes", "numpy", 0),), ("stripes",))


class Node:
    """A node that opens every session at once, or none, and runs nothing."""

    def __init__(
        self, name: str, gateway: Gateway, changed: asyncio.Event, *, fit: bool = True
    ) -> None:
        """changed: set when the node opens or ends a session. fit: whether it can open one."""
        self.holds: set[str] = set()
        self._changed = changed
        self._fit = fit
        self.gateway_end, self._end = LocalChannel.pair(name, gateway, self)

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview | None:
        return None

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        if isinstance(message, SessionClose):
            self.holds.discard(message.session)
        elif isinstance(message, SessionOpen):
            self.holds.add(message.session)
            about = (message.session, message.epoch, message.device)
            problem = ContentRefused(what="no memory", why="it is full", fix="Ask another.")
            self._end.send(
                SessionReady(*about) if self._fit else SessionFailed(*about, problem.to_problem())
            )
        self._changed.set()


class Mesh:
    """A gateway, its nodes, and a client's way in."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self.gateway = gateway
        self.client = gateway.authorize(token, Scope.CONTROL)
        self.nodes: list[Node] = []
        self.changed = asyncio.Event()

    def grow(self, count: int, *, fit: bool = True) -> None:
        for _ in range(count):
            node = Node(f"node-{len(self.nodes)}", self.gateway, self.changed, fit=fit)
            self.nodes.append(node)
            self.gateway.worker_found(node.gateway_end, "desk", (OFFER,))

    async def open(self, viewers: Any) -> Any:
        viewer = viewers()
        opened = await self.gateway.open_session(
            self.client, SessionRequest("stripes", {"barcode": 1}), await viewer.offer()
        )
        await viewer.accept(opened.answer_sdp)
        return opened

    @property
    def holding(self) -> list[Node]:
        return [node for node in self.nodes if node.holds]

    async def until_held_by(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.holding) != count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def mesh(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    monkeypatch.syspath_prepend(str(PLUGINS))
    workloads = {"stripes": __import__("stripes").create({})}
    key = RealmKey.generate()
    token = sign_token(
        key,
        realm_public=key.public_key,
        subject="alice",
        scopes=[Scope.CONTROL],
        not_before=int(time.time()) - 60,
        not_after=int(time.time()) + 3600,
    )
    credentials = Credentials(NodeIdentity.generate(), key.public_key, b"")
    async with Gateway(GatewayConfig(), credentials, workloads) as gateway:
        yield Mesh(gateway, token)
    sys.modules.pop("stripes")


async def test_in_a_small_mesh_a_session_is_opened_everywhere_and_where_a_node_joins(
    mesh: Mesh, viewers: Any
) -> None:
    mesh.grow(3)
    await mesh.open(viewers)
    assert len(mesh.holding) == 3
    mesh.grow(2)
    await mesh.until_held_by(5)


async def test_in_a_large_one_on_a_few_and_it_ends_on_each_of_them(
    mesh: Mesh, viewers: Any
) -> None:
    mesh.grow(3 * MOST)
    opened = await mesh.open(viewers)
    assert len(mesh.holding) == START
    await mesh.gateway.close_session(mesh.client, opened.session_id)
    await mesh.until_held_by(0)


async def test_a_node_that_goes_is_made_up_for_by_one_that_was_not_asked_before(
    mesh: Mesh, viewers: Any
) -> None:
    mesh.grow(3 * MOST)
    await mesh.open(viewers)
    gone = mesh.holding[0]
    mesh.gateway.worker_gone(gone.gateway_end)
    await mesh.until_held_by(START + 1)
    assert gone in mesh.holding


async def test_a_node_that_links_anew_is_asked_anew(mesh: Mesh, viewers: Any) -> None:
    mesh.grow(1)
    await mesh.open(viewers)
    again = Node("node-0", mesh.gateway, mesh.changed)
    mesh.gateway.worker_found(again.gateway_end, "desk", (OFFER,))
    mesh.nodes.append(again)
    await mesh.until_held_by(2)


async def test_when_all_that_are_asked_refuse_the_client_hears_their_reason_and_others_are_left(
    mesh: Mesh, viewers: Any
) -> None:
    mesh.grow(3 * MOST, fit=False)
    with pytest.raises(ContentRefused, match="it is full"):
        await mesh.open(viewers)
    assert mesh.gateway.status()["sessions"] == []
    assert len({node for node in mesh.nodes if node.holds}) <= START
