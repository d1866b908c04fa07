"""A relay node's half: brings members together that cannot reach each other, and sees ciphertext
only.

Two members are linked with the relay and ask for each other. It tells each the address at which it
sees the other, so that both try to connect through their NATs at the same moment; and it gives each
a ticket. Who comes to the relay's own port with the tickets of one call is joined to the other:
from then on their bytes are passed on as they come. The link that is made over it is the two nodes'
own TLS, whose keys the relay does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mesh.core.config import RelayConfig
from mesh.core.errors import ConfigError, MeshError, PeerRefused
from mesh.core.loop import monotonic_us
from mesh.core.wire import ReachAsk, ReachTold, RelayAsk, RelayCall, RelayReady, RelayRefused
from mesh.core.workload import NodeId
from mesh.link.racing import connect
from mesh.link.transport import Link

log = logging.getLogger(__name__)

TICKET_BYTES = 32
CALL_S = 20.0  # from a call until both ends have come
TICKET_S = 5.0  # from connecting until the ticket is there
REACH_S = 2.0
_CHUNK = 64 * 1024
_PER_MEMBER = 8  # calls and trials that one member has under way


@dataclass(eq=False)
class _Call:
    """Two members to be joined. came: the first of them, waiting for the second."""

    caller: NodeId
    tickets: tuple[bytes, bytes]
    came: dict[bytes, _End] = field(default_factory=dict)
    expires: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class _End:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    joined: asyncio.Future[_End]


class Relay:
    """Answers what members ask of a relay, and passes bytes on."""

    def __init__(
        self, config: RelayConfig, find: Callable[[NodeId], Link | None], tasks: asyncio.TaskGroup
    ) -> None:
        """find: the open link with a member of the realm."""
        self._config = config
        self._find = find
        self._tasks = tasks
        self._port = 0
        self._calls: dict[bytes, _Call] = {}  # by each of their tickets
        self._busy: Counter[NodeId] = Counter()
        self._joined = 0
        self.bytes_passed = 0

    @asynccontextmanager
    async def serving(self, host: str) -> AsyncIterator[None]:
        """Take those who come with tickets until the block ends. Raises ConfigError."""
        try:
            server = await asyncio.start_server(self._arrived, host, self._config.port)
        except OSError as problem:
            raise ConfigError(
                what=f"cannot relay on {host}:{self._config.port}",
                why=problem.strerror or str(problem),
                fix="Choose another port in the [relay] table of the configuration.",
            ) from problem
        self._port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    def received(self, link: Link, message: RelayAsk | ReachAsk) -> None:
        """What a member asks."""
        member = link.peer.node_id
        if self._busy[member] >= _PER_MEMBER:
            problem = _refused("too much of what it asked for is still under way")
            self._answer(link, message, problem)
            return
        if isinstance(message, ReachAsk):
            self._tasks.create_task(self._reach(link, message))
            return
        try:
            self._call(link, message)
        except PeerRefused as problem:
            self._answer(link, message, problem)

    def _answer(self, link: Link, message: RelayAsk | ReachAsk, problem: MeshError) -> None:
        if isinstance(message, ReachAsk):
            link.send(ReachTold(message.call, reachable=False))
        else:
            link.send(RelayRefused(message.call, problem.to_problem()))

    # --- calls ----------------------------------------------------------------------------------

    def _call(self, link: Link, message: RelayAsk) -> None:
        callee = self._find(message.node)
        if callee is None:
            raise _refused(f"{message.node} is not linked with this relay")
        if self._joined + len(self._calls) // 2 >= self._config.max_pairs:
            raise _refused(f"{self._config.max_pairs} pairs are relayed already")
        tickets = secrets.token_bytes(TICKET_BYTES), secrets.token_bytes(TICKET_BYTES)
        call = _Call(link.peer.node_id, tickets)
        self._busy[call.caller] += 1
        for ticket in tickets:
            self._calls[ticket] = call
        call.expires = asyncio.get_running_loop().call_later(CALL_S, self._give_up, call)
        callee.send(
            RelayCall(message.call, link.peer.node_id, link.address, self._port, tickets[1])
        )
        link.send(RelayReady(message.call, callee.address, self._port, tickets[0]))

    def _give_up(self, call: _Call) -> None:
        """Not both have come in time."""
        self._forget(call)
        for end in call.came.values():
            end.joined.cancel()

    def _forget(self, call: _Call) -> None:
        """Its tickets are worth nothing any more."""
        for ticket in call.tickets:
            del self._calls[ticket]
        self._leave(call.caller)
        if call.expires is not None:
            call.expires.cancel()

    def _leave(self, member: NodeId) -> None:
        self._busy[member] -= 1
        self._busy += Counter()  # drops what is at zero

    # --- passing bytes on -----------------------------------------------------------------------

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TICKET_S):
                ticket = await reader.readexactly(TICKET_BYTES)
            call = self._calls.get(ticket)
            if call is None or ticket in call.came:
                return
            end = _End(reader, writer, asyncio.get_running_loop().create_future())
            call.came[ticket] = end
            if len(call.came) < len(call.tickets):
                await end.joined  # the other end's task passes the bytes on
                return
            first = next(other for other in call.came.values() if other is not end)
            self._forget(call)  # it is through: only its bytes remain
            self._joined += 1
            try:
                await self._pass_on(first, end)
            finally:
                self._joined -= 1
                if not first.joined.done():
                    first.joined.set_result(end)
        except (OSError, TimeoutError, EOFError, asyncio.CancelledError) as problem:
            log.debug("a relayed connection ended: %r", problem)
        finally:
            writer.close()

    async def _pass_on(self, one: _End, other: _End) -> None:
        """Both ways, until either end is through."""
        ways = [
            asyncio.ensure_future(self._copy(one.reader, other.writer)),
            asyncio.ensure_future(self._copy(other.reader, one.writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way, no faster than is allowed."""
        bytes_per_us = self._config.mbit_per_s / 8
        due_us = monotonic_us()
        while data := await reader.read(_CHUNK):
            writer.write(data)
            self.bytes_passed += len(data)
            await writer.drain()
            now_us = monotonic_us()
            due_us = max(due_us, now_us - 100_000) + round(len(data) / bytes_per_us)
            if due_us > now_us:
                await asyncio.sleep((due_us - now_us) / 1e6)

    # --- whether a member can be reached --------------------------------------------------------

    async def _reach(self, link: Link, message: ReachAsk) -> None:
        """Try to connect to the member's own address, from another port than it knows."""
        member = link.peer.node_id
        self._busy[member] += 1
        reachable = False
        try:
            async with asyncio.timeout(REACH_S):
                host = link.address.rpartition(":")[0]
                (await connect(f"{host}:{message.port}")).close()
                reachable = True
        except (OSError, TimeoutError):
            pass
        finally:
            self._leave(member)
        with contextlib.suppress(MeshError):
            link.send(ReachTold(message.call, reachable))


def _refused(why: str) -> PeerRefused:
    return PeerRefused(
        what="the relay does not put the call through",
        why=why,
        fix="Try another relay, or again in some seconds.",
    )
