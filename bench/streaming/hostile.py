"""Our stream while a stranger sends malformed datagrams to its port: what the viewer notices."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import defaultdict
from typing import Any, Final

from bench.childprocess import Child, ChildFailed
from bench.impair import without_candidates
from bench.streaming.browser import Browser, Viewer
from bench.streaming.watch import OURS, SETTLE_S, Sender, window

ATTACKER: Final = Sender("attacker", (sys.executable, "-m", "bench.streaming.attacker"))
LOOPBACK: Final = re.compile(r" 127\.0\.0\.1 (\d+) typ host")
PER_S = 1000
ROUNDS = 3
QUIET, STRANGERS, SPOOFED = "quiet", "strangers", "spoofed"


async def attacked(
    browser: Browser, options: dict[str, Any], seconds: float, seed: int
) -> tuple[dict[str, list[float]], int, float]:
    """Ages of frames, milliseconds, in quiet, under strangers' datagrams, and under datagrams that
    bear the viewer's own address, turn by turn; crashes; datagrams a second that were sent.
    """
    ages: defaultdict[str, list[float]] = defaultdict(list)
    sent, lasted = 0, 0.0
    async with OURS.opened(options) as child, browser.viewer() as viewer:
        view, told = await _connected(viewer, child)
        async with ATTACKER.opened(told | {"seed": seed, "per_s": PER_S}) as attacker:
            spoofed = (await child.call("viewer"))["address"]
            for kind in (QUIET, STRANGERS, SPOOFED) * ROUNDS:
                if kind != QUIET:
                    await attacker.call("begin", spoofed=spoofed if kind == SPOOFED else None)
                try:
                    seen = await window(viewer, view, child, seconds / ROUNDS)
                except ChildFailed:
                    return ages, 1, sent / max(lasted, 1e-3)
                ages[kind] += seen.ages_ms()
                if kind != QUIET:
                    did = await attacker.call("end")
                    sent, lasted = sent + did["sent"], lasted + did["seconds"]
    crashes = sum(not ages[kind] for kind in (QUIET, STRANGERS, SPOOFED))
    return ages, crashes, sent / lasted


def on_loopback(answer: str) -> str:
    """An answer whose candidates are those on loopback: nothing is sent anywhere else."""
    lines = answer.splitlines(keepends=True)
    return "".join(
        line for line in lines if not line.startswith("a=candidate") or LOOPBACK.search(line)
    )


async def _connected(viewer: Viewer, child: Child) -> tuple[int, dict[str, Any]]:
    """A view that shows pictures; and what its attacker is told."""
    view = int(await viewer.call("open", "canvas", True))
    offer = await viewer.call("offer", view)
    told = await child.call("answer", sdp=without_candidates(offer), session=0)
    answer = on_loopback(told["sdp"])
    await viewer.call("accept", view, answer)
    await viewer.first_picture(view)
    await asyncio.sleep(SETTLE_S)
    [port] = {match[1] for match in LOOPBACK.finditer(answer)}
    names = [re.findall(r"a=ice-ufrag:(\S+)", sdp)[0] for sdp in (answer, offer)]
    return view, {"address": ["127.0.0.1", int(port)], "username": ":".join(names)}
