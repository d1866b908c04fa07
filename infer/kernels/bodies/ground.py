"""Ground: its height in each ground cell, and the points that stand out from it."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.grid import BIN_HI, BIN_LO, CEILING, GROUND_SHIFT, GROUND_SIDE, HEIGHT, SHIFT, SIDE, STEP
from infer.kernels.bodies.points import ground_cell, slack, units, usable
from infer.kernels.bodies.shared import Array, add, lower
from infer.layout import (
    GROUND_CELLS,
    GROUND_POINTS,
    NONE,
    OBSTACLE_POINTS,
    OUTSIDE_POINTS,
    OVERHEAD_POINTS,
    STRAY_POINTS,
)

GROUND_STEP = 205  # 0.2 m: ground may rise this much from one ground cell to the next


def note_lowest(i: int, points: Array, p: Array, lowest: Array) -> None:
    """Point i lowers its ground cell's lowest height, unless it lies below any possible ground."""
    if usable(points, i):
        x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
        cell = ground_cell(x, y, p)
        if cell >= 0 and z >= -p[HEIGHT] - slack(x, y):
            lower(lowest, cell, z)


def settle_ground(i: int, p: Array, bins: Array, lowest: Array, ground: Array, n: Array) -> None:
    """Decide the ground's height in ground cell i from its lowest point and its neighbours'.

    The own lowest point is ground if it is not a step above the lowest around and not higher than
    ground can be; else the ground is hidden there and taken from around.
    """
    ground[i] = NONE
    own = lowest[i]
    if own == NONE or bins[i] < p[BIN_LO] or bins[i] >= p[BIN_HI]:
        return
    side = p[GROUND_SIDE]
    row, column = i // side, i % side
    around = own
    for r in range(max(row - 1, 0), min(row + 2, side)):
        for c in range(max(column - 1, 0), min(column + 2, side)):
            around = min(around, lowest[r * side + c])
    half = side >> 1
    highest = -p[HEIGHT] + slack((column - half) << GROUND_SHIFT, (row - half) << GROUND_SHIFT)
    if own - around <= GROUND_STEP and own <= highest:
        ground[i] = own
        add(n, GROUND_CELLS, 1)
    else:
        ground[i] = min(around, highest)


def sort_point(
    i: int, points: Array, p: Array, ground: Array, occupied: Array, cell_of: Array, n: Array
) -> None:
    """Tell ground, obstacle and the rest apart; mark the fine cell of an obstacle point."""
    cell_of[i] = -1
    if not usable(points, i):
        return
    x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
    cell = ground_cell(x, y, p)
    if cell < 0:
        add(n, OUTSIDE_POINTS, 1)
        return
    above = z - ground[cell]
    if ground[cell] == NONE or z < -p[HEIGHT] - slack(x, y):
        add(n, STRAY_POINTS, 1)
    elif above <= p[STEP]:
        add(n, GROUND_POINTS, 1)
    elif above > p[CEILING]:
        add(n, OVERHEAD_POINTS, 1)
    else:
        add(n, OBSTACLE_POINTS, 1)
        half = p[SIDE] >> 1
        fine = ((y >> p[SHIFT]) + half) * p[SIDE] + (x >> p[SHIFT]) + half
        cell_of[i] = fine
        occupied[fine] = 1
