"""The ground as one plane: low points propose planes, vote, and the winner is fitted to all points.

A plane is float32 (slope along x, slope along y, height at the origin). Sums of the fit are whole:
in steps of 1/1024 m, so that they do not depend on their order.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.area import area_cell
from infer.kernels.bodies.points import units, usable
from infer.kernels.bodies.shared import Array, add_to, lower_in

# One number holds height and index of a cell's lowest point: heights above, so they decide.
KEY_SHIFT = 32
KEY_LOW = 1 << 20  # over 1000 m: makes heights positive
NO_KEY = (1 << 62) - 1

SLOPE_X, SLOPE_Y, LEVEL = range(3)
NUMBER, SUM_OF_X, SUM_OF_Y, SUM_XX, SUM_XY, SUM_YY, SUM_R, SUM_XR, SUM_YR = range(9)
SUMS = 9

UNKNOWN_POINT, GROUND_POINT, ABOVE, BELOW = range(4)

FLAT = np.float32(1e-3)  # m2: three points that span less are in a line
NO_SLOPE = np.float32(0)
NEVER = np.float32(1e9)


def note_low_point(i: int, row: int, points: Array, area: Array, lowest: Array) -> None:
    """Point i may be the lowest of its cell; of equals the first."""
    if usable(points, i):
        cell = area_cell(points[i, 0], points[i, 1], area)
        if cell >= 0:
            lower_in(lowest, row, cell, ((units(points[i, 2]) + KEY_LOW) << KEY_SHIFT) + i)


def propose_plane(
    h: int, points: Array, low: Array, triples: Array, steepest: float, planes: Array
) -> None:
    """The plane through three low points; out of reach where they are in a line or it is steep."""
    a, b, c = low[triples[h, 0]], low[triples[h, 1]], low[triples[h, 2]]
    ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
    vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
    uz, vz = points[b, 2] - points[a, 2], points[c, 2] - points[a, 2]
    spanned = ux * vy - uy * vx
    planes[h, SLOPE_X] = planes[h, SLOPE_Y] = NO_SLOPE
    planes[h, LEVEL] = NEVER
    if abs(spanned) > FLAT:
        x, y = (uz * vy - uy * vz) / spanned, (ux * vz - uz * vx) / spanned
        if x * x + y * y <= steepest * steepest:
            planes[h, SLOPE_X], planes[h, SLOPE_Y] = x, y
            planes[h, LEVEL] = points[a, 2] - x * points[a, 0] - y * points[a, 1]


def over_plane(i: int, points: Array, planes: Array, h: int) -> float:
    """How far point i is above plane h."""
    level = planes[h, SLOPE_X] * points[i, 0] + planes[h, SLOPE_Y] * points[i, 1] + planes[h, LEVEL]
    over: float = points[i, 2] - level
    return over


def count_votes(
    h: int, first: int, last: int, points: Array, low: Array, planes: Array, within: float
) -> int:
    """How many of the low points first..last lie in plane h."""
    count = 0
    for k in range(first, last):
        if abs(over_plane(low[k], points, planes, h)) <= within:
            count += 1
    return count


def gather_inlier(
    i: int, row: int, points: Array, planes: Array, within: float, sums: Array
) -> None:
    """Add point i to the fit of plane 0 if it lies in it: its place, and how far it is above."""
    if not usable(points, i):
        return
    over = over_plane(i, points, planes, 0)
    if abs(over) <= within:
        x, y, r = units(points[i, 0]), units(points[i, 1]), units(over)
        add_to(sums, row, NUMBER, 1)
        add_to(sums, row, SUM_OF_X, x)
        add_to(sums, row, SUM_OF_Y, y)
        add_to(sums, row, SUM_XX, x * x)
        add_to(sums, row, SUM_XY, x * y)
        add_to(sums, row, SUM_YY, y * y)
        add_to(sums, row, SUM_R, r)
        add_to(sums, row, SUM_XR, x * r)
        add_to(sums, row, SUM_YR, y * r)


def label_point(i: int, points: Array, planes: Array, within: float, labels: Array) -> None:
    """Whether point i lies in plane 0, above or below; UNKNOWN_POINT for no measurement."""
    over = over_plane(i, points, planes, 0)
    if not usable(points, i):
        labels[i] = UNKNOWN_POINT
    elif abs(over) <= within:
        labels[i] = GROUND_POINT
    else:
        labels[i] = ABOVE if over > within else BELOW
