"""Sessions that the client feeds: inputs go up over a mesh link, results come back over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from clients.sdk.address import Option
from clients.sdk.http import GatewayHttp
from clients.sdk.messages import json_object
from clients.sdk.resultbook import ResultBook
from clients.sdk.session import Notice, Refusal, Result, Road, Session, ended_by_gateway, now_or
from mesh.core.errors import LinkLost, MeshError, Misuse, ProtocolViolation, from_problem
from mesh.core.identity import NodeIdentity
from mesh.core.token import ClientToken
from mesh.core.wire import (
    MAX_INPUT_BYTES,
    ClientClosed,
    ClientFailed,
    ClientInput,
    ClientOpen,
    ClientOpened,
    ClientRehome,
    ClientResult,
    ClientSteer,
    InputRefused,
    Message,
)
from mesh.core.workload import Buffer
from mesh.link.endpoint import dial
from mesh.link.handshake import Credentials
from mesh.link.transport import Link

if TYPE_CHECKING:
    import av

    from clients.sdk.receiver import Receiver

_INPUT_DUE_US = 1  # equal for all inputs, which keeps their order; behind control messages
_REQUEST = 1  # one session per link


@asynccontextmanager
async def open_fed(
    gateway: GatewayHttp,
    token: ClientToken,
    workload: str,
    options: Mapping[str, Option],
    results: Road,
) -> AsyncIterator[Session]:
    """A session over a link to the gateway's node. Raises what `dial` or the gateway says."""
    node, port = _where(await gateway.status())
    credentials = Credentials(
        NodeIdentity.generate(), token.realm, membership=b"", token=gateway.address.token
    )
    session = FedSession(results)
    async with AsyncExitStack() as stack:
        receiver = None
        if results == "webrtc":
            from clients.sdk.receiver import open_receiver  # noqa: PLC0415  aiortc: if asked for

            loopback = gateway.address.on_this_machine
            opening = open_receiver(session, pictures=False, loopback=loopback)
            receiver = await stack.enter_async_context(opening)
        link = await dial(
            gateway.address.host, port, credentials, _Listener(session), tuple, expect=node
        )
        stack.push_async_callback(link.close)
        stack.callback(session._end, None)  # first: what follows is our own doing
        await session.open(link, workload, options, receiver)
        yield session


class FedSession(Session):
    """See `Session`."""

    fed = True

    def __init__(self, results: Road) -> None:
        super().__init__()
        self._road = results
        self._link: Link | None = None
        self._opened: asyncio.Future[ClientOpened] = asyncio.get_running_loop().create_future()
        self._asked: dict[int, asyncio.Future[Result]] = {}
        self._book = ResultBook()  # of results that come over a data channel

    async def open(
        self, link: Link, workload: str, options: Mapping[str, Option], receiver: Receiver | None
    ) -> None:
        """Ask for the session and wait for it. Raises what the gateway says."""
        self._link = link
        offer = await receiver.offer() if receiver is not None else ""
        link.send(ClientOpen(_REQUEST, workload, msgspec.json.encode(dict(options)), offer))
        opened = await self._opened
        self.id = opened.session
        self.description = json_object(opened.description)
        if receiver is not None:
            await receiver.accept(opened.answer_sdp)

    async def send(self, data: Buffer, *, stamp_us: int | None = None) -> int:
        """See Session."""
        self._raise_if_ended()
        number = self._next_number()
        await self._send(number, data, stamp_us)
        return number

    async def ask(self, data: Buffer, *, stamp_us: int | None = None) -> Result:
        """See Session."""
        self._raise_if_ended()
        if self._road != "link":
            raise Misuse(
                what="nothing was asked",
                why="results come over a data channel, which may lose the one that is waited for",
                fix='Open the session with results="link".',
            )
        number = self._next_number()
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            await self._send(number, data, stamp_us)
            return await answer
        finally:
            del self._asked[number]
            if answer.done() and not answer.cancelled():
                answer.exception()  # retrieved, should the sending itself have failed

    async def _send(self, number: int, data: Buffer, stamp_us: int | None) -> None:
        assert self._link is not None
        body = _bytes_of(data)
        handed_over = asyncio.Event()
        sending = self._link.send(
            ClientInput(self.id, number, now_or(stamp_us)),
            body,
            due_us=_INPUT_DUE_US,
            sent=handed_over.set,
        )
        try:
            await handed_over.wait()
        except asyncio.CancelledError:
            sending.cancel()
            raise
        self._raise_if_ended()

    def _steer(self, event: bytes) -> None:
        assert self._link is not None
        self._link.send(ClientSteer(self.id, event))

    def _end(self, why: MeshError | None) -> None:
        super()._end(why)
        waited_for: list[asyncio.Future[Any]] = [self._opened, *self._asked.values()]
        for waiting in waited_for:
            if not waiting.done():
                waiting.set_exception(why or ended_by_gateway("this end left"))
                waiting.exception()  # retrieved: whoever waits is told, and nobody has to wait

    # --- what the gateway says ------------------------------------------------------------

    def _take(self, message: Message, body: memoryview) -> None:
        match message:
            case ClientOpened() if not self._opened.done():
                self._opened.set_result(message)
            case ClientFailed() if not self._opened.done():
                self._opened.set_exception(from_problem(message.problem))
            case ClientResult():
                self._take_result(message, body)
            case InputRefused():
                self._take_refusal(message.number, from_problem(message.problem))
            case ClientRehome():
                self.notices.put(Notice(message.within_us))
            case ClientClosed():
                self._end(ended_by_gateway(message.reason))
            case _:
                raise _unexpected(message)

    def _take_result(self, message: ClientResult, body: memoryview) -> None:
        facts = json_object(message.facts)
        self.facts.put(facts)
        if self._road != "link":  # the result comes, if it does, in messages
            for result in self._book.add_facts(facts):
                self.results.put(result)
            return
        result = Result(message.frame, message.number, facts, body)
        asked = self._asked.get(message.number)
        if asked is None:
            self.results.put(result)
        elif not asked.done():
            asked.set_result(result)

    def _take_refusal(self, number: int, problem: MeshError) -> None:
        asked = self._asked.get(number)
        if asked is None:
            self.refusals.put(Refusal(number, problem))
        elif not asked.done():
            asked.set_exception(problem)

    # --- ReceiverEvents -------------------------------------------------------------------

    def picture_came(self, picture: av.VideoFrame, rtp: int, received_us: int) -> None:
        """None was asked for."""

    def encoded_came(self, data: bytes, rtp: int) -> None:
        """None was asked for."""

    def message_came(self, message: str | bytes) -> None:
        """For the receiver. Facts and the end are told over the link, surely and in order."""
        if not isinstance(message, bytes):
            return
        try:
            for result in self._book.add_part(message):
                self.results.put(result)
        except ProtocolViolation as problem:
            self._end(problem)

    def receiver_ended(self, why: LinkLost) -> None:
        """The gateway notices as soon, ends the session, and says why over the link."""


class _Listener:
    """The session's side of its link (mesh.link.transport.LinkHandler)."""

    def __init__(self, session: FedSession) -> None:
        self._session = session

    def opened(self, link: Link) -> None:
        """The session asks when it is ready to."""

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview:
        """Results have a body, nothing else has."""
        if not isinstance(message, ClientResult):
            raise _unexpected(message)
        return memoryview(bytearray(size))

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        """One message of the gateway."""
        self._session._take(message, body)

    def closed(self, link: Link, why: MeshError | None) -> None:
        """With the link the session is gone."""
        self._session._end(why)


def _where(status: Mapping[str, Any]) -> tuple[str, int]:
    """(node id, link port) from a gateway's status."""
    node, port = status.get("node"), status.get("link_port")
    if not isinstance(node, str) or type(port) is not int or not 0 < port < 65536:
        raise LinkLost(
            what="no link to the gateway",
            why="its status does not say which node it is and where it takes links",
            fix="Update framemesh on the gateway.",
        )
    return node, port


def _bytes_of(data: Buffer) -> memoryview:
    """The input as it travels. Raises Misuse if it cannot."""
    try:
        body = memoryview(data).cast("B")
    except TypeError as problem:
        raise Misuse(
            what="the input was not sent",
            why=str(problem),
            fix="Pass bytes, or a C-contiguous array.",
        ) from problem
    if len(body) > MAX_INPUT_BYTES:
        raise Misuse(
            what="the input was not sent",
            why=f"it has {len(body)} bytes, and {MAX_INPUT_BYTES} are taken",
            fix="Send smaller inputs.",
        )
    return body


def _unexpected(message: Message) -> ProtocolViolation:
    return ProtocolViolation(
        what=f"unexpected {type(message).__name__}",
        why="gateways do not send it to clients, or not now",
        fix="Update framemesh on the gateway; this link is closed.",
    )
