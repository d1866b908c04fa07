"""The quickest of several addresses: connections raced, as Happy Eyeballs has it (RFC 8305).

Only connecting is raced. TLS and hellos follow on the one that won, so that no peer ever holds two
links of one dial. An address at which something else answers is left out, and the race goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

STAGGER_S = 0.1  # between attempts that fail in silence; RFC 8305, 5, recommends 0.25, 0.1 at least


async def connect_first(
    addresses: Sequence[str], *, local_port: int = 0
) -> tuple[socket.socket, str]:
    """A connected socket, and at which "ip:port"; of those that answer, roughly the first.

    local_port: to connect from, shared with this node's listening socket; 0: any.
    Raises OSError, the last one, when none of them answers; bound the time from outside.
    """
    loop = asyncio.get_running_loop()
    waiting = list(interleaved(addresses))
    running: dict[asyncio.Task[socket.socket], str] = {}
    problem = OSError(errno.EHOSTUNREACH, "it has no address")
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[loop.create_task(connect(address, local_port))] = address
            done, _ = await asyncio.wait(
                running, timeout=STAGGER_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )  # fmt: skip
            for task in done:
                address = running.pop(task)
                try:
                    return task.result(), address
                except OSError as failed:
                    problem = failed
        raise problem
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()


async def connect(address: str, local_port: int = 0, *, strictly: bool = False) -> socket.socket:
    """A TCP connection to "host:port", of a name to one of its addresses. Raises OSError.

    strictly: from no other port than `local_port`. Otherwise, where an earlier connection between
    the two ports still lingers (RFC 9293, TIME-WAIT), any port will do.
    """
    loop = asyncio.get_running_loop()
    host, _, port = address.rpartition(":")
    found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    for family, _, _, _, where in found[:-1]:
        with contextlib.suppress(OSError):
            return await _connected(family, where, local_port)
    try:
        return await _connected(found[-1][0], found[-1][4], local_port)
    except OSError as problem:
        if strictly or problem.errno not in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
            raise
    return await _connected(found[-1][0], found[-1][4], 0)


async def _connected(family: int, where: tuple[Any, ...], local_port: int) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        if local_port:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            connection.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", local_port))  # noqa: S104
        await asyncio.get_running_loop().sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


def share_port(listening: socket.socket) -> None:
    """Let this process connect from the port that it listens on; nobody else may listen there.

    Linux asks every socket of a port for its consent when another is bound. Given after binding, it
    holds for those to come and spoils no check that the port was free.
    """
    with contextlib.suppress(OSError):  # without, only mappings cannot be reused
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def interleaved(addresses: Sequence[str]) -> list[str]:
    """In their order, but the address families taking turns (RFC 8305, 4)."""
    first: list[str] = []
    second: list[str] = []
    for address in dict.fromkeys(addresses):
        (second if addresses and _family(address) != _family(addresses[0]) else first).append(
            address
        )
    mixed = [a for pair in zip(first, second, strict=False) for a in pair]
    return mixed + first[len(second) :] + second[len(first) :]


def _family(address: str) -> int:
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).version
    except ValueError:
        return 4  # a name
