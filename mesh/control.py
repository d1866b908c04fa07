"""What the owner of a node may ask of it while it runs: a socket in its state directory.

Whoever runs as the node's own user, or as root, may ask; nobody else, and nothing from the network.
One line of JSON each way. A connection asks once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Protocol, TypeAlias

import msgspec

from mesh.core.errors import (
    LinkLost,
    MeshError,
    NotAuthorized,
    Problem,
    ProtocolViolation,
    from_problem,
)
from mesh.core.wire import MALFORMED
from mesh.netcheck import NetReport

log = logging.getLogger(__name__)

SOCKET = "control"
MAX_LINE = 4096
MAX_ANSWER = 1 << 20
MAX_WITHIN_MS = 600_000
ASK_TIMEOUT_S = 5.0  # to say what is wanted
_CREDENTIALS = struct.Struct("3i")  # SO_PEERCRED: pid, uid, gid


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Finish what is under way, take nothing new, and end; after so long in any case."""

    within_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_WITHIN_MS)]


class Reread(msgspec.Struct, frozen=True, tag="reread"):
    """Bulletins were put into the state directory: believe them and pass them on."""


class Check(msgspec.Struct, frozen=True, tag="check"):
    """Say how the node reaches others."""


class Checked(msgspec.Struct, frozen=True, tag="checked"):
    """What was found."""

    report: NetReport


class Known(msgspec.Struct, frozen=True, tag="known"):
    """The node believes what the state directory says, and has told whom it is linked with."""

    links: Annotated[int, msgspec.Meta(ge=0)]
    link_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0  # where it takes others


class Draining(msgspec.Struct, frozen=True, tag="draining"):
    """It has begun. sessions: that are still served."""

    sessions: Annotated[int, msgspec.Meta(ge=0)]


class Drained(msgspec.Struct, frozen=True, tag="drained"):
    """The node ends now. finished: whether nothing was under way any more."""

    finished: bool


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It is not done."""

    problem: Problem


Request: TypeAlias = Drain | Reread | Check
News: TypeAlias = Draining | Drained | Known | Checked | Refused
_decode_request = msgspec.json.Decoder(Request).decode
_decode_news = msgspec.json.Decoder(News).decode


class Drainable(Protocol):
    """What is asked of a node."""

    @property
    def port(self) -> int:
        """Where it takes links."""
        ...

    @property
    def sessions(self) -> int:
        """Served now."""
        ...

    async def drain(self, within_s: float) -> bool:
        """Finish what is under way and take nothing new; whether it was finished in time."""
        ...

    def leave(self) -> None:
        """End soon: whoever runs the node is told."""
        ...

    async def netcheck(self) -> NetReport:
        """How the node reaches others."""
        ...

    def reread(self) -> int:
        """Take up what the state directory says of the realm; how many members it was told."""
        ...


@asynccontextmanager
async def serve_control(home: Path, node: Drainable) -> AsyncIterator[None]:
    """Listen in the state directory. A node that cannot goes on without, and says so."""
    try:
        server = await _listen(home, node)
    except OSError as problem:
        log.warning("`framemesh drain` will not reach this node: %s", problem)
        yield
        return
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            (home / SOCKET).unlink()


async def _listen(home: Path, node: Drainable) -> asyncio.Server:
    with _short(home / SOCKET) as path, socket.socket(socket.AF_UNIX) as trial:
        if trial.connect_ex(path) == 0:
            raise FileExistsError("another node runs with the same state directory")
        (home / SOCKET).unlink(missing_ok=True)  # of a node that was killed
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
    return await asyncio.start_unix_server(_Handler(node).serve, sock=listener, limit=MAX_LINE)


class _Handler:
    """Answers connections."""

    def __init__(self, node: Drainable) -> None:
        self._node = node

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One of them."""
        try:
            await self._answer(reader, writer)
        except MeshError as problem:
            _send(writer, Refused(problem.to_problem()))
        except (OSError, TimeoutError, ValueError):
            log.info("whoever asked on the control socket went away")
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _require_owner(writer)
        async with asyncio.timeout(ASK_TIMEOUT_S):
            line = await reader.readline()
        try:
            request = _decode_request(line)
        except MALFORMED as problem:
            raise ProtocolViolation(
                what="the request is refused",
                why=f"it cannot be read: {problem}",
                fix="Use the `framemesh` command of the node's own version.",
            ) from problem
        if isinstance(request, Reread):
            _send(writer, Known(self._node.reread(), self._node.port))
            return
        if isinstance(request, Check):
            _send(writer, Checked(await self._node.netcheck()))
            return
        _send(writer, Draining(self._node.sessions))
        finished = await self._node.drain(request.within_ms / 1000)
        _send(writer, Drained(finished))
        self._node.leave()


def _require_owner(writer: asyncio.StreamWriter) -> None:
    """Raises NotAuthorized unless the asker is the node's user, or root."""
    asker: socket.socket = writer.get_extra_info("socket")
    credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    if uid not in (0, os.geteuid()):
        raise NotAuthorized(
            what="the request is refused",
            why=f"the node runs as user {os.geteuid()}, and user {uid} asks",
            fix="Ask as the node's own user, or as root.",
        )


def _send(writer: asyncio.StreamWriter, news: News) -> None:
    writer.write(msgspec.json.encode(news) + b"\n")


async def ask_to_drain(home: Path, within_s: float) -> AsyncIterator[Draining | Drained]:
    """Have the node of a state directory drain, and hear of it until it ends.

    Raises LinkLost if none runs there or it ends otherwise, NotAuthorized.
    """
    async for news in _ask(home, Drain(round(within_s * 1000))):
        if isinstance(news, Draining | Drained):
            yield news
        if isinstance(news, Drained):
            return
    raise LinkLost(
        what="the node ended before it had drained",
        why="something else ended it, or it failed",
        fix="Its log says why.",
    )


async def ask_to_reread(home: Path) -> Known:
    """Have the node of a state directory take up new bulletins, and tell its members.

    Raises LinkLost if none runs there, NotAuthorized.
    """
    async for news in _ask(home, Reread()):
        if isinstance(news, Known):
            return news
    raise LinkLost(
        what="the node did not answer",
        why="something ended it, or it failed",
        fix="Its log says why; it takes up what is in its state directory when it starts again.",
    )


async def ask_to_check(home: Path) -> NetReport:
    """How the node of a state directory reaches others. Raises LinkLost, NotAuthorized."""
    async for news in _ask(home, Check()):
        if isinstance(news, Checked):
            return news.report
    raise LinkLost(
        what="the node did not answer",
        why="something ended it, or it failed",
        fix="Its log says why.",
    )


async def _ask(home: Path, request: Request) -> AsyncIterator[News]:
    try:
        with _short(home / SOCKET) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_ANSWER)
    except OSError as problem:
        raise LinkLost(
            what="no node to ask",
            why=f"nothing answers in {home} ({problem.strerror or problem})",
            fix="Name the state directory of a running node with --state or --config.",
        ) from problem
    try:
        writer.write(msgspec.json.encode(request) + b"\n")
        while line := await reader.readline():
            news = _decode_news(line)
            if isinstance(news, Refused):
                raise from_problem(news.problem)
            yield news
    finally:
        writer.close()


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A path for a socket: the kernel takes 107 bytes, and state directories may have more."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
