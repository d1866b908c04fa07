"""How a node reaches others, and is reached, where NATs are between: with the help of relays.

In turn: the other's addresses, raced; a hole punched through both NATs, by connecting to each other
at the same moment from the ports that a relay sees (TCP simultaneous open: RFC 9293, 3.5, and RFC
5382, REQ-2); at last, the relay passes the bytes on. In each case what comes of it is a link like
any other: TLS with both nodes' keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mesh.core.errors import LinkLost, MeshError, from_problem
from mesh.core.wire import (
    Observed,
    ReachAsk,
    ReachTold,
    RelayAsk,
    RelayCall,
    RelayReady,
    RelayRefused,
)
from mesh.core.workload import NodeId
from mesh.link.endpoint import unreachable
from mesh.link.racing import connect
from mesh.link.transport import Link
from mesh.peers.peerbook import VIA

log = logging.getLogger(__name__)

ASK_S = 5.0
PUNCH_S = 2.5
SPEAKS_S = 1.0  # a caller sends TLS's first message at once
PUNCH_AGAIN_S = 0.05  # after a refusal: the other end's NAT did not expect us yet
_CALLS = 32  # answered at a time

FromRelay = RelayCall | RelayReady | RelayRefused | ReachTold


class Here(Protocol):
    """What it needs of its node."""

    @property
    def port(self) -> int:
        """Where links are taken."""
        ...

    def adopt(self, connection: socket.socket) -> None:
        """Take a connection for one that was accepted."""
        ...

    async def dial_over(self, way: Way, node: NodeId) -> Link:
        """Make the link over a connection, as the one who dials. Raises MeshError."""
        ...

    def link_with(self, node: NodeId) -> Link | None:
        """An open link."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """A connection to another node, and how it came about: "punched" or "relayed"."""

    connection: socket.socket
    kind: str
    where: str


class Reach:
    """One node's dealings with relays, as the one who asks."""

    def __init__(self, here: Here, tasks: asyncio.TaskGroup, changed: Callable[[], None]) -> None:
        """changed: called when it is reachable at other addresses than before."""
        self._here = here
        self._tasks = tasks
        self._changed = changed
        self._answers: dict[str, asyncio.Future[RelayReady | ReachTold]] = {}
        self._answering = 0
        self._seen_at: dict[NodeId, str] = {}  # by whom
        self._relays: dict[NodeId, str] = {}  # where they were dialled

    # --- what is known --------------------------------------------------------------------------

    def linked_with_relay(self, link: Link) -> None:
        """A relay of the realm is at the other end."""
        if link.dialled:
            self._relays[link.peer.node_id] = link.address
            self._changed()

    def gone(self, node: NodeId) -> None:
        """The link with a node ended."""
        relay, seen = self._relays.pop(node, None), self._seen_at.pop(node, None)
        if relay or seen:
            self._changed()

    def observed(self, link: Link, message: Observed) -> None:
        """A peer says at which address it sees this node."""
        # Only the port that links are taken on says where others may try.
        known = self._seen_at.get(link.peer.node_id)
        if link.from_port == self._here.port and known != message.address:
            self._seen_at[link.peer.node_id] = message.address
            self._changed()

    @property
    def addresses(self) -> list[str]:
        """Where else others may try: as relays see this node, then by way of them."""
        seen = [self._seen_at[node] for node in self._relays if node in self._seen_at]
        return list(dict.fromkeys([*seen, *(VIA + at for at in self._relays.values())]))[:6]

    @property
    def seen_at(self) -> dict[NodeId, str]:
        """This node's address, by who sees it there."""
        return dict(self._seen_at)

    # --- asking ---------------------------------------------------------------------------------

    def received(self, link: Link, message: FromRelay) -> None:
        """What a relay says."""
        if isinstance(message, RelayCall):
            if self._answering < _CALLS:
                self._tasks.create_task(self._answer(link, message))
            return
        answer = self._answers.get(message.call)
        if answer is None or answer.done():
            return  # it came too late
        if isinstance(message, RelayRefused):
            answer.set_exception(from_problem(message.problem))
        else:
            answer.set_result(message)

    async def through(self, relay: Link, node: NodeId) -> Way:
        """A connection to a node that is linked with the same relay. Raises MeshError."""
        ready = await self._ask(relay, lambda call: RelayAsk(call, node))
        assert isinstance(ready, RelayReady)
        with contextlib.suppress(OSError, TimeoutError):
            return Way(await self._punch(ready.address), "punched", ready.address)
        if self._here.link_with(node) is not None:
            raise unreachable(node, "it came here instead")
        try:
            where = f"{relay.address.rpartition(':')[0]}:{ready.port}"
            return Way(await _by_ticket(where, ready.ticket), "relayed", where)
        except (OSError, TimeoutError) as problem:
            raise unreachable(node, f"its relay does not pass it on ({problem})") from problem

    async def reachable(self, relay: Link) -> bool:
        """Whether the relay can connect to this node's port from another of its own."""
        port = int(self._seen_at[relay.peer.node_id].rpartition(":")[2])
        told = await self._ask(relay, lambda call: ReachAsk(call, port))
        return isinstance(told, ReachTold) and told.reachable

    async def _ask(
        self, relay: Link, question: Callable[[str], RelayAsk | ReachAsk]
    ) -> RelayReady | ReachTold:
        call = secrets.token_hex(16)
        answer: asyncio.Future[RelayReady | ReachTold] = asyncio.get_running_loop().create_future()
        self._answers[call] = answer
        try:
            relay.send(question(call))
            async with asyncio.timeout(ASK_S):
                return await answer
        except TimeoutError as problem:
            raise LinkLost(
                what=f"relay {relay.peer.membership.name} did not answer",
                why=f"nothing came in {ASK_S:g} s",
                fix="Look at its log.",
            ) from problem
        finally:
            del self._answers[call]

    # --- being asked ----------------------------------------------------------------------------

    async def _answer(self, relay: Link, call: RelayCall) -> None:
        """Meet a caller: half way, or at the relay."""
        self._answering += 1
        try:
            with contextlib.suppress(OSError, TimeoutError):
                connection = await self._punch(call.address)
                if await _is_spoken_to(connection):
                    self._here.adopt(connection)
                else:  # the caller's own listener took it: its NAT lets everybody in
                    way = Way(connection, "direct", call.address)
                    await self._here.dial_over(way, call.node)
                return
            if self._here.link_with(call.node) is not None:
                return  # its own attempt came through
            where = f"{relay.address.rpartition(':')[0]}:{call.port}"
            self._here.adopt(await _by_ticket(where, call.ticket))
        except (OSError, TimeoutError, MeshError) as problem:
            log.info("a call of %s was not met: %r", call.node, problem)
        finally:
            self._answering -= 1

    async def _punch(self, address: str) -> socket.socket:
        """Connect while the other end does the same. Raises OSError, TimeoutError."""
        async with asyncio.timeout(PUNCH_S):
            while True:
                try:
                    return await connect(address, self._here.port, strictly=True)
                except ConnectionError:
                    await asyncio.sleep(PUNCH_AGAIN_S)


async def _is_spoken_to(connection: socket.socket) -> bool:
    """Whether the other end begins to speak, as the one does who dials.

    In a thread: the loop that is to own the connection must not have watched it before.
    """
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(await asyncio.to_thread(waiting.poll, SPEAKS_S * 1000))


async def _by_ticket(where: str, ticket: bytes) -> socket.socket:
    async with asyncio.timeout(ASK_S):
        connection = await connect(where)
        try:
            await asyncio.get_running_loop().sock_sendall(connection, ticket)
        except BaseException:
            connection.close()
            raise
        return connection
