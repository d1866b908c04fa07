"""Pack a sweep for the way up, and unpack it: differences of neighbouring points, then zstd.

A position is rounded to a lattice whose step makes the stated bound hold: no point is farther than
`bound_m` from where it was measured. Neighbours on one of the sensor's rows are mostly a few steps
apart, so most coordinates are a byte of little entropy. A sensor that fires its lasers in turn
gives `rings`, and its points are sorted by them. Points in no such order are sorted along a Morton
curve.

The order of points is no part of a sweep: no result depends on it. What both ends must agree on,
such as a local pipeline and the mesh, is made from what `unpack_sweep` gives, which is the same on
every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from infer.sweep import MAX_POINTS, Sweep
from infer.uplink.form import (
    ESCAPES,
    HEADER_BYTES,
    LEAST_STEP_UM,
    MAX_TIME_US,
    MOST_STEP_UM,
    REACH_M,
    SHADES,
    TIMES,
    Header,
    Z,
    decode_header,
    refused,
)
from infer.uplink.streams import expand, squeeze
from mesh.core.errors import ContentRefused, Misuse
from mesh.core.workload import Buffer

BOUND_M = 0.01
# Of a coordinate that unpacking rounds to float32: half the spacing of floats below 1024.
_ROUNDING_M = 2.0**-15
_SCATTERED = 8  # one coordinate in so many far from its neighbour's: they are in no sensor's order


def step_for(bound_m: float) -> int:
    """The lattice's step in micrometres: half its cell's diagonal is the bound. Raises Misuse."""
    step_um = math.floor(2e6 * (bound_m / math.sqrt(3) - _ROUNDING_M))
    if not LEAST_STEP_UM <= step_um <= MOST_STEP_UM:
        raise Misuse(
            what="the sweep is not packed",
            why=f"points cannot be kept to within {bound_m} m",
            fix="Ask for a bound of 1 mm to 10 cm.",
        )
    return step_um


def pack_sweep(
    points: NDArray[np.float32],
    *,
    rings: NDArray[np.integer] | None = None,
    times_us: NDArray[np.integer] | None = None,
    bound_m: float = BOUND_M,
) -> bytes:
    """A sweep (float32 (n, 4): x y z in metres, intensity 0..1) as it travels.

    Each point that is a measurement comes back within bound_m of where it was, its intensity within
    1/510; of the others (not finite, or over 1 km away along an axis) only the number is kept.
    rings: integers (n,), the laser that measured each point, if points come laser by turn.
    times_us: integers (n,), microseconds from the sweep's stamp, within a second; kept exactly.
    Compiles its loops at the first call, seconds when they are not cached. Raises ContentRefused,
    Misuse.
    """
    # Here, because a client that packs nothing needs no compiler.
    from infer.kernels.cpu import kernels  # noqa: PLC0415

    step_um = step_for(bound_m)
    rows = _rows(points, rings, times_us)
    order = _by_ring(len(rows), rings)
    steps, shades = np.empty((3, len(rows)), np.int32), np.empty(len(rows), np.uint8)
    n = kernels.quantise(rows, order, 1e6 / step_um, steps, shades)
    steps, shades, order = steps[:, :n], shades[:n], order[:n]
    columns = list(steps) if times_us is None else [*steps, _column(times_us, order)]
    low, escapes = _split(columns)
    if _SCATTERED * escapes.shape[1] > 3 * n:
        nearby = _along_curve(steps)
        columns, shades = [column[nearby] for column in columns], shades[nearby]
        low, escapes = _split(columns)
    streams = [squeeze(column.data) for column in low] + [b""] * (4 - len(low))
    shading, differences = _squeeze_shades(shades)
    streams += [shading, squeeze(escapes.tobytes())]
    head = Header(
        points=n,
        masked=len(rows) - n,
        escapes=escapes.shape[1],
        step_um=step_um,
        differences=differences,
        timed=times_us is not None,
        sizes=tuple(map(len, streams)),
    )
    return b"".join((head.encode(), *streams))


def unpack_sweep(stamp_us: int, data: Buffer) -> Sweep:
    """Check and unpack a sweep taken at stamp_us; whatever it says, nothing larger is allocated
    than what MAX_POINTS take. Raises ContentRefused.
    """
    from infer.kernels.cpu import kernels  # noqa: PLC0415  as above

    view = memoryview(data).cast("B").toreadonly()
    head = decode_header(view)
    ends = HEADER_BYTES + np.cumsum((0, *head.sizes))
    streams = [
        np.frombuffer(expand(view[ends[i] : ends[i + 1]], size), np.uint8)
        for i, size in enumerate(head.contents)
    ]
    n, escapes = head.points, streams[ESCAPES].reshape(3, -1)
    steps, times = np.empty((3, n), np.int32), np.zeros(n + head.masked, np.int32)
    reach, at = REACH_M * 1_000_000 // head.step_um + 1, 0  # rounded up, or down
    for axis in range(Z + 1):
        at = _checked(kernels.join(streams[axis], escapes, at, reach, steps[axis]))
    if head.timed:
        at = _checked(kernels.join(streams[TIMES], escapes, at, MAX_TIME_US, times[:n]))
    if at != head.escapes:
        raise refused(f"of its {head.escapes} escapes {at} have a place")
    points = np.full((n + head.masked, 4), np.nan, np.float32)
    kernels.scale(steps, head.step_um * 1e-6, points)
    kernels.shade(streams[SHADES], head.differences, points)
    points.flags.writeable = times.flags.writeable = False
    masked = int(kernels.count_unusable(points))
    return Sweep(stamp_us, points, masked, times if head.timed else None)


def _rows(
    points: NDArray[np.float32],
    rings: NDArray[np.integer] | None,
    times_us: NDArray[np.integer] | None,
) -> NDArray[np.float32]:
    """The points in a form for kernels. Raises ContentRefused if anything has the wrong shape."""
    rows = np.ascontiguousarray(points, np.float32)
    if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) > MAX_POINTS:
        raise _unfit(f"its points have the shape {rows.shape}", f"n is at most {MAX_POINTS}.")
    for name, column in (("rings", rings), ("times", times_us)):
        if column is not None and (
            column.shape != rows.shape[:1] or not np.issubdtype(column.dtype, np.integer)
        ):
            raise _unfit(
                f"its {name} are {column.dtype} {column.shape}", "Give an integer a point."
            )
    if times_us is not None and len(rows):
        first, last = int(times_us.min()), int(times_us.max())
        if first < -MAX_TIME_US or last > MAX_TIME_US:
            raise _unfit(
                f"its times are {first} to {last} microseconds from its stamp",
                "They lie within a second of it.",
            )
    return rows


def _by_ring(n: int, rings: NDArray[np.integer] | None) -> NDArray[np.int64]:
    if rings is None:
        return np.arange(n)
    return np.argsort(rings.astype(np.uint16), kind="stable")  # 16 bits: a radix sort


def _along_curve(steps: NDArray[np.int32]) -> NDArray[np.int64]:
    from infer.kernels.cpu import kernels  # noqa: PLC0415  as above

    keys = np.empty(steps.shape[1], np.uint64)
    kernels.interleave(steps, keys)
    return np.argsort(keys, kind="stable")


def _column(times_us: NDArray[np.integer], order: NDArray[np.int64]) -> NDArray[np.int32]:
    return times_us[order].astype(np.int32)


def _split(columns: list[NDArray[np.int32]]) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Each column's bytes (n,), and the escapes (3, m) of them all."""
    from infer.kernels.cpu import kernels  # noqa: PLC0415  as above

    n, at = len(columns[0]), 0
    escapes = np.empty((3, len(columns) * n), np.uint8)
    low = [np.empty(n, np.uint8) for _ in columns]
    for column, bytes_ in zip(columns, low, strict=True):
        at = kernels.split(np.ascontiguousarray(column), bytes_, escapes, at)
    return low, escapes[:, :at]


def _squeeze_shades(shades: NDArray[np.uint8]) -> tuple[bytes, bool]:
    """Intensities or their differences, whichever is smaller; whether they are differences."""
    plain = squeeze(shades.tobytes())
    differences = squeeze(np.diff(shades, prepend=np.uint8(0)).tobytes())
    return min((plain, False), (differences, True), key=lambda made: len(made[0]))


def _checked(at: int) -> int:
    if at < 0:
        raise refused("a point lies beyond its reach, or its escapes are too few")
    return at


def _unfit(why: str, fix: str) -> ContentRefused:
    return ContentRefused(
        what="the sweep is not packed", why=why, fix=f"Give float32 (n, 4): x y z intensity. {fix}"
    )
