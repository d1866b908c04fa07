"""A viewer and a vehicle beside a gateway: `python -m bench.beyondview URL FRAMES SWEEPS`.

Shows the courtyard in Chromium until so many frames were drawn, then feeds made-up sweeps; prints
as one line of JSON how many were drawn, and how many answers came.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from clients.chromium import open_chromium
from clients.cli.feeding import Answer, News, feed, feedable, recorded
from clients.sdk.address import read_address
from clients.sdk.connect import connect
from clients.sdk.http import open_http
from mesh.core.workload import Recording

FED, HZ = "infer", 2.0


async def watch(url: str, frames: int) -> dict[str, float]:
    """What was drawn, and of all frames the share that had a tile which was not there in time."""
    async with open_chromium() as chromium:
        page = await chromium.open_page(url)
        await page.until(f"globalThis.framemesh?.look().counts.pictures >= {frames}", timeout_s=120)
        shown = int(await page.evaluate("framemesh.look().counts.pictures"))
        async with open_http(read_address(url)) as gateway:
            [session] = (await gateway.status())["sessions"]
    return {"shown": shown, "late": session["frames_filled"] / max(session["frames"], 1)}


async def drive(url: str, sweeps: int) -> int:
    plugin, answered, enough = feedable(FED), 0, asyncio.Event()

    async def told(news: News) -> None:
        nonlocal answered
        answered += isinstance(news, Answer)
        if answered >= sweeps:
            enough.set()

    options = dict(plugin.options_for(Recording(None), HZ))
    options["deadline_ms"] = 400
    async with connect(url, FED, results="link", **options) as session:
        inputs = recorded(plugin, Recording(None), loops=0)
        feeding = asyncio.ensure_future(feed(session, inputs, HZ, told))
        waiting = asyncio.ensure_future(enough.wait())
        await asyncio.wait([feeding, waiting], return_when=asyncio.FIRST_COMPLETED)
        feeding.cancel()
        waiting.cancel()
    return answered


async def main(url: str, frames: str, sweeps: str) -> None:
    seen = await watch(url, int(frames))
    print(json.dumps(seen | {"answered": await drive(url, int(sweeps))}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
