"""Selkies (PyPI) in WebRTC mode, in its own page: it streams an X screen with the moving picture.

It runs as published, in an environment of its own: `selkies` on the PATH, or what the variable
FRAMEMESH_SELKIES names. Needs Xvfb, and what bench.streaming.screen needs. Its page is changed in
one point: what it receives is also shown by the benchmark's viewer, which tells when. It is given
no STUN or TURN server: by default it would ask public ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench.childprocess import ChildFailed, open_child
from bench.streaming.browser import Browser
from bench.streaming.watch import SETTLE_S, Watched, window
from bench.victim import free_port

SYSTEM_PYTHON = "/usr/bin/python3"
START_S = 40.0
END_S = 10.0
VARIABLE = "FRAMEMESH_SELKIES"
SETTINGS = {
    "MODE": "webrtc",
    "ENABLE_BASIC_AUTH": "false",
    "AUDIO_ENABLED": "false",
    "GAMEPAD_ENABLED": "false",
    "ENABLE_RESIZE": "false",
    "USE_CPU": "true",
    "STUN_HOST": "127.0.0.1",
    "TURN_HOST": "127.0.0.1",
    "TURN_SHARED_SECRET": "",
}


def executable() -> str | None:
    """Where Selkies is; None if something that it takes is not installed."""
    found = os.environ.get(VARIABLE) or shutil.which("selkies")
    return found if found and shutil.which("Xvfb") and Path(SYSTEM_PYTHON).exists() else None


async def watch_selkies(
    browser: Browser, options: Mapping[str, Any], bitrate: int, seconds: float
) -> Watched:
    """One run. Raises MeshError if it does not come about."""
    async with AsyncExitStack() as stack:
        display = await stack.enter_async_context(_x_server(options))
        screen = await stack.enter_async_context(
            open_child(
                "the X screen",
                *("env", f"DISPLAY={display}", SYSTEM_PYTHON, "-m", "bench.streaming.screen"),
                json.dumps(dict(options)),
            )
        )
        url = await stack.enter_async_context(_server(display, options, bitrate))
        viewer = await stack.enter_async_context(browser.hooked(url))
        await viewer.page.until("globalThis.bench && bench.views() > 0 && bench.count(0) > 0")
        await asyncio.sleep(SETTLE_S)
        return await window(viewer, 0, screen, seconds)


@asynccontextmanager
async def _x_server(options: Mapping[str, Any]) -> AsyncIterator[str]:
    """An X server without a screen; its display."""
    size = f"{options['width']}x{options['height']}x24"
    process = await asyncio.create_subprocess_exec(
        *("Xvfb", "-displayfd", "1", "-screen", "0", size, "-nolisten", "tcp"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        number = await asyncio.wait_for(process.stdout.readline(), START_S)
        yield f":{int(number)}"
    finally:
        await _end(process)


@asynccontextmanager
async def _server(display: str, options: Mapping[str, Any], bitrate: int) -> AsyncIterator[str]:
    """Selkies itself; where its page is."""
    program = executable()
    assert program is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="framemesh-selkies-") as folder:
        settings = {
            **SETTINGS,
            "PORT": str(port),
            "FRAMERATE": str(options["fps"]),
            "VIDEO_BITRATE": str(bitrate // 1000),
            "MANUAL_WIDTH": str(options["width"]),
            "MANUAL_HEIGHT": str(options["height"]),
            "JS_SOCKET_PATH": folder,
        }
        told = {f"SELKIES_{name}": value for name, value in settings.items()}
        process = await asyncio.create_subprocess_exec(
            program,
            env={**os.environ, **told, "DISPLAY": display, "HOME": folder, "PYTHONPATH": ""},
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}/"
            await _answering(url)
            yield url
        finally:
            await _end(process)


async def _answering(url: str) -> None:
    """Wait until a page is there. Raises ChildFailed."""
    try:
        async with asyncio.timeout(START_S), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(url) as answer:
                        await answer.read()
                        return
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.2)
    except TimeoutError:
        raise ChildFailed(
            what="Selkies does not start",
            why=f"its page is not there after {START_S:.0f} s",
            fix="Start it by hand to see why.",
        ) from None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), END_S)
    except TimeoutError:
        process.kill()
        await process.wait()
