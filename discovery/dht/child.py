"""Keeps the hash table's process: starts it, starts it again when it ends, and talks to it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mesh.peers.backoff import BackOff

log = logging.getLogger(__name__)

BACK_OFF = BackOff(first_us=500_000, longest_us=30_000_000)
STEADY_S = 60.0  # a process that lasted this long had not failed to start
LINE_LIMIT = 1 << 17
ENDS_S = 2.0


class News(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line that it says, see `discovery.dht.process`. Most of it is strangers' words."""

    failed: str = ""
    peers: Annotated[str, Meta(pattern=r"\A[0-9a-f]{0,40}\Z")] = ""
    slots: Annotated[tuple[int, ...], Meta(max_length=4096)] = ()
    item: Annotated[str, Meta(pattern=r"\A[0-9a-f]{0,64}\Z")] = ""
    value: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2}){0,1024}\Z")] = ""
    stored: Annotated[str, Meta(pattern=r"\A[0-9a-f]{0,64}\Z")] = ""
    by: int = 0


_decode = msgspec.json.Decoder(News).decode


class Child:
    """The process. started: called when a new one can be asked; heard: with each line it says."""

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        started: Callable[[], None],
        heard: Callable[[News], None],
    ) -> None:
        self._arguments = (sys.executable, "-m", "discovery.dht.process", json.dumps(settings))
        self._started, self._heard = started, heard
        self._process: asyncio.subprocess.Process | None = None
        self._draw = random.Random()  # noqa: S311  jitter, no secret

    def ask(self, **words: Any) -> None:
        """Have it do something; nothing happens while there is no process."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(words).encode() + b"\n")

    async def keep(self) -> None:
        """Run one process after another, until cancelled."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            begun_s = loop.time()
            ended = await self._run()
            failures = 1 if loop.time() - begun_s > STEADY_S else failures + 1
            pause_s = BACK_OFF.delay_us(failures, self._draw) / 1e6
            log.warning("the hash table's process ended (%s); the next in %.1f s", ended, pause_s)
            await asyncio.sleep(pause_s)

    async def _run(self) -> str:
        """One process, to its end; how it ended."""
        process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,  # an interrupt from the terminal is the node's to handle
        )
        self._process = process
        try:
            self._started()
            await self._listen(process)
            return f"status {await process.wait()}"
        except (msgspec.DecodeError, ValueError) as problem:  # ValueError: a line without an end
            return f"it said what cannot be read: {problem}"
        finally:
            self._process = None
            await end(process)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            news = _decode(line)
            if news.failed:
                log.warning("the hash table's process: %s", news.failed[:300])
            self._heard(news)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process with its input; by force if that does not do."""
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(ENDS_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
