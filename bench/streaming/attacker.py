"""`python -m bench.streaming.attacker OPTIONS`: malformed datagrams to a port, at an even rate.

OPTIONS as JSON: address [ip, port] to send to, username (see bench.streaming.garbage), seed,
per_s. Calls: `begin` (with `spoofed`: [ip, port] to send from, which takes a raw socket, or null
for sockets of its own), `end`, which answers how many it has sent and for how long.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import sys
from typing import Any

from bench.childprocess import answer_calls
from bench.streaming.garbage import datagrams
from bench.streaming.source import now_us

STRANGERS = 8
BEAT_S = 0.01


class Attacker:
    """Sends as long as it is told to."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._address = (options["address"][0], int(options["address"][1]))
        self._garbage = datagrams(options["seed"], options["username"].encode())
        self._per_s = options["per_s"]
        strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STRANGERS)]
        self._strangers = itertools.cycle(strangers)
        self._raw: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._sent = 0
        self._began_us = 0

    async def handle(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One call of the benchmark's."""
        match asked["call"]:
            case "begin":
                self._sent, self._began_us = 0, now_us()
                self._task = asyncio.create_task(self._run(asked["spoofed"]))
                return {}
            case "end":
                assert self._task is not None
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
                return {"sent": self._sent, "seconds": (now_us() - self._began_us) / 1e6}
        raise ValueError(asked["call"])

    async def _run(self, spoofed: list[Any] | None) -> None:
        while True:
            due = int((now_us() - self._began_us) / 1e6 * self._per_s)
            while self._sent < due:
                self._send(next(self._garbage), spoofed)
                self._sent += 1
            await asyncio.sleep(BEAT_S)

    def _send(self, datagram: bytes, spoofed: list[Any] | None) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            if spoofed is None:
                next(self._strangers).sendto(datagram, self._address)
            else:
                self._send_from(spoofed[0], int(spoofed[1]), datagram)

    def _send_from(self, ip: str, port: int, datagram: bytes) -> None:
        """As another's, in an IPv4 header of our own (ip(7)); UDP without a checksum."""
        if self._raw is None:
            self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        udp = struct.pack("!HHHH", port, self._address[1], 8 + len(datagram), 0) + datagram
        there = socket.inet_aton(self._address[0])
        head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0)
        self._raw.sendto(head + socket.inet_aton(ip) + there + udp, (self._address[0], 0))


async def serve(options: dict[str, Any]) -> None:
    """Until its input ends."""
    await answer_calls(Attacker(options).handle)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
