"""Occupancy by casting rays, in parallel."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.occupancy import (
    BEAMS,
    NO_GROUND,
    NO_OBSTACLE,
    believe_cell,
    cast_ray,
    sight_point,
)
from infer.kernels.bodies.shared import Array


def sight_points(
    points: Array,
    labels: Array,
    area: Array,
    field: Array,
    nearest: Array,
    farthest: Array,
    hit: Array,
    free: Array,
) -> None:
    """What a sweep hits and what it sees to be free.

    nearest, farthest: a row per part, all NO_OBSTACLE and NO_GROUND, and left so. Threads that mark
    the same cell write the same.
    """
    parts = nearest.shape[0]
    for part in prange(parts):
        sight_part(part, parts, points, labels, area, field, nearest, farthest, hit)
    for part in prange(parts):
        cast_part(part, parts, points, area, field, nearest, farthest, free)


def sight_part(
    part: int,
    parts: int,
    points: Array,
    labels: Array,
    area: Array,
    field: Array,
    nearest: Array,
    farthest: Array,
    hit: Array,
) -> None:
    """One part's share of the points."""
    n = points.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        sight_point(i, part, points, labels, area, field, nearest, farthest, hit)


def cast_part(
    part: int,
    parts: int,
    points: Array,
    area: Array,
    field: Array,
    nearest: Array,
    farthest: Array,
    free: Array,
) -> None:
    """One part's share of the beams."""
    for beam in range(BEAMS * part // parts, BEAMS * (part + 1) // parts):
        near, far = NO_OBSTACLE, NO_GROUND
        for other in range(parts):
            near = min(near, nearest[other, beam])
            far = max(far, farthest[other, beam])
            nearest[other, beam], farthest[other, beam] = NO_OBSTACLE, NO_GROUND
        cast_ray(near, far, points, area, field, free)


def believe_cells(
    move_rows: int,
    move_columns: int,
    area: Array,
    field: Array,
    before: Array,
    belief: Array,
    hit: Array,
    free: Array,
    parts: int,
) -> None:
    """`believe_cell` of every cell."""
    for part in prange(parts):
        believe_part(part, parts, move_rows, move_columns, area, field, before, belief, hit, free)


def believe_part(
    part: int,
    parts: int,
    move_rows: int,
    move_columns: int,
    area: Array,
    field: Array,
    before: Array,
    belief: Array,
    hit: Array,
    free: Array,
) -> None:
    """One part's share of the cells."""
    n = belief.shape[0]
    for cell in range(n * part // parts, n * (part + 1) // parts):
        believe_cell(cell, move_rows, move_columns, area, field, before, belief, hit, free)
