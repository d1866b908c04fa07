"""Occupancy: what a sweep says of each cell, by casting a ray per beam; belief that fades.

The grid is an `area` whose cells stand still in the world while the sensor moves over it: the
sensor is where `field` says, in metres from the area's middle, less than a cell. A beam is a step
of azimuth. Its ray ends at its nearest obstacle, else at the farthest ground that it saw.

Rays run in whole steps, 2048 to a cell, and begin and end on odd ones: never on a cell's edge.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import math

import numpy as np

from infer.kernels.bodies.angles import HALF_TURN, angle_of
from infer.kernels.bodies.area import ACROSS, CELLS_PER_M, REACH
from infer.kernels.bodies.plane import ABOVE, GROUND_POINT
from infer.kernels.bodies.points import units, usable
from infer.kernels.bodies.shared import Array, lower_in, raise_in

AT_X, AT_Y, CEILING_M, KEEP, HIT, FREE, MOST = range(7)
FIELD_FIELDS = 7

BEAMS = 2048
BEAMS_PER_RAD = np.float32(BEAMS / (2 * np.pi))
STEP_BITS = 11
HALF_STEPS = np.float32(1 << (STEP_BITS - 1))

REACH_SHIFT = 32  # as in a range image: the range above, then the index
NO_OBSTACLE = (1 << 62) - 1
NO_GROUND = -1
POINT_BITS = (1 << REACH_SHIFT) - 1

UNSEEN = np.float32(0)


def step_of(metres: float, area: Array) -> int:
    """Where a place lies along an axis of the grid, from its edge, in odd steps."""
    scaled = (metres + area[REACH]) * area[CELLS_PER_M] * HALF_STEPS
    whole = int(scaled)
    return 2 * (whole - 1 if np.float32(whole) > scaled else whole) + 1


def sight_point(
    i: int,
    part: int,
    points: Array,
    labels: Array,
    area: Array,
    field: Array,
    nearest: Array,
    farthest: Array,
    hit: Array,
) -> None:
    """What point i says: an obstacle marks its cell and may end its beam, ground may reach out."""
    if not usable(points, i) or (labels[i] != ABOVE and labels[i] != GROUND_POINT):
        return
    x, y = points[i, 0], points[i, 1]
    beam = min(int((angle_of(y, x) + HALF_TURN) * BEAMS_PER_RAD), BEAMS - 1)
    key = (units(math.sqrt(x * x + y * y)) << REACH_SHIFT) + i
    if labels[i] == GROUND_POINT:
        raise_in(farthest, part, beam, key)
    elif points[i, 2] < field[CEILING_M]:
        lower_in(nearest, part, beam, key)
        column = step_of(x + field[AT_X], area) >> STEP_BITS
        row = step_of(y + field[AT_Y], area) >> STEP_BITS
        across = int(area[ACROSS])
        if 0 <= column < across and 0 <= row < across:
            hit[row * across + column] = 1


def cast_ray(near: int, far: int, points: Array, area: Array, field: Array, free: Array) -> None:
    """Mark the cells from the sensor to the beam's end free, but for an obstacle's own.

    After J. Amanatides and A. Woo, "A Fast Voxel Traversal Algorithm for Ray Tracing",
    Eurographics 1987; through a corner, x goes first.
    """
    blocked = near != NO_OBSTACLE
    if not blocked and far == NO_GROUND:
        return
    i = (near if blocked else far) & POINT_BITS
    x, y = step_of(field[AT_X], area), step_of(field[AT_Y], area)
    to_x = step_of(points[i, 0] + field[AT_X], area)
    to_y = step_of(points[i, 1] + field[AT_Y], area)
    across = int(area[ACROSS])
    column, row = x >> STEP_BITS, y >> STEP_BITS
    length_x, length_y = abs(to_x - x), abs(to_y - y)
    way_x, way_y = 1 if to_x >= x else -1, 1 if to_y >= y else -1
    width = 1 << STEP_BITS
    # How far the next edge is along each axis.
    edge_x = ((column + 1) << STEP_BITS) - x if way_x > 0 else x - (column << STEP_BITS)
    edge_y = ((row + 1) << STEP_BITS) - y if way_y > 0 else y - (row << STEP_BITS)
    crossings = abs((to_x >> STEP_BITS) - column) + abs((to_y >> STEP_BITS) - row)
    for _ in range(crossings):
        free[row * across + column] = 1
        if edge_x * length_y <= edge_y * length_x:
            column += way_x
            edge_x += width
        else:
            row += way_y
            edge_y += width
        if column < 0 or row < 0 or column >= across or row >= across:
            return
    if not blocked:
        free[row * across + column] = 1


def believe_cell(
    cell: int,
    move_rows: int,
    move_columns: int,
    area: Array,
    field: Array,
    before: Array,
    belief: Array,
    hit: Array,
    free: Array,
) -> None:
    """The log-odds of a cell: what was believed of its place, faded, and what was seen now.

    After H. Moravec and A. Elfes, "High resolution maps from wide angle sonar", ICRA 1985, in
    log-odds, bounded by MOST on both sides. What was seen is forgotten.
    """
    across = int(area[ACROSS])
    row, column = cell // across + move_rows, cell % across + move_columns
    odds = UNSEEN
    if 0 <= row < across and 0 <= column < across:
        odds = before[row * across + column] * field[KEEP]
    if hit[cell]:
        odds += field[HIT]
    elif free[cell]:
        odds -= field[FREE]
    belief[cell] = max(min(odds, field[MOST]), -field[MOST])
    hit[cell] = 0
    free[cell] = 0
