"""The workload `timed`, and its device half: pieces that take the time they say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from mesh.core.workload import (
    AssetId,
    DeviceInfo,
    PieceCall,
    SessionRequest,
    SessionWork,
    Settings,
)
from mesh.device.kernel import prctl

NAME = "timed"
LARGEST = (3840, 2160)
SLICE_S = 0.005  # a piece that is taken back ends within it

_PR_SET_TIMERSLACK = 29  # the kernel may wake a sleeper so many ns late: 50,000 by default


class TimedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[workloads.timed]. label: what inputs call the node's device. speed: 2 is twice as fast."""

    label: str = ""
    speed: Annotated[float, Meta(gt=0)] = 1.0


class PieceSpec(msgspec.Struct, frozen=True):
    """One piece.

    run_us: how long it takes on a device of speed 1. rect: the tile (x, y, width, height) of the
    pattern `number` to write; none: the result is `nbytes` that nobody looks at.
    slower: by label, how many times longer that device takes. call_us: how much longer its call
    takes, whoever else is in it.
    """

    run_us: float
    number: int = 0
    rect: tuple[int, int, int, int] | None = None
    nbytes: int = 0
    slower: dict[str, float] = {}
    call_us: float = 0.0


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PieceSpec).decode


class Pattern:
    """A picture for every number, of which any part can be made, and checked, by itself.

    Y = x + 3 y + 7 n, U = x + y + 5 n, V = x + 5 y + 3 n (mod 256), with x and y in the plane's
    own samples. Tiles are cut out of tables, so that one costs little more than copying it.
    """

    def __init__(self, width: int, height: int) -> None:
        x = np.arange(width + 256)
        y = np.arange(height)[:, None]
        self._tables = [
            ((x + down * y).astype(np.uint8), ahead, half)
            for down, ahead, half in ((3, 7, 1), (1, 5, 2), (5, 3, 2))
        ]

    def planes(self, number: int, rect: tuple[int, int, int, int]) -> Iterator[NDArray[np.uint8]]:
        """Y, U and V of a rectangle with even corner and sides, as views."""
        x, y, width, height = rect
        for table, ahead, half in self._tables:
            left = x // half + ahead * number % 256
            rows = slice(y // half, (y + height) // half)
            yield table[rows, left : left + width // half]

    def write(
        self, number: int, rect: tuple[int, int, int, int], output: memoryview | bytearray
    ) -> int:
        """Pack the planes into `output`; returns their size in bytes."""
        at = 0
        for plane in self.planes(number, rect):
            np.frombuffer(output, np.uint8, plane.size, at).reshape(plane.shape)[:] = plane
            at += plane.size
        return at


class TimedExecutor:
    """The device half; see mesh.core.workload.Executor, Batching and Abandonable."""

    def __init__(self, settings: TimedSettings) -> None:
        self._settings = settings
        self._pattern = Pattern(*LARGEST)
        self._models: dict[str, str] = {}
        self._check: Callable[[], None] = lambda: None
        prctl(_PR_SET_TIMERSLACK, 1)

    def prepare(self, session: str, spec: bytes, assets: Mapping[AssetId, memoryview]) -> None:
        """spec: the name of the session's model; empty if its pieces run alone."""
        self._models[session] = spec.decode()

    def batch_key(self, session: str) -> str:
        """The name of the session's model."""
        return self._models[session]

    def heed(self, check: Callable[[], None]) -> None:
        """Sleep in slices, and look up between them."""
        self._check = check

    def run(self, session: str, spec: bytes, inputs: memoryview, output: memoryview) -> int:
        """Write the result, and sleep for what is left of the time."""
        (written,) = self.run_batch([PieceCall(session, spec, inputs, output)])
        return written

    def run_batch(self, batch: Sequence[PieceCall]) -> Sequence[int]:
        """Write the results, and sleep for what is left of the time of all."""
        began_s = time.monotonic()
        pieces = [_decode(call.spec) for call in batch]
        written = [
            self._write(piece, call.output) for piece, call in zip(pieces, batch, strict=True)
        ]
        run_us = max(piece.call_us for piece in pieces)
        run_us += sum(piece.run_us * self._slower(piece) for piece in pieces)
        ends_s = began_s + run_us / self._settings.speed / 1e6
        while (left_s := ends_s - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left_s, SLICE_S))
        return written

    def _write(self, piece: PieceSpec, output: memoryview) -> int:
        if piece.rect is None:
            return piece.nbytes
        return self._pattern.write(piece.number, piece.rect, output)

    def _slower(self, piece: PieceSpec) -> float:
        return piece.slower.get(self._settings.label, 1.0)

    def forget(self, session: str) -> None:
        """See Executor."""
        self._models.pop(session, None)

    def close(self) -> None:
        """Nothing to release."""


class Timed:
    """See mesh.core.workload.Workload."""

    name = NAME

    def __init__(self, settings: TimedSettings) -> None:
        self._settings = settings

    def find_devices(self) -> Sequence[DeviceInfo]:
        """One device that is no load for anything else."""
        return [DeviceInfo(NAME, "timed", "timed", f"speed {self._settings.speed}", 0)]

    def open_executor(self, device: DeviceInfo) -> TimedExecutor:
        """See Workload."""
        return TimedExecutor(self._settings)

    def open_session(self, request: SessionRequest) -> SessionWork:
        """See Workload."""
        # A device process may read this package and mesh, not render, whose cut is used here.
        from bench.timed.frames import open_session  # noqa: PLC0415

        return open_session(request)


def create(settings: Settings) -> Timed:
    """What the entry point names."""
    return Timed(msgspec.convert(dict(settings), TimedSettings))


def install(folder: Path) -> None:
    """Make `folder` a place on PYTHONPATH where the plug-in is installed."""
    metadata = folder / f"framemesh_{NAME}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: framemesh-{NAME}\nVersion: 1\n"
    )
    (metadata / "entry_points.txt").write_text(
        f"[framemesh.workloads]\n{NAME} = bench.timed.plugin:create\n"
    )
