"""The rectangle around each cluster of points seen from above, turned as the points speak for.

xs, ys: places of all clusters' points, (m,), cluster by cluster; first: (clusters + 1,), where each
begins. turns: (steps, 2), cosine and sine of the angles tried within a quarter turn. scores:
(clusters, steps). Arrays are of float32 or float64, all of one.

L-shape fitting by closeness: X. Zhang, W. Xu, C. Dong and J. M. Dolan, "Efficient L-Shape Fitting
for Vehicle Detection Using Laser Scanners", IEEE IV 2017, on points instead of one scan line. The
sweep pipeline's fit (`boxes`) is on cells and in whole numbers, so that sectors join exactly.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array

U_LOW, U_HIGH, V_LOW, V_HIGH = range(4)
SIDES = 4

CLOSEST = np.float32(0.1)  # m: points nearer to an edge than this speak for it alike
MOST_FITTED = 256  # points of a cluster that speak for its angle, evenly taken from all of them
LONGEST = np.float32(25)  # m: larger clusters are walls and hedges, whose angle is of no account

NO_SCORE = np.float32(0)
ONE_POINT = np.float32(1)
BEYOND = np.float32(1e9)


def gather_place(at: int, points: Array, members: Array, xs: Array, ys: Array) -> None:
    """Where member `at` of all clusters is."""
    xs[at], ys[at] = points[members[at], 0], points[members[at], 1]


def measure_sides(
    k: int, step: int, first: Array, xs: Array, ys: Array, turns: Array, sides: Array
) -> None:
    """How far the points of cluster k reach at one angle, and across."""
    c, s = turns[step, 0], turns[step, 1]
    u_low = v_low = BEYOND
    u_high = v_high = -BEYOND
    for at in range(first[k], first[k + 1]):
        u, v = xs[at] * c + ys[at] * s, ys[at] * c - xs[at] * s
        u_low, u_high = min(u_low, u), max(u_high, u)
        v_low, v_high = min(v_low, v), max(v_high, v)
    sides[k, U_LOW], sides[k, U_HIGH] = u_low, u_high
    sides[k, V_LOW], sides[k, V_HIGH] = v_low, v_high


def rate_turn(
    k: int, step: int, first: Array, xs: Array, ys: Array, turns: Array, scores: Array
) -> None:
    """How close the points of cluster k are to the edges of the rectangle at one angle."""
    c, s = turns[step, 0], turns[step, 1]
    stride = (first[k + 1] - first[k] - 1) // MOST_FITTED + 1
    u_low = v_low = BEYOND
    u_high = v_high = -BEYOND
    for at in range(first[k], first[k + 1], stride):
        u, v = xs[at] * c + ys[at] * s, ys[at] * c - xs[at] * s
        u_low, u_high = min(u_low, u), max(u_high, u)
        v_low, v_high = min(v_low, v), max(v_high, v)
    score = NO_SCORE
    for at in range(first[k], first[k + 1], stride):
        u, v = xs[at] * c + ys[at] * s, ys[at] * c - xs[at] * s
        near = min(u - u_low, u_high - u, v - v_low, v_high - v)
        score += ONE_POINT / max(near, CLOSEST)
    scores[k, step] = score


def fit_rectangle(
    k: int,
    first: Array,
    xs: Array,
    ys: Array,
    turns: Array,
    scores: Array,
    best: Array,
    sides: Array,
) -> None:
    """The angle of cluster k, by its step (of equals the first), and where its four sides are."""
    measure_sides(k, 0, first, xs, ys, turns, sides)
    best[k] = 0
    wide, deep = sides[k, U_HIGH] - sides[k, U_LOW], sides[k, V_HIGH] - sides[k, V_LOW]
    if max(wide, deep) < LONGEST:
        for step in range(1, turns.shape[0]):
            if scores[k, step] > scores[k, best[k]]:
                best[k] = step
        measure_sides(k, best[k], first, xs, ys, turns, sides)
