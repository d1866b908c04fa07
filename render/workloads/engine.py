"""The device half of `external`: a program of the owner's, and the memory shared with it.

The protocol is framemesh_frame.h, the file for engines' authors. An engine is the executor's child
and confined as it is. It dies with this process, and this process is ended whenever the engine
does: so there is one way back from a crash, a hang or an overrun, the mesh's own. What the engine
writes is pixels, and otherwise bounded before it is believed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final

import numpy as np

from mesh.core.errors import ContentRefused, DeviceLost, DeviceUnavailable, PieceFailed
from mesh.core.workload import AssetId
from mesh.device.sandbox import die_with_parent
from render.pieces import MAX_SIDE
from render.tiles import Rect
from render.workloads.enginetile import EngineTile, decode_engine_tile
from render.workloads.i420 import to_i420
from render.workloads.picture import PictureSpec, decode_spec

FRAME: Final = np.dtype(
    [
        ("magic", "<u4"), ("version", "<u4"), ("header_bytes", "<u4"), ("pixel_bytes", "<u4"),
        ("asked", "<u4"), ("answered", "<u4"), ("status", "<u4"), ("format", "<u4"),
        ("frame", "<u4"), ("session", "<u4"), ("width", "<u4"), ("height", "<u4"),
        ("x", "<u4"), ("y", "<u4"), ("tile_width", "<u4"), ("tile_height", "<u4"),
        ("stride", "<u4"), ("options_bytes", "<u4"), ("time_s", "<f8"),
        ("clip_from_world", "<f4", 16),
        ("eye", "<f4", 3), ("fov", "<f4"),
        ("yaw", "<f4"), ("pitch", "<f4"), ("distance", "<f4"), ("reserved0", "<f4"),
        ("target", "<f4", 3), ("reserved1", "<f4"),
        ("options", "S1024"), ("message", "S256"),
    ]
)  # fmt: skip
MAGIC: Final = int.from_bytes(b"FMSH", "little")
VERSION: Final = 1
END: Final = 0xFFFFFFFF
HEADER_BYTES: Final = 4096
PIXEL_BYTES: Final = (MAX_SIDE + 2) * MAX_SIDE * 4  # backed by memory only where written to
FORMATS: Final = {"rgba8": 1, "i420": 2}
MAX_SESSIONS = 64
_END_S = 1.0
_FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Engine:
    """A running program and the memory shared with it."""

    def __init__(self, command: Sequence[str], start_s: float) -> None:
        """Start it and wait until it says that it is ready.

        Raises DeviceUnavailable if it cannot be started, DeviceLost if it ends or is not ready.
        """
        with ExitStack() as scope:
            memory = os.memfd_create("framemesh-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            scope.callback(os.close, memory)
            os.ftruncate(memory, HEADER_BYTES + PIXEL_BYTES)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _FIXED_SIZE)
            self._memory = mmap.mmap(memory, HEADER_BYTES + PIXEL_BYTES)
            self.header = np.frombuffer(self._memory, FRAME, 1)
            self.header["magic"], self.header["version"] = MAGIC, VERSION
            self.header["header_bytes"], self.header["pixel_bytes"] = HEADER_BYTES, PIXEL_BYTES
            self._ask = os.eventfd(0, os.EFD_CLOEXEC)
            scope.callback(os.close, self._ask)
            self._answer = os.eventfd(0, os.EFD_CLOEXEC)
            scope.callback(os.close, self._answer)
            self._process = _start(command, (memory, self._ask, self._answer))
            scope.callback(self._kill)
            self._ended = os.pidfd_open(self._process.pid)
            scope.callback(os.close, self._ended)
            self._wait(start_s)
            self._asked = 0
            self._scope = scope.pop_all()

    def ask(self) -> memoryview:
        """The pixels for what `header` describes. Raises PieceFailed, DeviceLost.

        Waits for as long as it takes: the device's kill limit is the limit.
        """
        self._asked = self._asked % (END - 1) + 1
        self.header["message"] = b""
        self.header["asked"] = self._asked
        os.eventfd_write(self._ask, 1)
        self._wait(None)
        answered, status = int(self.header["answered"][0]), int(self.header["status"][0])
        if answered != self._asked:
            raise _lost(f"it answered request {answered}, and was asked {self._asked}")
        if status:
            raise PieceFailed(
                what="the engine did not make a tile",
                why=_printable(bytes(self.header["message"][0])) or f"its status is {status}",
                fix="See its log on the worker.",
            )
        return memoryview(self._memory)[HEADER_BYTES:]

    def close(self) -> None:
        """Tell it to end, and see that it does."""
        self.header["asked"] = END
        os.eventfd_write(self._ask, 1)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._scope.close()

    def _kill(self) -> None:
        """Where the sandbox forbids even this, it ends with this process."""
        with suppress(PermissionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(_END_S)

    def _wait(self, limit_s: float | None) -> None:
        """Until the engine rings. Raises DeviceLost."""
        poll = select.poll()
        poll.register(self._answer, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        until_s = time.monotonic() + (limit_s or 0)
        while True:
            left_ms = None if limit_s is None else max(0.0, until_s - time.monotonic()) * 1000
            rung = [fd for fd, _ in poll.poll(left_ms)]
            if self._answer in rung:
                os.eventfd_read(self._answer)
                return
            if self._ended in rung:
                raise _lost(f"it ended with status {self._process.wait()}")
            if left_ms == 0:
                raise _lost(f"it was not ready within {limit_s} s")


class EngineExecutor:
    """Has the engine draw tiles; see mesh.core.workload.Executor."""

    def __init__(self, command: Sequence[str], pixels: str, start_s: float) -> None:
        """pixels: a key of FORMATS. Raises DeviceUnavailable, DeviceLost."""
        self._format, self._sessions = FORMATS[pixels], dict[str, tuple[int, PictureSpec]]()
        self._numbers = 0
        self._engine = Engine(command, start_s)

    def prepare(self, session: str, spec: bytes, assets: Mapping[AssetId, memoryview]) -> None:
        """Note the picture's size and the client's words. Raises ContentRefused."""
        if assets or len(self._sessions) >= MAX_SESSIONS:
            raise ContentRefused(
                what="the external session cannot be prepared",
                why=f"it brings {len(assets)} assets, and {len(self._sessions)} sessions are open",
                fix=f"Send no assets; at most {MAX_SESSIONS} sessions fit.",
            )
        self._numbers = (self._numbers + 1) % END
        self._sessions[session] = self._numbers, decode_spec(spec)

    def run(self, session: str, spec: bytes, inputs: memoryview, output: memoryview) -> int:
        """Ask the engine for one tile and write its I420 planes.

        Raises ContentRefused, PieceFailed (in the engine's words), DeviceLost.
        """
        number, picture = self._sessions[session]
        tile = decode_engine_tile(spec, picture)
        rect = Rect(*tile.rect)
        before = 2 if rect.x and self._format == FORMATS["rgba8"] else 0
        columns = rect.width + before
        stride = columns * (4 if self._format == FORMATS["rgba8"] else 1)
        _describe(self._engine.header, tile, picture)
        header = self._engine.header
        header["session"], header["format"], header["stride"] = number, self._format, stride
        header["x"], header["tile_width"] = rect.x - before, columns
        pixels = self._engine.ask()
        if self._format == FORMATS["i420"]:
            output[: rect.i420_bytes] = pixels[: rect.i420_bytes]
            return rect.i420_bytes
        rgba = np.frombuffer(pixels, np.uint8, rect.height * stride)
        return to_i420(rgba.reshape(rect.height, columns, 4), before, output)

    def forget(self, session: str) -> None:
        """The session is over."""
        self._sessions.pop(session, None)

    def close(self) -> None:
        """End the engine."""
        self._engine.close()


def _describe(header: np.ndarray, tile: EngineTile, picture: PictureSpec) -> None:
    """Fill in what is the same for every format of pixels."""
    camera, options = tile.camera(), picture.options.encode()
    header["frame"], header["time_s"] = tile.frame & 0xFFFFFFFF, tile.time_s
    header["width"], header["height"] = picture.width, picture.height
    header["y"], header["tile_height"] = tile.rect[1], tile.rect[3]
    header["clip_from_world"] = camera.clip_from_world(picture.width / picture.height).T.ravel()
    header["eye"], header["fov"], header["target"] = camera.eye(), camera.fov, camera.target
    header["yaw"], header["pitch"] = camera.yaw, camera.pitch
    header["distance"] = camera.distance
    header["options"], header["options_bytes"] = options, len(options)


def _start(command: Sequence[str], fds: Sequence[int]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  the owner's own words, from the configuration
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,  # the node's log
            env=os.environ | {"FRAMEMESH_FDS": ",".join(map(str, fds))},
            pass_fds=fds,
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509  no other threads
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise DeviceUnavailable(
            what=f"the engine {command[0]} cannot be started",
            why=str(problem),
            fix="Name it, and all it consists of, in [device] programs.",
        ) from problem


def _lost(why: str) -> DeviceLost:
    return DeviceLost(
        what="the engine is lost", why=why, fix="It is started again with its device process."
    )


def _printable(message: bytes) -> str:
    text = message.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)
