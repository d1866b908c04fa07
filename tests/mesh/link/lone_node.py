"""A node in a process of its own, for tests that stop or kill it: `lone_node.py KEY MEMBERSHIP`.

Prints its port, then a line for each link that opens or closes.
"""

import asyncio
import sys
import time
from pathlib import Path

import uvloop

from mesh.core.identity import NodeIdentity
from mesh.core.membership import read_membership
from mesh.link.endpoint import listen
from mesh.link.handshake import Credentials
from mesh.link.liveness import LinkTiming


class Printer:
    def opened(self, link):
        print("opened", flush=True)

    def body_buffer(self, link, message, size):
        return None

    def received(self, link, message, body):
        link.send(message)

    def closed(self, link, why):
        print("closed", why, flush=True)


async def serve(credentials: Credentials) -> None:
    patient = LinkTiming(silent_us=20_000_000)  # the silence under test is its own
    async with listen(
        "127.0.0.1", 0, credentials, Printer(), lambda: (), timing=patient
    ) as listener:
        print(listener.port, flush=True)
        await asyncio.get_running_loop().create_future()


identity, blob = NodeIdentity.load(Path(sys.argv[1])), Path(sys.argv[2]).read_bytes()
member = read_membership(blob, identity.public_key, int(time.time()))
uvloop.run(serve(Credentials(identity, member.realm, blob)))
