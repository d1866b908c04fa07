"""Pack a sweep for the way up, and unpack it: how each point lies to the one before, then zstd.

What is not foreseen of a position (see infer.kernels.uplink) is rounded to steps, small enough for
the stated bound to hold: no point is farther than `bound_m` from where it was measured. Neighbours
on one of the sensor's rows are mostly a few steps from where they are expected, so most numbers are
a byte of little entropy. A sensor that fires its lasers in turn gives `rings`, and its points are
sorted by them. Points in no such order are sorted along a Morton curve.

The order of points is no part of a sweep: no result depends on it. What both ends must agree on,
such as a local pipeline and the mesh, is made from what `unpack_sweep` gives, which is the same on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infer.layout import CHAIN_STATE, CHAINS
from infer.sweep import MAX_POINTS, Sweep
from infer.uplink.form import (
    ACROSS,
    ALONG,
    ESCAPES,
    FARTHEST_ORIGIN_MM,
    HEADER_BYTES,
    LEAST_STEP_UM,
    MAX_TIME_US,
    MOST_STEP_UM,
    REACH_M,
    SHADES,
    TIMES,
    UP,
    Header,
    decode_header,
    refused,
)
from infer.uplink.streams import expand, squeeze
from mesh.core.errors import ContentRefused, Misuse
from mesh.core.workload import Buffer

BOUND_M = 0.01
# Of a coordinate that unpacking rounds to float32: half the spacing of floats below 1024.
_ROUNDING_M = 2.0**-15
_PAIRS = 4096
_SMALL_TURN = 0.02  # radians; a larger one is no neighbour's
_SCATTERED = 8  # one coordinate in so many far from its neighbour's: they are in no sensor's order


def step_for(bound_m: float) -> int:
    """How long a step is, micrometres: half a cube's diagonal is the bound. Raises Misuse."""
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
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    bound_m: float = BOUND_M,
) -> bytes:
    """A sweep (float32 (n, 4): x y z in metres, intensity 0..1) as it travels.

    Each point that is a measurement comes back within bound_m of where it was, its intensity within
    1/510; of the others (not finite, or over 1 km away along an axis) only the number is kept.
    rings: integers (n,), the laser that measured each point, if points come laser by turn.
    times_us: integers (n,), microseconds from the sweep's stamp, within a second; kept exactly.
    origin: where the sensor stands, metres, if positions are not told from there; it saves bytes.
    Compiles its loops at the first call, seconds when they are not cached. Raises ContentRefused,
    Misuse.
    """
    # Here, because a client that packs nothing needs no compiler.
    from infer.kernels.cpu import kernels  # noqa: PLC0415

    step_um, origin_mm = step_for(bound_m), _millimetres(origin)
    rows = _rows(points, rings, times_us)
    order = _by_ring(len(rows), rings)
    places, shades = np.empty((len(rows), 3)), np.empty(len(rows), np.uint8)
    centre = np.array(origin_mm) * 1e-3
    n = kernels.gather(rows, order, centre, 1e6 / step_um, places, shades)
    places, shades, order = places[:n], shades[:n], order[:n]
    times = None if times_us is None else times_us[order].astype(np.int32)
    turn_nrad, low, escapes = _take_apart(places, times)
    if _SCATTERED * escapes.shape[1] > 3 * n:
        nearby = _along_curve(places)
        shades, times = shades[nearby], None if times is None else times[nearby]
        turn_nrad, low, escapes = _take_apart(places[nearby], times)
    streams = [squeeze(column.data) for column in low] + [b""] * (4 - len(low))
    shading, differences = _squeeze_shades(shades)
    streams += [shading, squeeze(escapes.tobytes())]
    head = Header(
        points=n,
        masked=len(rows) - n,
        escapes=escapes.shape[1],
        step_um=step_um,
        turn_nrad=turn_nrad,
        origin_mm=origin_mm,
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
    n, escapes, at = head.points, streams[ESCAPES].reshape(3, -1), 0
    news, places = np.empty((3, n), np.int32), np.empty((n, 3))
    for axis in (ALONG, ACROSS, UP):
        at = _checked(kernels.unfold(streams[axis], escapes, at, news[axis]))
    times = None
    if head.timed:
        times, at = _times(streams[TIMES], escapes, at, head.masked)
    if at != head.escapes:
        raise refused(f"of its {head.escapes} escapes {at} have a place")
    kernels.restore(news, head.turn_nrad * 1e-9, np.empty((CHAINS, CHAIN_STATE)), places)
    points = np.full((n + head.masked, 4), np.nan, np.float32)
    limit = (REACH_M * 1000 + FARTHEST_ORIGIN_MM) * 1000 / head.step_um + 1
    centre = np.array(head.origin_mm) * 1e-3
    _checked(kernels.scale(places, centre, head.step_um * 1e-6, limit, points))
    kernels.shade(streams[SHADES], head.differences, points)
    points.flags.writeable = False
    return Sweep(stamp_us, points, int(kernels.count_unusable(points)), times)


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


def _millimetres(origin: Sequence[float]) -> tuple[int, int, int]:
    """The origin in whole millimetres. Raises Misuse."""
    x, y, z = (float(v) * 1000 for v in origin)
    if not all(abs(v) <= FARTHEST_ORIGIN_MM for v in (x, y, z)):
        raise Misuse(
            what="the sweep is not packed",
            why=f"a sensor does not stand at {tuple(origin)} m",
            fix=f"It is within {FARTHEST_ORIGIN_MM // 1000} m of where positions are told from.",
        )
    return round(x), round(y), round(z)


def _along_curve(places: NDArray[np.float64]) -> NDArray[np.int64]:
    from infer.kernels.cpu import kernels  # noqa: PLC0415  as above

    keys = np.empty(len(places), np.uint64)
    kernels.interleave(places, keys)
    return np.argsort(keys, kind="stable")


def _take_apart(
    places: NDArray[np.float64], times: NDArray[np.int32] | None
) -> tuple[int, list[NDArray[np.uint8]], NDArray[np.uint8]]:
    """The turn, each column's bytes (n,), and the escapes (3, m) of them all."""
    from infer.kernels.cpu import kernels  # noqa: PLC0415  as above

    n, at = len(places), 0
    turn_nrad, news = _turn_nrad(places), np.empty((3, n), np.int32)
    kernels.differ(places, turn_nrad * 1e-9, np.empty((CHAINS, CHAIN_STATE)), news)
    columns = list(news)
    if times is not None:
        columns.append(np.diff(times, prepend=np.int32(0)))
    escapes = np.empty((3, len(columns) * n), np.uint8)
    low = [np.empty(n, np.uint8) for _ in columns]
    for column, bytes_ in zip(columns, low, strict=True):
        at = kernels.fold(column, bytes_, escapes, at)
    return turn_nrad, low, escapes[:, :at]


def _turn_nrad(places: NDArray[np.float64]) -> int:
    """The usual angle from one point to the next, of some thousands of pairs."""
    pairs = max(1, len(places) // _PAIRS)
    x, y = places[:-1:pairs, 0], places[:-1:pairs, 1]
    later_x, later_y = places[1::pairs, 0], places[1::pairs, 1]
    angles = np.arctan2(x * later_y - y * later_x, x * later_x + y * later_y)
    near = angles[np.abs(angles) < _SMALL_TURN]
    return round(float(np.median(near)) * 1e9) if len(near) else 0


def _times(
    low: NDArray[np.uint8], escapes: NDArray[np.uint8], at: int, masked: int
) -> tuple[NDArray[np.int32], int]:
    """Times, 0 for points that are no measurement, and where escapes end. Raises ContentRefused."""
    from infer.kernels.cpu import kernels  # noqa: PLC0415  as above

    steps = np.empty(len(low), np.int32)
    at = _checked(kernels.unfold(low, escapes, at, steps))
    whole = np.cumsum(steps, dtype=np.int64)
    if len(whole) and np.abs(whole).max() > MAX_TIME_US:
        raise refused("a point's time is over a second from its stamp")
    times = np.zeros(len(low) + masked, np.int32)
    times[: len(low)] = whole
    times.flags.writeable = False
    return times, at


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
