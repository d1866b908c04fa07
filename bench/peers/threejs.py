"""Pictures by three.js in headless Chromium: an independent renderer to hold ours against.

three.js comes from the npm registry, one pinned version, checked against its published digest.
The page (threejs.html) fetches the scene and its job from a server on loopback and posts the
framebuffer's bytes back, so that no screenshot, compositor or codec stands between.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers import npm

VERSION = "0.187.0"
# `npm view three@0.187.0 dist.integrity`
INTEGRITY = (
    "Qiu7R+Cmh8CstZsY1uJOSWnVlfo7ZtNLV7mF8Jltk3LB3AtDu9cRZlcnRKkAk8Y4z6KKw35z7Y7Urd7jWY8etA=="
)
SWIFTSHADER = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
# ANGLE on the machine's own Vulkan driver. Chromium keeps software drivers to WebGL 1 unless told.
VULKAN = (
    "--use-gl=angle",
    "--use-angle=vulkan",
    "--ignore-gpu-blocklist",
    "--disable-gpu-driver-bug-workarounds",
    "--disable-gpu-sandbox",
)
FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
)
TYPES = {
    ".js": "text/javascript",
    ".html": "text/html",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
PAGE = Path(__file__).with_name("threejs.html")


class ReferenceUnavailable(Exception):
    """Chromium, npm or three.js is not there; the message says what to install."""


@dataclass(frozen=True)
class Job:
    """What to draw: world frame, metres; colours linear."""

    width: int
    height: int
    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    fov_degrees: float  # vertical
    near: float
    far: float
    towards_light: tuple[float, float, float]
    light_color: tuple[float, float, float]
    light_intensity: float
    background: tuple[float, float, float]
    environment: str = ""  # "hdr" or "exr": the format of what lights it from all around
    environment_intensity: float = 1.0
    own_lights: bool = False  # the scene's are kept
    animation: int = -1  # which is played; -1: none
    time: float = 0.0  # seconds into it


@dataclass(frozen=True)
class Reference:
    """uint8 (height, width, 3) sRGB, top row first; where the scene is; who drew it."""

    rgb: NDArray[np.uint8]
    silhouette: NDArray[np.bool_]
    renderer: str


def draw(
    scene_glb: bytes, job: Job, cache: Path, environment: bytes = b"", timeout_s: float = 120.0
) -> Reference:
    """Let three.js draw a self-contained GLB. Raises ReferenceUnavailable, or RuntimeError.

    environment: an equirectangular picture's file, of the job's format.
    """
    chromium = find_chromium()
    files = {"/": PAGE.read_bytes(), "/job.json": json.dumps(asdict(job)).encode()}
    files |= {"/scene.glb": scene_glb, "/environment": environment}
    results: queue.Queue[tuple[str, bytes]] = queue.Queue()
    pixels: dict[str, NDArray[np.uint8]] = {}
    with serve(files, fetch(cache), results) as address, browse(chromium, address):
        while True:
            try:
                name, body = results.get(timeout=timeout_s)
            except queue.Empty:
                raise RuntimeError(f"the page said nothing for {timeout_s:g} s") from None
            if name == "failed":
                raise RuntimeError(f"three.js failed: {body.decode(errors='replace')}")
            if name == "done":
                break
            rows = np.frombuffer(body, np.uint8).reshape(job.height, job.width, 4)
            pixels[name] = rows[::-1, :, :3].copy()
    return Reference(pixels["picture"], pixels["silhouette"][..., 0] > 127, body.decode())


def find_chromium() -> str:
    """Its path. Raises ReferenceUnavailable."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise ReferenceUnavailable("Chromium is not installed: apt-get install chromium")
    return found


def fetch(cache: Path) -> Path:
    """The folder of the unpacked three.js package; fetched by npm when missing."""
    try:
        return npm.fetch("three", VERSION, INTEGRITY, cache)
    except npm.Unavailable as problem:
        raise ReferenceUnavailable(str(problem)) from problem


@contextmanager
def serve(
    files: Mapping[str, bytes | Callable[[], bytes]],
    package: Path,
    results: queue.Queue[tuple[str, bytes]],
) -> Iterator[str]:
    """A server on loopback for the page, the job, the scene and the library; its address.

    files: by path; what is called may block until there is something to tell the page.
    results: (name, body) of whatever the page posts.
    """
    library = {
        f"/three/{path.relative_to(package)}": path
        for folder in ("build", "examples/jsm")
        for path in (package / folder).rglob("*")
        if path.suffix in TYPES
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = files.get(self.path)
            body = found() if callable(found) else found
            if body is None and self.path in library:
                body = library[self.path].read_bytes()
            if body is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            kind = "text/html" if self.path == "/" else TYPES.get(Path(self.path).suffix)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind or "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()
            results.put((self.path.rpartition("/")[2], body))

        def log_message(self, *_: object) -> None:
            """Requests are of no interest."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@contextmanager
def browse(chromium: str, address: str, driver: Sequence[str] = SWIFTSHADER) -> Iterator[None]:
    """Headless Chromium on one page, ended with the block. driver: flags that choose one."""
    # Chromium's own sandbox does not start as root (containers, CI).
    rooted = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [chromium, *FLAGS, *driver, *rooted, f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            browser.terminate()
            try:
                browser.wait(10)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()
