"""The rectangle that each cluster of points speaks for, seen from above. Compiled.

L-shape fitting by closeness: X. Zhang, W. Xu, C. Dong and J. M. Dolan, "Efficient L-Shape Fitting
for Vehicle Detection Using Laser Scanners", IEEE IV 2017, on points instead of one scan line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.track.compiled import compiled

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

# Columns of a footprint. ANGLE is of its first axis, 0 to 90 degrees; the others are along the two
# axes from the sensor. BOTTOM, TOP: above the ground, which is at FLOOR. ON_EDGE: share of its
# points near the two sides that face the sensor.
ANGLE, U_LOW, U_HIGH, V_LOW, V_HIGH, BOTTOM, TOP, FLOOR, POINTS, ON_EDGE = range(10)
FOOTPRINT_FIELDS = 10

STEPS = 45  # angles tried in 90 degrees
CLOSEST = 0.1  # m: points nearer to an edge than this speak for it alike
EDGE = 0.3  # m: how far from an edge the points of a car's side lie, wheels and mirrors included
MOST_FITTED = 256  # points of a cluster that speak for its angle, evenly taken from all of them
LONGEST = 25.0  # m: larger clusters are walls and hedges, whose angle is of no account


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


@compiled
def _angle(xs: Floats, ys: Floats) -> float:
    """The angle whose rectangle has the points closest to its edges; xs, ys: (k,)."""
    best, best_score = 0.0, -1.0
    us, vs = np.empty(len(xs)), np.empty(len(xs))
    for step in range(STEPS):
        angle = step * (np.pi / 2 / STEPS)
        c, s = np.cos(angle), np.sin(angle)
        for i in range(len(xs)):
            us[i], vs[i] = xs[i] * c + ys[i] * s, ys[i] * c - xs[i] * s
        u_low, u_high, v_low, v_high = us.min(), us.max(), vs.min(), vs.max()
        score = 0.0
        for i in range(len(xs)):
            near = min(us[i] - u_low, u_high - us[i], vs[i] - v_low, v_high - vs[i])
            score += 1.0 / max(near, CLOSEST)
        if score > best_score:
            best, best_score = angle, score
    return best


@compiled
def footprints(
    points: NDArray[np.float32], above: NDArray[np.float32], begin: Whole, members: Whole
) -> Floats:
    """Every cluster's footprint: float64 (clusters, FOOTPRINT_FIELDS).

    points: (n, 4). above: (n,), heights above the ground. begin, members: see `grouped`.
    """
    found = np.zeros((len(begin) - 1, FOOTPRINT_FIELDS))
    for k in range(len(found)):
        own = members[begin[k] : begin[k + 1]]
        if not len(own):
            continue
        xs, ys = np.empty(len(own)), np.empty(len(own))
        low, high, floor = np.inf, -np.inf, 0.0
        for i in range(len(own)):
            xs[i], ys[i] = points[own[i], 0], points[own[i], 1]
            low, high = min(low, above[own[i]]), max(high, above[own[i]])
            floor += (points[own[i], 2] - above[own[i]]) / len(own)
        angle = 0.0
        if max(xs.max() - xs.min(), ys.max() - ys.min()) < LONGEST:
            stride = (len(own) - 1) // MOST_FITTED + 1
            angle = _angle(xs[::stride], ys[::stride])
        c, s = np.cos(angle), np.sin(angle)
        us, vs = xs * c + ys * s, ys * c - xs * s
        u_low, u_high, v_low, v_high = us.min(), us.max(), vs.min(), vs.max()
        u_near = u_low if abs(u_low) < abs(u_high) else u_high
        v_near = v_low if abs(v_low) < abs(v_high) else v_high
        on_edge = 0
        for i in range(len(own)):
            on_edge += min(abs(us[i] - u_near), abs(vs[i] - v_near)) < EDGE
        found[k] = np.array(
            (angle, u_low, u_high, v_low, v_high, low, high, floor, len(own), on_edge / len(own))
        )
    return found
