"""The pairing protocol over TCP: four messages, each with its length before it (two bytes).

Guest: its half of SPAKE2. Host: its half. Guest, sealed: its public key and name. Host, sealed:
what it is admitted with. Whoever cannot unseal says nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from discovery.pairing.exchange import (
    MAX_MESSAGE,
    Code,
    Exchange,
    Request,
    wrong_code,
)
from mesh.core.errors import ContentRefused, LinkLost, MeshError, NotAuthorized
from mesh.core.wire import MALFORMED

log = logging.getLogger(__name__)

TRIES = 3
CODE_S = 600.0
EXCHANGE_S = 10.0
AT_ONCE = 4  # guests

# Makes what a guest is admitted with.
Admit = Callable[[Request], bytes]


class Host:
    """Shows one code, and admits the one guest that knows it."""

    def __init__(self, code: Code, admit: Admit) -> None:
        self._code, self._admit = code, admit
        self._tries = TRIES
        self._guests = 0
        # The guest and its words; NotAuthorized when the tries are used up.
        self.paired: asyncio.Future[tuple[Request, str]] = (
            asyncio.get_running_loop().create_future()
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self._guests >= AT_ONCE:
            writer.close()
            return
        self._guests += 1
        try:
            async with asyncio.timeout(EXCHANGE_S):
                await self._exchange(reader, writer)
        except (OSError, TimeoutError, EOFError, MeshError) as problem:
            log.info("a guest was not admitted: %s", problem)
        finally:
            self._guests -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(self._code, "host")
        theirs = await _receive(reader)
        if self.paired.done():
            raise wrong_code()
        _send(writer, exchange.message)
        exchange.agree(theirs)
        sealed = await _receive(reader)
        if self.paired.done():  # by another, or by wrong guesses, while this one thought
            raise wrong_code()
        try:
            request = _read(exchange.unseal("guest", sealed))
        except NotAuthorized:
            self._count_wrong()
            raise
        self._tries = 0
        _send(writer, exchange.seal("host", self._admit(request)))
        await writer.drain()
        self.paired.set_result((request, exchange.words()))

    def _count_wrong(self) -> None:
        self._tries -= 1
        log.warning("a wrong code was tried; %d tries are left", self._tries)
        if self._tries <= 0:
            self.paired.set_exception(wrong_code())
            self.paired.exception()  # retrieved: whoever showed the code may have gone


async def ask(host: str, port: int, code: Code, request: Request) -> tuple[bytes, str]:
    """What the machine at host:port admits this one with, and the words to compare.

    Raises NotAuthorized (the code is wrong), ContentRefused or LinkLost.
    """
    try:
        async with asyncio.timeout(EXCHANGE_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await _asked(reader, writer, code, request)
            finally:
                writer.close()
    except EOFError as problem:
        raise wrong_code() from problem
    except (OSError, TimeoutError) as problem:
        raise LinkLost(
            what=f"no pairing with {host}:{port}",
            why=str(problem) or "it does not answer",
            fix="Check the address, and that `framemesh pair` runs there.",
        ) from problem


async def _asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, code: Code, request: Request
) -> tuple[bytes, str]:
    exchange = Exchange(code, "guest")
    _send(writer, exchange.message)
    exchange.agree(await _receive(reader))
    _send(writer, exchange.seal("guest", msgspec.msgpack.encode(request)))
    return exchange.unseal("host", await _receive(reader)), exchange.words()


def _read(plain: bytes) -> Request:
    try:
        return msgspec.msgpack.decode(plain, type=Request)
    except MALFORMED as problem:
        raise ContentRefused(
            what="a request to be admitted is refused",
            why=str(problem),
            fix="Bring framemesh to the same version on both machines.",
        ) from problem


def _send(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(len(message).to_bytes(2) + message)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(2))
    if size > MAX_MESSAGE:
        raise ContentRefused(
            what="pairing ended",
            why=f"a message of {size} bytes",
            fix="Bring framemesh to the same version on both machines.",
        )
    return await reader.readexactly(size)
