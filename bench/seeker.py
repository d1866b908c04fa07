"""A finder `dht` that looks again and again: `python -m bench.seeker HOME SETTINGS`.

For each line of input one look: prints as JSON the milliseconds from asking until each other node's
advert was found and verified, by name, for as long as the line says (milliseconds).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from discovery.dht.finder import create
from mesh.core.errors import MeshError
from mesh.core.home import NodeHome
from mesh.peers.advert import read_advert, sign_advert


async def main(path: str, settings: str) -> None:
    home, now_s = NodeHome(Path(path)), int(time.time())
    identity = home.identity()
    advert = sign_advert(
        identity,
        realm_public=bytes(32),
        port=7000,
        roles=("gateway",),
        name="seeker",
        sequence=now_s,
        not_after_s=now_s + 3600,
        serves=("light",),
    )
    began_s, found = time.perf_counter(), dict[str, float]()

    def came(blob: bytes, addresses: Sequence[str]) -> None:
        try:
            seen = read_advert(blob, int(time.time()))
        except MeshError:
            return
        if "worker" in seen.roles:
            found.setdefault(seen.name, (time.perf_counter() - began_s) * 1000)

    async with create(json.loads(settings)).open(advert, 7000, came) as session:
        session.secret_is(bytes(range(32)))  # type: ignore[attr-defined]
        print("up", flush=True)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            found.clear()
            began_s = time.perf_counter()
            session.look()  # type: ignore[attr-defined]
            await asyncio.sleep(int(line) / 1000)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
