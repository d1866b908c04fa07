"""A finder in a process of its own: prints one JSON line per sighting, obeys lines of input.

usage: node.py NAME PORT SEQUENCE KEY_FILE [SETTINGS-JSON]

`update N` announces the advert with sequence N; the end of the input ends the process orderly.
SETTINGS are the finder's, but for `finder` (a module of discovery's, "mdns") and `roles`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from pathlib import Path

import uvloop

from mesh.core.errors import MeshError
from mesh.core.identity import NodeIdentity
from mesh.peers.advert import read_advert, sign_advert

REALM = bytes(range(32))


def say(**facts: object) -> None:
    print(json.dumps(facts | {"us": time.monotonic_ns() // 1000}), flush=True)


async def main(name: str, port: str, sequence: str, key: str, settings: str = "{}") -> None:
    identity = NodeIdentity.load_or_create(Path(key))
    chosen = json.loads(settings)
    module = importlib.import_module(f"discovery.{chosen.pop('finder', 'mdns')}")
    roles = chosen.pop("roles", ["worker"])

    def advert(sequence: int) -> bytes:
        return sign_advert(
            identity,
            realm_public=REALM,
            port=int(port),
            roles=roles,
            name=name,
            sequence=sequence,
            not_after_s=int(time.time()) + 600,
        )

    def found(blob: bytes, addresses: list[str]) -> None:
        try:
            seen = read_advert(blob, int(time.time()))
        except MeshError as problem:
            say(refused=str(problem))
        else:
            if seen.node != identity.public_key:
                say(name=seen.name, sequence=seen.sequence, port=seen.port, at=addresses)

    opened = module.create(chosen).open(advert(int(sequence)), int(port), found)
    async with opened as finder:
        say(running=True)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split():
            await finder.update(advert(int(line[1])))
    say(running=False)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
