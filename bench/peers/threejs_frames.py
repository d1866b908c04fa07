"""Frame times of three.js in headless Chromium, asked for in turns with other renderers'."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers.threejs import SWIFTSHADER, VULKAN, Job, browse, fetch, find_chromium, serve
from render.scene import Vec3

PAGE = Path(__file__).with_name("threejs_frames.html")
START_S, TURN_S = 90.0, 60.0


class ThreejsFrames:
    """A page that draws when asked to. `renderer`: its version, and the driver below it."""

    def __init__(
        self,
        job: Job,
        turns: queue.Queue[Sequence[Vec3]],
        results: queue.Queue[tuple[str, bytes]],
    ) -> None:
        self._job, self._turns, self._results = job, turns, results
        self.renderer = self._next("ready", START_S).decode()
        self.picture: NDArray[np.uint8] | None = None

    def frames(self, eyes: Sequence[Vec3]) -> list[float]:
        """Milliseconds per frame. After the first turn `picture` is its last, uint8 (h, w, 3)."""
        self._turns.put(eyes)
        if self.picture is None:
            rows = np.frombuffer(self._next("picture", TURN_S), np.uint8)
            self.picture = rows.reshape(self._job.height, self._job.width, 4)[::-1, :, :3]
        return [float(ms) for ms in json.loads(self._next("times", TURN_S))]

    def _next(self, wanted: str, limit_s: float) -> bytes:
        try:
            name, body = self._results.get(timeout=limit_s)
        except queue.Empty:
            raise RuntimeError(f"the page said nothing for {limit_s:g} s") from None
        if name != wanted:
            raise RuntimeError(f"three.js {name}: {body.decode(errors='replace')}")
        return body


@contextmanager
def open_threejs(
    scene_glb: bytes, job: Job, cache: Path, environment: bytes = b"", *, vulkan: bool = True
) -> Iterator[ThreejsFrames]:
    """three.js with a scene loaded; the eye is each frame's, not the job's.

    vulkan: on the machine's Vulkan driver; otherwise on SwiftShader, on the CPU.
    Raises ReferenceUnavailable, RuntimeError.
    """
    turns: queue.Queue[Sequence[Vec3]] = queue.Queue()
    results: queue.Queue[tuple[str, bytes]] = queue.Queue()
    files: dict[str, bytes | Callable[[], bytes]] = {
        "/": PAGE.read_bytes(),
        "/job.json": json.dumps(asdict(job)).encode(),
        "/scene.glb": scene_glb,
        "/environment": environment,
        "/turn": lambda: json.dumps(turns.get()).encode(),
    }
    with (
        serve(files, fetch(cache), results) as address,
        browse(find_chromium(), address, VULKAN if vulkan else SWIFTSHADER),
    ):
        try:
            yield ThreejsFrames(job, turns, results)
        finally:
            turns.put(())  # the page's last request is answered, and the server can end
