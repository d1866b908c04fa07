"""A LiDAR sweep as it travels: a 16-byte header, then the points.

Little-endian. Header: magic "FMSW", version (uint16, 1), frame of reference (uint8, 0 = the
sensor's: x forward, y left, z up), dtype (uint8, 0 = float32), points (uint32), reserved (uint32,
0). Then per point float32 x, y, z in metres and intensity 0..1, row-major. When it was taken
travels beside it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused
from mesh.core.workload import Buffer

MAX_POINTS = 300_000  # a 128-beam sensor at 10 Hz has about 230,000
HEADER_BYTES = 16
POINT_BYTES = 16
SENSOR_FRAME = 0
FLOAT32 = 0

_MAGIC = b"FMSW"
_VERSION = 1
_HEADER = struct.Struct("<4sHBBII")


@dataclass(frozen=True, slots=True)
class Sweep:
    """A checked sweep. points: float32 (n, 4), read-only, over the buffer it came in.

    masked: points that are not finite, or over 1 km away. They are skipped, all of them if need be:
    sensors mark so what did not come back. stamp_us: when it was taken, on the sensor's clock.
    times_us: int32 (n,), microseconds from there to each point's measurement, where they are known.
    """

    stamp_us: int
    points: NDArray[np.float32]
    masked: int
    times_us: NDArray[np.int32] | None = None


def encode_sweep(points: NDArray[np.float32]) -> bytes:
    """The sweep of float32 (n, 4) points, as it travels. Raises ContentRefused over the limit."""
    rows = np.ascontiguousarray(points, "<f4")
    if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) > MAX_POINTS:
        raise _refused(
            f"its points have the shape {rows.shape}",
            f"Give float32 (n, 4): x y z intensity, n at most {MAX_POINTS}.",
        )
    head = _HEADER.pack(_MAGIC, _VERSION, SENSOR_FRAME, FLOAT32, len(rows), 0)
    return head + rows.tobytes()


def decode_sweep(stamp_us: int, data: Buffer) -> Sweep:
    """Check a sweep; its points stay where they are, in `data`. Raises ContentRefused."""
    # Here, because a client that only encodes sweeps needs no compiler.
    from infer.kernels.cpu import kernels  # noqa: PLC0415

    view = memoryview(data).cast("B").toreadonly()
    if len(view) < HEADER_BYTES:
        raise _refused(f"{len(view)} bytes do not hold its header", "Send it whole.")
    magic, version, frame, dtype, count, _ = _HEADER.unpack_from(view)
    if (magic, version) != (_MAGIC, _VERSION):
        raise _refused("it does not begin as a sweep of version 1 does", "Use encode_sweep.")
    if (frame, dtype) != (SENSOR_FRAME, FLOAT32):
        raise _refused(
            f"frame of reference {frame} and dtype {dtype} are not known",
            "Send float32 (dtype 0) in the sensor's frame (0).",
        )
    if count > MAX_POINTS:
        raise _refused(f"it has {count} points", f"At most {MAX_POINTS} are taken: thin it out.")
    if len(view) != HEADER_BYTES + POINT_BYTES * count:
        raise _refused(
            f"{count} points take {HEADER_BYTES + POINT_BYTES * count} bytes, and it has "
            f"{len(view)}",
            "Send it whole, and nothing after it.",
        )
    points = np.frombuffer(view[HEADER_BYTES:], "<f4").reshape(-1, 4)
    if not points.flags.aligned:
        points = points.copy()
        points.flags.writeable = False
    return Sweep(stamp_us, points, int(kernels.count_unusable(points)))


def _refused(why: str, fix: str) -> ContentRefused:
    return ContentRefused(what="the sweep is refused", why=why, fix=fix)
