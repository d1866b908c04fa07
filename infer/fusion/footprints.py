"""The rectangle that each cluster of points speaks for, seen from above, and what stands in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.perception.rectangles import fit_rectangles
from infer.track.compiled import compiled

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

# Columns of a footprint. ANGLE is of its first axis, 0 to 90 degrees; the others are along the two
# axes from the sensor. BOTTOM, TOP: above the ground, which is at FLOOR. ON_EDGE: share of its
# points near the two sides that face the sensor.
ANGLE, U_LOW, U_HIGH, V_LOW, V_HIGH, BOTTOM, TOP, FLOOR, POINTS, ON_EDGE = range(10)
FOOTPRINT_FIELDS = 10

EDGE = 0.3  # m: how far from an edge the points of a car's side lie, wheels and mirrors included


@compiled
def grouped(of_point: NDArray[np.int32], count: int) -> tuple[Whole, Whole]:
    """Points by cluster: where each of `count` clusters begins, (count + 1,), and the points."""
    begin = np.zeros(count + 1, np.int64)
    for cluster in of_point:
        if cluster >= 0:
            begin[cluster + 1] += 1
    for k in range(count):
        begin[k + 1] += begin[k]
    after = begin[:-1].copy()
    members = np.empty(begin[-1], np.int64)
    for i in range(len(of_point)):
        cluster = of_point[i]
        if cluster >= 0:
            members[after[cluster]] = i
            after[cluster] += 1
    return begin, members


def footprints(
    points: NDArray[np.float32], above: NDArray[np.float32], begin: Whole, members: Whole
) -> Floats:
    """Every cluster's footprint: float64 (clusters, FOOTPRINT_FIELDS).

    points: (n, 4). above: (n,), heights above the ground. begin, members: see `grouped`.
    """
    found = np.zeros((len(begin) - 1, FOOTPRINT_FIELDS))
    fitted = fit_rectangles(points, begin, members)
    found[:, ANGLE], found[:, U_LOW : V_HIGH + 1] = fitted.angles, fitted.sides
    _describe(points, above, begin, members, found)
    return found


@compiled
def _describe(
    points: NDArray[np.float32],
    above: NDArray[np.float32],
    begin: Whole,
    members: Whole,
    found: Floats,
) -> None:
    """Fill in what rectangles do not say: heights, and how many points are on the near edges."""
    for k in range(len(found)):
        own = members[begin[k] : begin[k + 1]]
        if not len(own):
            continue
        c, s = np.cos(found[k, ANGLE]), np.sin(found[k, ANGLE])
        u_low, u_high, v_low, v_high = found[k, U_LOW : V_HIGH + 1]
        u_near = u_low if abs(u_low) < abs(u_high) else u_high
        v_near = v_low if abs(v_low) < abs(v_high) else v_high
        low, high, floor, on_edge = np.inf, -np.inf, 0.0, 0
        for i in own:
            x, y = points[i, 0], points[i, 1]
            low, high = min(low, above[i]), max(high, above[i])
            floor += (points[i, 2] - above[i]) / len(own)
            on_edge += min(abs(x * c + y * s - u_near), abs(y * c - x * s - v_near)) < EDGE
        found[k, BOTTOM], found[k, TOP], found[k, FLOOR] = low, high, floor
        found[k, POINTS], found[k, ON_EDGE] = len(own), on_edge / len(own)
