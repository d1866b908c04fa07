"""Sessions that are watched: opened or joined over HTTP (WHEP), received over WebRTC."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clients.sdk.address import Option
from clients.sdk.frame import Frame
from clients.sdk.framebook import FrameBook
from clients.sdk.http import SESSIONS, GatewayHttp
from clients.sdk.messages import Closed, parse_message
from clients.sdk.receiver import Receiver, open_receiver
from clients.sdk.recorder import Recorder
from clients.sdk.resultbook import ResultBook
from clients.sdk.session import Result, Session, ended_by_gateway
from mesh.core.errors import LinkLost, MeshError, Misuse, ProtocolViolation
from mesh.core.loop import monotonic_us

if TYPE_CHECKING:
    import av


@asynccontextmanager
async def open_watched(
    gateway: GatewayHttp, workload: str, options: Mapping[str, Option]
) -> AsyncIterator[Session]:
    """A session over WHEP. Raises what the gateway says, or LinkLost."""

    def opening(offer: str) -> Awaitable[tuple[str, str]]:
        return gateway.open(workload, options, offer)

    async with _watching(gateway, WatchedSession(), opening, pictures=True) as session:
        yield session


@asynccontextmanager
async def open_joined(gateway: GatewayHttp, session_id: str) -> AsyncIterator[Session]:
    """A running session, looked on at over WHEP. Raises what the gateway says, or LinkLost."""
    path = SESSIONS + urllib.parse.quote(session_id, safe="")
    pictures = (await gateway.describe(path)).get("pictures") is not False

    def joining(offer: str) -> Awaitable[tuple[str, str]]:
        return gateway.join(path, offer)

    async with _watching(gateway, JoinedSession(), joining, pictures=pictures) as session:
        yield session


@asynccontextmanager
async def _watching(
    gateway: GatewayHttp,
    session: WatchedSession,
    admission: Callable[[str], Awaitable[tuple[str, str]]],
    *,
    pictures: bool,
) -> AsyncIterator[Session]:
    """admission: (path, SDP answer) for an SDP offer."""
    loopback = gateway.address.on_this_machine
    async with open_receiver(session, pictures=pictures, loopback=loopback) as receiver:
        path, answer = await admission(await receiver.offer())
        try:
            session.begin(path, await gateway.describe(path), receiver)
            await receiver.accept(answer)
            yield session
        finally:
            session._end(None)
            with contextlib.suppress(MeshError):  # it may have ended, and the gateway too
                await gateway.close(path)


class WatchedSession(Session):
    """See `Session`."""

    def __init__(self) -> None:
        super().__init__()
        self._book = FrameBook()
        self._results = ResultBook()
        self._receiver: Receiver | None = None
        self._recorders: list[Recorder] = []

    def begin(self, path: str, description: Mapping[str, object], receiver: Receiver) -> None:
        """The gateway has admitted us."""
        self.id = urllib.parse.unquote(path.removeprefix(SESSIONS).partition("/")[0])
        self.description = description
        self._receiver = receiver

    @asynccontextmanager
    async def recording(self, path: Path) -> AsyncIterator[Recorder]:
        """See Session."""
        self._raise_if_ended()
        assert self._receiver is not None
        if self.description.get("pictures") is False:
            super().recording(path)  # says why not
        recorder = Recorder(path)
        self._recorders.append(recorder)
        try:
            await self._receiver.want_keyframe()
            yield recorder
        finally:
            self._recorders.remove(recorder)
            recorder.close()

    def _steer(self, event: bytes) -> None:
        assert self._receiver is not None
        self._receiver.steer(event)

    # --- ReceiverEvents -------------------------------------------------------------------

    def picture_came(self, picture: av.VideoFrame, rtp: int, received_us: int) -> None:
        """For the receiver."""
        self._book.add_picture(rtp, received_us)
        self.frames.put(Frame(picture, rtp, received_us, self._book))

    def encoded_came(self, data: bytes, rtp: int) -> None:
        """For the receiver."""
        for recorder in self._recorders:
            recorder.add(data, rtp)

    def message_came(self, message: str | bytes) -> None:
        """For the receiver."""
        try:
            if isinstance(message, bytes):
                results = self._results.add_part(message)
            else:
                results = self._take_text(message)
        except ProtocolViolation as problem:
            self._end(problem)
            return
        for result in results:
            self.results.put(result)

    def _take_text(self, message: str) -> list[Result]:
        said = parse_message(message)
        if isinstance(said, Closed):
            self._end(ended_by_gateway(said.reason))
            return []
        self._book.add_facts(said, monotonic_us())
        self.facts.put(said)
        return self._results.add_facts(said)

    def receiver_ended(self, why: LinkLost) -> None:
        """For the receiver."""
        self._end(why)


class JoinedSession(WatchedSession):
    """A session that others opened; see `Session`."""

    def _steer(self, event: bytes) -> None:
        raise Misuse(
            what="nothing was steered",
            why="this session is looked on at, and steered by who opened it",
            fix="Open one of your own: name a workload.",
        )
