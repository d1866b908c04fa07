"""Drives a headless Chromium over the DevTools protocol (CDP), for checks of the viewer page.

Each browser has a profile of its own in a temporary folder, and ends, with all its processes,
when the block that opened it does. What the page logs as an error, throws and does not catch, or
fails to load is collected: a page under check has to be free of all three.
Protocol: https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from mesh.core.errors import MeshError

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    # Nothing but the page under check may use the network or the processor.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
    # A headless page counts as hidden at times, and hidden pages are slowed down.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
)
START_S = 60.0
CALL_S = 30.0
END_S = 5.0
POLL_S = 0.05
MAX_NOTED = 200  # page errors kept


class BrowserUnavailable(MeshError):
    """No Chromium is installed, or it does not start."""

    code = "browser_unavailable"


class PageFailed(MeshError):
    """The page, or the script evaluated in it, did not do what was waited for."""

    code = "page_failed"


def find_chromium() -> str:
    """The browser's executable. Raises BrowserUnavailable with the line that installs it."""
    for name in BINARIES:
        path = shutil.which(name)
        if path is not None:
            return path
    raise BrowserUnavailable(
        what="no Chromium to drive",
        why=f"none of {', '.join(BINARIES)} is on the PATH",
        fix="Install one: sudo apt-get install --yes chromium",
    )


@contextlib.asynccontextmanager
async def open_chromium(
    *, width: int = 1280, height: int = 720, flags: Sequence[str] = ()
) -> AsyncIterator[Chromium]:
    """A browser with windows of that size, CSS pixels. Raises BrowserUnavailable."""
    executable = find_chromium()
    with tempfile.TemporaryDirectory(
        prefix="framemesh-chromium-", ignore_cleanup_errors=True
    ) as profile:
        arguments = [*FLAGS, *flags, f"--window-size={width},{height}"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # Chromium's sandbox refuses to run as root
        process = await asyncio.create_subprocess_exec(
            executable,
            *arguments,
            f"--user-data-dir={profile}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # its helpers end with it, as one process group
        )
        assert process.stderr is not None
        try:
            address, said = await _devtools_address(process.stderr)
            if address is None:
                raise _did_not_start(said)
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(address, max_msg_size=0, heartbeat=None) as socket,
            ):
                drain = asyncio.create_task(_drain(process.stderr), name="chromium-stderr")
                connection = _Connection(socket)
                receive = asyncio.create_task(connection.receive(), name="chromium-receive")
                try:
                    yield Chromium(connection)
                finally:
                    for task in (drain, receive):
                        task.cancel()
                    await asyncio.wait([drain, receive])
        finally:
            await _end(process)


async def _devtools_address(stderr: asyncio.StreamReader) -> tuple[str | None, str]:
    """The browser's WebSocket URL as it announces it, or None and what it said instead."""
    said: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            async for raw in stderr:
                line = raw.decode("utf-8", "replace").strip()
                if line.startswith("DevTools listening on "):
                    return line.removeprefix("DevTools listening on "), ""
                said.append(line)
    return None, "\n".join(said[-5:])


async def _drain(stderr: asyncio.StreamReader) -> None:
    while await stderr.read(65536):
        pass


def _did_not_start(said: str) -> BrowserUnavailable:
    return BrowserUnavailable(
        what="Chromium does not start",
        why=said or f"it said nothing for {START_S:.0f} s",
        fix="Start it by hand with --headless=new to see what it lacks.",
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the browser's whole process group: first asked, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_S)


class Chromium:
    """A running browser. Made by `open_chromium`."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def open_page(self, url: str) -> Page:
        """A new page, on its way to `url`; its errors are collected from the first one on."""
        target = await self._connection.call("Target.createTarget", {"url": "about:blank"})
        attached = await self._connection.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        page = Page(self._connection, target["targetId"], attached["sessionId"])
        await page.start(url)
        return page


class Page:
    """One tab.

    errors: what went wrong in it so far, one line each: console errors, uncaught exceptions,
        resources that did not load.
    """

    def __init__(self, connection: _Connection, target: str, session: str) -> None:
        self._connection = connection
        self._target, self._session = target, session
        self.errors: list[str] = []
        connection.listeners[session] = self._event

    async def start(self, url: str) -> None:
        """Listen, then go to `url`."""
        for domain in ("Runtime", "Log", "Page", "Inspector"):
            await self.call(f"{domain}.enable")
        await self.goto(url)

    async def goto(self, url: str) -> None:
        """Load another address. Raises PageFailed if nothing answers there."""
        answer = await self.call("Page.navigate", url=url)
        if answer.get("errorText"):
            raise PageFailed(
                what="the page does not load",
                why=f"{url.partition('#')[0]}: {answer['errorText']}",
                fix="Check that its server runs.",
            )

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; its result. Raises PageFailed."""
        return await self._connection.call(method, params, self._session)

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression, awaited if it is a promise.

        Raises PageFailed if it throws.
        """
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise PageFailed(
                what="a script failed in the page",
                why=_exception_text(answer["exceptionDetails"]),
                fix=f"It was: {expression[:200]}",
            )
        return answer["result"].get("value")

    async def until(self, expression: str, timeout_s: float = 30.0) -> Any:
        """Wait until a JavaScript expression is truthy; its value. Raises PageFailed."""
        try:
            async with asyncio.timeout(timeout_s):
                # The state is in another process: there is nothing here to wait on.
                while not (value := await self.evaluate(expression)):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
                return value
        except TimeoutError:
            seen = f"; the page reported: {'; '.join(self.errors[:5])}" if self.errors else ""
            raise PageFailed(
                what="the page did not get there",
                why=f"not true after {timeout_s:.0f} s: {expression[:200]}{seen}",
                fix="Open it in a browser and look at its console.",
            ) from None

    async def screenshot(self) -> bytes:
        """What the page shows, PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        """Lay the page out as on a screen of that size, CSS pixels; scale: device pixels each."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    async def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Press the left button at the path's start, move along it, let go; CSS pixels."""
        await self._mouse("mouseMoved", path[0], 0)
        await self._mouse("mousePressed", path[0], 1)
        for point in path[1:]:
            await self._mouse("mouseMoved", point, 1)
        await self._mouse("mouseReleased", path[-1], 0)

    async def wheel(self, at: tuple[float, float], delta_y: float) -> None:
        """Turn the wheel over a point; positive: towards the user."""
        await self.call(
            "Input.dispatchMouseEvent",
            type="mouseWheel",
            x=at[0],
            y=at[1],
            deltaX=0,
            deltaY=delta_y,
        )

    async def key(self, kind: str, key: str, code: str) -> None:
        """One key event; kind: "keyDown" or "keyUp"; key, code: as in KeyboardEvent."""
        text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
        await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, **text)

    async def close(self) -> None:
        """Close the tab as its user would: the page may still say goodbye (pagehide)."""
        await self._connection.call("Target.closeTarget", {"targetId": self._target})
        self._connection.listeners.pop(self._session, None)

    async def _mouse(self, kind: str, at: tuple[float, float], buttons: int) -> None:
        button = "none" if kind == "mouseMoved" and not buttons else "left"
        await self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=at[0],
            y=at[1],
            button=button,
            buttons=buttons,
            clickCount=0 if kind == "mouseMoved" else 1,
        )

    def _event(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self._note("uncaught: " + _exception_text(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                said = (str(a.get("value", a.get("description", ""))) for a in params["args"])
                self._note("console: " + " ".join(said))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                entry = params["entry"]
                where = str(entry.get("url", "")).partition("#")[0]
                self._note(f"{entry['source']}: {entry['text']} {where}".strip())
            case "Inspector.targetCrashed":
                self._note("the page's process crashed")

    def _note(self, line: str) -> None:
        if len(self.errors) < MAX_NOTED:
            self.errors.append(line[:500])


class _Connection:
    """The browser's one WebSocket: commands out, answers and events in."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._closed = False
        self.listeners: dict[str, Any] = {}  # session id -> (method, params) -> None

    async def call(
        self, method: str, params: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        """Send a command, wait for its result. Raises PageFailed."""
        if self._closed:
            raise _gone(method)
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        try:
            await self._socket.send_json(message)
            return await asyncio.wait_for(answer, CALL_S)
        except TimeoutError:
            raise PageFailed(
                what=f"Chromium does not answer {method}",
                why=f"nothing came for {CALL_S:.0f} s",
                fix="The machine may be overloaded; try again when it is not.",
            ) from None
        except ConnectionError:
            raise _gone(method) from None
        finally:
            self._waiting.pop(number, None)

    async def receive(self) -> None:
        """Hand out what comes, until the socket closes."""
        try:
            async for raw in self._socket:
                if raw.type is aiohttp.WSMsgType.TEXT:
                    self._hand_out(raw.json())
        finally:
            self._closed = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(_gone("a command"))

    def _hand_out(self, message: dict[str, Any]) -> None:
        answer = self._waiting.get(message.get("id", 0))
        if answer is not None and not answer.done():
            if "error" in message:
                answer.set_exception(
                    PageFailed(
                        what="Chromium refused a command",
                        why=str(message["error"].get("message")),
                        fix="Its version may be too old for this check; update it.",
                    )
                )
            else:
                answer.set_result(message["result"])
        elif "method" in message and message.get("sessionId") in self.listeners:
            self.listeners[message["sessionId"]](message["method"], message["params"])


def _gone(method: str) -> PageFailed:
    return PageFailed(
        what=f"Chromium cannot do {method}",
        why="the browser has ended",
        fix="Start it by hand with --headless=new to see why it ends.",
    )


def _exception_text(details: dict[str, Any]) -> str:
    thrown = details.get("exception", {})
    return str(thrown.get("description") or thrown.get("value") or details.get("text", ""))
