"""A link: one authenticated connection between two nodes, for messages with deadlines.

The asyncio shell around `framing`, `sendqueue`, `handshake`, `clocksync` and `liveness`. Messages
wait in the send queue, not in the transport, which is kept nearly empty: what is urgent leaves
next, behind at most some hundred kilobytes.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Literal, Protocol, TypeAlias, cast

from mesh.core.errors import (
    LinkLost,
    MeshError,
    Misuse,
    NotAuthorized,
    PeerRefused,
    ProtocolViolation,
)
from mesh.core.loop import monotonic_us
from mesh.core.membership import Membership
from mesh.core.wire import (
    ADDED,
    MAX_BODY,
    DeviceOffer,
    Hello,
    Message,
    Ping,
    Pong,
    Refuse,
    encode_message,
)
from mesh.core.workload import Buffer, NodeId
from mesh.link.clocksync import ClockSync
from mesh.link.framing import CHUNK, WITH_BODY, FrameReader, open_prefix
from mesh.link.handshake import Credentials, Peer, check_key, judge, make_hello, refused_by
from mesh.link.liveness import LinkTiming, Liveness
from mesh.link.sendqueue import Sending, SendQueue
from mesh.link.tls import peer_key

HelloDevices: TypeAlias = Callable[[], tuple[DeviceOffer, ...]]

# Unsent bytes the kernel takes (tcp(7)); beyond the chunk or two in user space, this is what an
# urgent message has to wait for.
_KERNEL_UNSENT = 128 * 1024
_HIGH_WATER, _LOW_WATER = 128 * 1024, 32 * 1024
_TURN_BYTES = 256 * 1024  # most that one turn of the loop encrypts (about 0.2 ms)
# Frames handed over at once: the peer wakes, and reads, once for all of them.
_WRITE_BYTES = 2 * CHUNK
_AT_ONCE = 16 * 1024  # what follows in the same turn does not wait long for so little
_JOINED = 4096  # parts up to this size are copied together into one TLS record
_PONGS = 8  # questions remembered while nothing can be written


class LinkHandler(Protocol):
    """Who uses a link. All calls come from the event loop and must return quickly."""

    def opened(self, link: Link) -> None:
        """Both ends have accepted each other; the clock has its first sample."""
        ...

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview | None:
        """Where a body is to be received: writable, exactly `size` bytes, the handler's own.

        None: the body is not wanted, and the message will come with an empty one. The buffer's
        contents are undefined until `received` is called with it; if `closed` comes first, they
        stay so. A MeshError closes the link with that reason.
        """
        ...

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        """One complete message; `body` is the handler's buffer, or empty.

        A MeshError closes the link with that reason.
        """
        ...

    def closed(self, link: Link, why: MeshError | None) -> None:
        """The link is gone, once per `opened`; None: closed from this end without a reason."""
        ...


class Link:
    """One end of a link. Handlers get it open; `dial` and `listen` make it."""

    def __init__(
        self,
        credentials: Credentials,
        handler: LinkHandler,
        hello_devices: HelloDevices,
        timing: LinkTiming,
        expect: NodeId | None = None,
        *,
        dialled: bool = False,
    ) -> None:
        """dialled: from this end."""
        loop = asyncio.get_running_loop()
        self.clock: Final = ClockSync()
        self.address = "?"
        self.dialled: Final = dialled
        self.from_port = 0  # of this node
        self.opened_us = 0
        self.path = "direct"  # or "punched", "relayed": how it came about
        self.ready: Final[asyncio.Future[None]] = loop.create_future()  # open, or why not
        self.gone: Final[asyncio.Future[None]] = loop.create_future()  # the connection is no more
        self._loop = loop
        self._credentials = credentials
        self._handler = handler
        self._hello_devices = hello_devices
        self._timing = timing
        self._expect = expect
        self._state: Literal["greeting", "open", "ending"] = "greeting"
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(self._body_buffer, max_body=0)  # until open
        self._waste = memoryview(b"")  # where bytes go that nobody wants any more
        self._queue = SendQueue()
        self._pump_handle: asyncio.Handle | None = None
        self._paused = False
        self._ping_due = False
        self._pings: set[int] = set()  # when they were sent
        self._pongs: deque[tuple[int, int]] = deque(maxlen=_PONGS)  # (t0, t1) to answer
        self._peer_public = b""
        self._peer: Peer | None = None
        self._liveness = Liveness(timing, monotonic_us())
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Link {self._peer.node_id if self._peer else self.address} {self._state}>"

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        assert self._peer is not None, "handlers get a link when the peer is known"
        return self._peer

    def renewed(self, membership: Membership) -> None:
        """The peer proved another membership for the same key."""
        self._peer = replace(self.peer, membership=membership)

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._state == "open"

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting in this end's queue: what a sender of bulk looks at before adding more."""
        return self._queue.queued_bytes

    def send(
        self,
        message: Message,
        body: Buffer = b"",
        *,
        due_us: int = 0,
        sent: Callable[[], None] | None = None,
    ) -> Sending:
        """Send a message; never blocks, never calls back before it returned.

        The first one of a turn of the loop is written at once if it is small; what comes after it
        is written in the next turn, in order.

        due_us: on this node's clock; the smaller goes first, 0 (control) before all instants.
            Only messages of equal `due_us` keep their order.
        sent: called exactly once when `body` may be written to again: when it was handed to the
            transport, cancelled, or the link is gone.
        A message that the peer's version does not know is not sent.
        Raises Misuse when the message is over a size bound, or has a body it cannot have.
        """
        if not isinstance(message, WITH_BODY) and memoryview(body).nbytes:
            raise Misuse(
                what=f"a {type(message).__name__} cannot be sent",
                why="this kind of message has no body",
                fix="Put what it says into its fields.",
            )
        if self._peer is not None and ADDED.get(type(message), 1) > self._peer.version:
            unsaid = Sending(None, (due_us, 0), b"", memoryview(b""), sent)
            self._loop.call_soon(unsaid.finish)
            return unsaid
        sending = self._queue.push(encode_message(message), body, due_us, sent)
        if self._state == "open":
            if sending.size <= _AT_ONCE and self._pump_handle is None and not self._paused:
                self._pump()  # the peer can begin while this turn goes on
            self._schedule_pump()
        else:
            self._drop_queue()
        return sending

    async def close(self, why: MeshError | None = None) -> None:
        """End the link, telling the peer `why` if given; returns when the connection is gone.

        What is still queued is dropped: who needs it delivered waits for `sent` or an answer.
        """
        self.end(why, tell=why is not None)
        await asyncio.shield(self.gone)

    def end(self, why: MeshError | None, *, tell: bool, at_once: bool = False) -> None:
        """Begin to close. tell: send `why` first; at_once: flush nothing, wait for nobody."""
        if self._state == "ending":
            return
        was_open = self._state == "open"
        self._state = "ending"
        self._stop_timers()
        self._drop_queue()
        if self._transport is None:
            self.gone.set_result(None)
        elif at_once:
            self._transport.abort()
        else:
            # TLS shuts down in order: what arrives is discarded until the peer says goodbye too
            # (or `linger_us` is over). A bare close would answer unread bytes with a reset, which
            # may destroy the reason on its way.
            if tell and why is not None:
                self._transport.write(_framed(Refuse(why.to_problem())))
            self._transport.close()
        if was_open:
            self._handler.closed(self, why)
        elif not self.ready.done():
            self.ready.set_exception(why or self._lost("this node closed it"))
            self.ready.exception()  # retrieved: a dial that gave up no longer looks at it

    # Called by the protocol object.

    def connected(self, transport: asyncio.Transport) -> None:
        """TLS is up: the peer's key is proved, its right to a link is not."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER, low=_LOW_WATER)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _KERNEL_UNSENT)
        self.address = _written(transport.get_extra_info("peername"))
        self.from_port = (transport.get_extra_info("sockname") or ("", 0))[1]
        if self._state == "ending":
            transport.abort()
            return
        handshake_s = self._timing.handshake_us / 1e6
        self._timer = self._loop.call_later(handshake_s, self._handshake_overdue)
        try:
            self._peer_public = peer_key(transport.get_extra_info("ssl_object"))
            if self.dialled:
                check_key(self._peer_public, address=self.address, expect=self._expect)
        except (ProtocolViolation, PeerRefused) as problem:
            self.end(problem, tell=True)
            return
        if self.dialled:
            self._greet()

    def _greet(self) -> None:
        """Say who this node is: at once to whom it dialled, to others once they have proved it."""
        assert self._transport is not None
        self._transport.write(_framed(make_hello(self._credentials, self._hello_devices())))

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        if self._state == "ending":
            if not self._waste:
                self._waste = memoryview(bytearray(CHUNK))
            return self._waste
        return self._reader.buffer()

    def bytes_came(self, count: int) -> None:
        """`count` bytes were received into `buffer()`."""
        if self._is_ending():
            return
        now_us = monotonic_us()
        self._liveness.heard(now_us)
        try:
            for message, body in self._reader.advance(count):
                self._take(message, body, now_us)
                if self._is_ending():
                    return
        except MeshError as problem:
            self.end(problem, tell=True)

    def hung_up(self) -> None:
        """The peer closed its end in good order."""
        self.end(self._lost("it hung up"), tell=False)

    def connection_lost(self, problem: Exception | None) -> None:
        """The connection is no more, for whatever reason."""
        self.end(self._lost(str(problem or "the connection was closed")), tell=False)
        self._stop_timers()
        if not self.gone.done():
            self.gone.set_result(None)

    def pause(self) -> None:
        """The transport has enough."""
        self._paused = True

    def resume(self) -> None:
        """The transport wants more."""
        self._paused = False
        self._schedule_pump()

    def _is_ending(self) -> bool:
        return self._state == "ending"

    # Receiving.

    def _take(self, message: Message, body: memoryview, now_us: int) -> None:
        match message:
            case Refuse(problem):
                self.end(refused_by(self.address, problem), tell=False)
            case Hello():
                self._greeted(message)
            case Ping(t0_us) if self._peer is not None:
                self._pongs.append((t0_us, now_us))
                self._schedule_pump()
            case Pong(t0_us, t1_us, t2_us) if t0_us in self._pings:
                self._pings.discard(t0_us)
                self._liveness.answered()
                self.clock.sample(t0_us, t1_us, t2_us, now_us)
                if self._state == "greeting" and self.clock.measured:
                    self._open()
            case Ping() | Pong():
                raise self._out_of_place(message)
            case _:
                if self._state != "open":
                    raise self._out_of_place(message)
                self._handler.received(self, message, body)

    def _greeted(self, hello: Hello) -> None:
        if self._peer is not None:
            raise self._out_of_place(hello)
        self._peer = judge(
            self._credentials,
            self._peer_public,
            hello,
            address=self.address,
            now_s=int(time.time()),
            expect=self._expect,
        )
        if not self.dialled:
            self._greet()
        self._ask()

    def _open(self) -> None:
        self._state = "open"
        self.opened_us = monotonic_us()
        self._reader.max_body = MAX_BODY
        self._stop_timers()
        self._tick_later()
        self._schedule_pump()
        self.ready.set_result(None)
        self._handler.opened(self)

    def _body_buffer(self, message: Message, size: int) -> memoryview | None:
        return self._handler.body_buffer(self, message, size)

    # Sending.

    def _schedule_pump(self) -> None:
        """Write in the loop's next turn, so that what else this one queues is put in order."""
        if self._pump_handle is None and self._state != "ending" and not self._paused:
            self._pump_handle = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Hand the transport the most urgent frames, until it or the turn has enough."""
        self._pump_handle = None
        transport, budget = self._transport, _TURN_BYTES
        assert transport is not None
        parts, size = self._life_signs(), 0
        while not self._paused and budget > 0:
            frame = self._queue.next_frame()
            if frame is None:
                break
            parts += (frame.head, frame.chunk)
            size += len(frame.head) + len(frame.chunk)
            if frame.last:
                self._loop.call_soon(frame.sending.finish)
            if size >= _WRITE_BYTES:
                transport.writelines(_joined(parts))  # encrypted, and so copied, before it returns
                parts, size, budget = [], 0, budget - size
        if parts:
            transport.writelines(_joined(parts))
        if self._queue.queued_bytes:
            self._schedule_pump()

    def _life_signs(self) -> list[Buffer]:
        """Pongs, then a ping, stamped at the last moment before they are written."""
        if self._paused:
            return []
        signs: list[Buffer] = []
        while self._pongs:
            t0_us, t1_us = self._pongs.popleft()
            signs.append(_framed(Pong(t0_us, t1_us, monotonic_us())))
        if self._ping_due:
            self._ping_due = False
            t0_us = monotonic_us()
            self._pings.add(t0_us)
            signs.append(_framed(Ping(t0_us)))
        return signs

    def _drop_queue(self) -> None:
        for sending in self._queue.clear():
            self._loop.call_soon(sending.finish)

    # Time.

    def _ask(self) -> None:
        self._ping_due = True
        self._liveness.asked()
        self._schedule_pump()

    def _tick_later(self) -> None:
        self._timer = self._loop.call_later(self._liveness.tick_us / 1e6, self._tick)

    def _tick(self) -> None:
        now_us = monotonic_us()
        why = self._liveness.tick(now_us)
        if why is not None:
            self.end(self._lost(why), tell=False, at_once=True)
        elif time.time() >= self.peer.membership.not_after:
            self.end(self._expired(), tell=True)
        else:
            self._ask()
            self._tick_later()

    def _handshake_overdue(self) -> None:
        why = f"no agreement within {self._timing.handshake_us // 1000} ms"
        self.end(self._lost(why), tell=False, at_once=True)

    def _stop_timers(self) -> None:
        for handle in (self._timer, self._pump_handle):
            if handle is not None:
                handle.cancel()
        self._timer = self._pump_handle = None

    # What went wrong.

    def _lost(self, why: str) -> LinkLost:
        who = f"{self._peer.node_id} at {self.address}" if self._peer else self.address
        return LinkLost(
            what=f"the link to {who} is lost",
            why=why,
            fix="Check that the node runs and that the network between the two is up.",
        )

    def _expired(self) -> NotAuthorized:
        return NotAuthorized(
            what=f"the link to {self.peer.node_id} is closed",
            why="its membership has expired",
            fix="Have a new membership signed for it and join with that.",
        )

    def _out_of_place(self, message: Message) -> ProtocolViolation:
        return ProtocolViolation(
            what="the link's protocol was violated",
            why=f"a {type(message).__name__} came where none may come",
            fix="Update framemesh on the older side; if both are up to date, report this.",
        )


class LinkProtocol(asyncio.BufferedProtocol):
    """What asyncio calls, passed on to the link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._link.connected(cast(asyncio.Transport, transport))  # uvloop's is none by class

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        return self._link.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        self._link.bytes_came(nbytes)

    def eof_received(self) -> None:
        """See asyncio."""
        self._link.hung_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._link.connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._link.pause()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._link.resume()


def _framed(message: Message) -> bytes:
    header = encode_message(message)
    return open_prefix(0, 0, len(header), 0) + header


def _joined(parts: Iterable[Buffer]) -> list[Buffer]:
    """The same bytes in fewer parts, of which each becomes TLS records of its own."""
    joined: list[Buffer] = []
    small: list[Buffer] = []
    for part in parts:
        if len(part) <= _JOINED:
            small.append(part)
        else:
            joined += (b"".join(small), part)
            small.clear()
    if small:
        joined.append(b"".join(small))
    return joined


def _written(address: tuple[str, int] | None) -> str:
    if address is None:  # the connection broke before it could be asked
        return "?"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
