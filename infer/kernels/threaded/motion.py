"""Points carried to one moment of the sweep, in parallel."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.motion import carry_point
from infer.kernels.bodies.shared import Array


def carry_points(
    points: Array, times_us: Array, segments: Array, carried: Array, parts: int
) -> None:
    """`carry_point` of every point."""
    for part in prange(parts):
        carry_part(part, parts, points, times_us, segments, carried)


def carry_part(
    part: int, parts: int, points: Array, times_us: Array, segments: Array, carried: Array
) -> None:
    """One part's share of the points."""
    n = points.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        carry_point(i, points, times_us, segments, carried)
