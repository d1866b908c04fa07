"""Boxes: the rectangle around a cluster, turned to the angle that its cells' edges speak for."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.grid import FIT_LIMIT, MIN_POINTS, SHIFT, SIDE
from infer.kernels.bodies.shared import Array, add
from infer.layout import (
    ANGLE,
    ANGLES,
    CELL,
    CELLS,
    COUNT,
    EAST,
    LABEL,
    MAX_X,
    MAX_XMY,
    MAX_XPY,
    MAX_Y,
    MIN_X,
    MIN_XMY,
    MIN_XPY,
    MIN_Y,
    N_ORDERED,
    NORTH,
    OPEN,
    POINTS,
    SOUTH,
    SUM_X,
    SUM_Y,
    TURN_SHIFT,
    U_HI,
    U_LO,
    V_HI,
    V_LO,
    WEST,
)

EDGE = 256 << TURN_SHIFT  # 0.25 m: cells nearer than this to a box's edge speak for it


def can_turn(i: int, p: Array, clusters: Array) -> bool:
    """Whether a cluster is short enough for a turned box; what it lacks in parts only adds."""
    return bool(
        clusters[i, EAST] - clusters[i, WEST] <= p[FIT_LIMIT]
        and clusters[i, NORTH] - clusters[i, SOUTH] <= p[FIT_LIMIT]
    )


def place_cluster(i: int, p: Array, clusters: Array, start: Array, filled: Array, n: Array) -> None:
    """Reserve room for the cells of cluster i, if its box is to be fitted here."""
    filled[i] = 0
    start[i] = -1
    if not clusters[i, OPEN] and clusters[i, POINTS] >= p[MIN_POINTS] and can_turn(i, p, clusters):
        start[i] = add(n, N_ORDERED, clusters[i, CELLS])


def order_cell(
    i: int,
    p: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    xs: Array,
    ys: Array,
) -> None:
    """Put cell i among its cluster's; (xs, ys) is its points' mean, from (WEST, SOUTH)."""
    k = columns[i, LABEL]
    if start[k] < 0:
        return
    at = start[k] + add(filled, k, 1)
    member[at] = i
    half = p[SIDE] >> 1
    x = (columns[i, CELL] % p[SIDE] - half) << p[SHIFT]
    y = (columns[i, CELL] // p[SIDE] - half) << p[SHIFT]
    xs[at] = x + columns[i, SUM_X] // columns[i, COUNT] - clusters[k, WEST]
    ys[at] = y + columns[i, SUM_Y] // columns[i, COUNT] - clusters[k, SOUTH]


def rate_angle(
    i: int,
    cosines: Array,
    sines: Array,
    start: Array,
    filled: Array,
    xs: Array,
    ys: Array,
    scores: Array,
) -> None:
    """Score one angle for one cluster, i = cluster * ANGLES + angle: how many cells lie on an edge.

    Each cell within EDGE of the nearest edge of the rectangle around the cluster counts by how
    near it is. A criterion of closeness in the sense of X. Zhang et al., "Efficient L-Shape
    Fitting for Vehicle Detection Using Laser Scanners", IEEE IV 2017, in whole numbers.
    """
    k, angle = i // ANGLES, i % ANGLES
    if start[k] < 0:
        return
    c, s = cosines[angle], sines[angle]
    first, last = start[k], start[k] + filled[k]
    u_lo = v_lo = 1 << 60
    u_hi = v_hi = -(1 << 60)
    for at in range(first, last):
        u, v = xs[at] * c + ys[at] * s, ys[at] * c - xs[at] * s
        u_lo, u_hi = min(u_lo, u), max(u_hi, u)
        v_lo, v_hi = min(v_lo, v), max(v_hi, v)
    score = 0
    for at in range(first, last):
        u, v = xs[at] * c + ys[at] * s, ys[at] * c - xs[at] * s
        nearest = min(u - u_lo, u_hi - u, v - v_lo, v_hi - v)
        score += max(EDGE - nearest, 0)
    scores[i] = score


def reach(c: int, s: int, x: int, y: int, x_plus_y: int) -> int:
    """How far an octagon goes in direction (c, s), 0 <= c, s.

    x, y, x_plus_y: its supports towards x, y and their diagonal. The direction is a positive
    combination of the two nearest of these, so its support is at most that of theirs.
    """
    if c >= s:
        return (c - s) * x + s * x_plus_y
    return (s - c) * y + c * x_plus_y


def fit_box(
    i: int,
    p: Array,
    cosines: Array,
    sines: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    scores: Array,
) -> None:
    """Choose the best angle of cluster i (the smallest of equals) and measure its box there."""
    if start[i] < 0:
        clusters[i, ANGLE] = 0
        clusters[i, U_HI] = (clusters[i, EAST] - clusters[i, WEST]) << TURN_SHIFT
        clusters[i, V_HI] = (clusters[i, NORTH] - clusters[i, SOUTH]) << TURN_SHIFT
        return
    best = 0
    for angle in range(1, ANGLES):
        if scores[i * ANGLES + angle] > scores[i * ANGLES + best]:
            best = angle
    c, s = cosines[best], sines[best]
    half = p[SIDE] >> 1
    u_lo = v_lo = 1 << 60
    u_hi = v_hi = -(1 << 60)
    for at in range(start[i], start[i] + filled[i]):
        row = member[at]
        cell = columns[row, CELL]
        x = ((cell % p[SIDE] - half) << p[SHIFT]) - clusters[i, WEST]
        y = ((cell // p[SIDE] - half) << p[SHIFT]) - clusters[i, SOUTH]
        u, v = x * c + y * s, y * c - x * s
        west, east = columns[row, MIN_X], columns[row, MAX_X]
        south, north = columns[row, MIN_Y], columns[row, MAX_Y]
        u_hi = max(u_hi, u + reach(c, s, east, north, columns[row, MAX_XPY]))
        u_lo = min(u_lo, u - reach(c, s, -west, -south, -columns[row, MIN_XPY]))
        v_hi = max(v_hi, v + reach(c, s, north, -west, -columns[row, MIN_XMY]))
        v_lo = min(v_lo, v - reach(c, s, -south, east, columns[row, MAX_XMY]))
    clusters[i, ANGLE] = best
    clusters[i, U_LO], clusters[i, U_HI] = u_lo, u_hi
    clusters[i, V_LO], clusters[i, V_HI] = v_lo, v_hi
