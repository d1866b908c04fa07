"""Clients that come over a link: vehicles, scripts, the SDK. Bulk inputs in, results out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from mesh.channel import Channel
from mesh.core.errors import ContentRefused, MeshError, ProtocolViolation
from mesh.core.token import ClientToken
from mesh.core.wire import (
    MALFORMED,
    MAX_INPUT_BYTES,
    ClientClose,
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
from mesh.core.workload import SessionRequest
from mesh.gateway import Gateway
from mesh.session import Session

log = logging.getLogger(__name__)

# A result of a fed session is due at once, but behind control messages and urgent pieces.
RESULT_DUE_US = 1
MAX_OPENING = 4  # per client, at a time
_NOT_JSON = (*MALFORMED, TypeError)


@dataclass(slots=True)
class _Client:
    """One linked client."""

    channel: Channel
    token: ClientToken
    sessions: set[str] = field(default_factory=set)
    opening: int = 0


class ClientDesk:
    """Serves linked clients through the gateway's own door."""

    def __init__(self, gateway: Gateway, spawn: Callable[..., asyncio.Task[None]]) -> None:
        """spawn: starts a task under the node's care."""
        self._gateway = gateway
        self._spawn = spawn
        self._clients: dict[int, _Client] = {}  # by channel identity: one node may come twice

    def welcome(self, channel: Channel, token: ClientToken) -> None:
        """A client is linked."""
        self._clients[id(channel)] = _Client(channel, token)

    def gone(self, channel: Channel) -> None:
        """Its link ended, and with it its sessions."""
        client = self._clients.pop(id(channel), None)
        if client is not None:
            for session in list(client.sessions):
                self._gateway.end_session(session, "its client is gone")

    def drain(self, within_us: int) -> None:
        """This gateway will be gone in so long: tell every session's client."""
        for client in self._clients.values():
            for session in client.sessions:
                client.channel.send(ClientRehome(session, within_us))

    def body_buffer(self, channel: Channel, message: Message, size: int) -> memoryview | None:
        """Inputs of a session of this client are received; nothing else has a body."""
        if not isinstance(message, ClientInput):
            raise _unexpected(message)
        if size > MAX_INPUT_BYTES:
            raise ProtocolViolation(
                what=f"input {message.number} is refused",
                why=f"it has {size} bytes, and {MAX_INPUT_BYTES} are allowed",
                fix="Send smaller inputs; this link is closed.",
            )
        # One that belongs to no session is discarded here and refused when it is complete.
        session = self._session(channel, message.session)
        return memoryview(bytearray(size)) if session is not None else None

    def received(self, channel: Channel, message: Message, body: memoryview) -> None:
        """One message from a client."""
        client = self._clients.get(id(channel))
        if client is None:
            return
        match message:
            case ClientOpen():
                self._open(client, message)
            case ClientInput():
                self._input(client, message, body)
            case ClientSteer():
                self._steer(client, message)
            case ClientClose():
                if message.session in client.sessions:
                    client.sessions.discard(message.session)
                    self._gateway.end_session(message.session, "its client closed it")
            case _:
                raise _unexpected(message)

    def _open(self, client: _Client, message: ClientOpen) -> None:
        if client.opening >= MAX_OPENING:
            raise ProtocolViolation(
                what="a session is not opened",
                why=f"{MAX_OPENING} others of this client are still being opened",
                fix="Wait for the answers; this link is closed.",
            )
        client.opening += 1
        self._spawn(self._answer(client, message))

    async def _answer(self, client: _Client, message: ClientOpen) -> None:
        session_id = ""

        def deliver(frame: int, number: int, facts: bytes, result: bytes) -> None:
            body = b"" if message.offer_sdp else result  # then it goes over WebRTC instead
            client.channel.send(
                ClientResult(session_id, frame, number, facts), body, due_us=RESULT_DUE_US
            )

        def ended(reason: str) -> None:
            if session_id:
                client.sessions.discard(session_id)
                client.channel.send(ClientClosed(session_id, reason[:1000]))

        try:
            options = _json_object(message.options)
            opened = await self._gateway.open_session(
                client.token,
                SessionRequest(message.workload, options),
                message.offer_sdp,
                deliver,
                ended,
            )
        except MeshError as problem:
            client.channel.send(ClientFailed(message.request, problem.to_problem()))
            return
        except Exception:
            # A workload's or our own bug: it costs this client its session, never the node.
            log.exception("opening a session of '%s' failed", message.workload)
            client.channel.send(ClientFailed(message.request, _our_fault().to_problem()))
            return
        finally:
            client.opening -= 1
        session_id = opened.session_id
        if id(client.channel) not in self._clients:
            self._gateway.end_session(session_id, "its client is gone")
            return
        client.sessions.add(session_id)
        description = msgspec.json.encode(dict(opened.description))
        client.channel.send(
            ClientOpened(message.request, session_id, description, opened.answer_sdp)
        )

    def _input(self, client: _Client, message: ClientInput, body: memoryview) -> None:
        session = self._session(client.channel, message.session)
        try:
            if session is None:
                raise ContentRefused(
                    what=f"input {message.number} is not taken",
                    why=f"session {message.session} is not open for this client",
                    fix="Open a session first.",
                )
            session.offer_input(message.number, message.stamp_us, body)
        except MeshError as problem:
            client.channel.send(InputRefused(message.session, message.number, problem.to_problem()))

    def _steer(self, client: _Client, message: ClientSteer) -> None:
        session = self._session(client.channel, message.session)
        if session is None:
            return  # it ended while this was on its way
        try:
            session.on_input(_json_object(message.event))
        except MeshError as problem:
            client.channel.send(InputRefused(message.session, 0, problem.to_problem()))

    def _session(self, channel: Channel, session_id: str) -> Session | None:
        client = self._clients.get(id(channel))
        if client is None or session_id not in client.sessions:
            return None
        return self._gateway.session(session_id)


def _json_object(text: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except _NOT_JSON as problem:
        raise ContentRefused(
            what="the message is refused", why=f"it is no JSON object: {problem}", fix="Send one."
        ) from problem


def _our_fault() -> MeshError:
    return MeshError(
        what="the session is not opened",
        why="the gateway failed at it",
        fix="Its log says how; report it to the workload's authors.",
    )


def _unexpected(message: Message) -> ProtocolViolation:
    return ProtocolViolation(
        what=f"unexpected {type(message).__name__}",
        why="clients do not send it, or not with a body",
        fix="Update the sender; this link is closed.",
    )
