"""A benchmark's child processes: one JSON line asked on their stdin, one answered on their stdout.

A child ends at the end of its input, so that none outlives who started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mesh.core.errors import MeshError

ROOT = Path(__file__).resolve().parents[1]
CALL_S = 30.0
END_S = 10.0
MAX_LINE = 64 << 20


class ChildFailed(MeshError):
    """A benchmark's child process did not do what it was asked."""

    code = "child_failed"


class Child:
    """The parent's end. Made by `open_child`."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process, self._name = process, name
        self._calling = asyncio.Lock()

    async def call(self, what: str, **more: Any) -> dict[str, Any]:
        """Ask {"call": what, ...}; its answer. Raises ChildFailed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        async with self._calling:
            try:
                stdin.write(json.dumps({"call": what, **more}).encode() + b"\n")
                line = await asyncio.wait_for(stdout.readline(), CALL_S)
            except (TimeoutError, ConnectionError):
                line = b""
        if not line:
            raise self._failed(what, f"no answer came within {CALL_S:.0f} s")
        told: dict[str, Any] = json.loads(line)
        if "failed" in told:
            raise self._failed(what, told["failed"])
        return told

    def _failed(self, what: str, why: str) -> ChildFailed:
        return ChildFailed(
            what=f"{self._name} cannot do '{what}'",
            why=why,
            fix="See what it wrote above.",
        )


@asynccontextmanager
async def open_child(name: str, *command: str) -> AsyncIterator[Child]:
    """Run a command, in the checkout, that serves calls. name: for errors."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
    )
    try:
        child = Child(process, name)
        await child.call("hello")
        yield child
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_S)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answer_calls(handle: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """The child's end, for a program on asyncio: answer until the parent has no more to ask.

    handle: gets one call, never "hello"; what it raises is told to the parent.
    """
    reader = asyncio.StreamReader(limit=MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        asked = json.loads(line)
        try:
            told = {} if asked["call"] == "hello" else await handle(asked)
        except Exception as problem:  # whatever it was, it is the parent's to report
            told = {"failed": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(told), flush=True)
