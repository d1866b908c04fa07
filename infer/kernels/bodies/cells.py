"""Cells: the columns of obstacle points over the fine grid, each listed once."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.grid import SHIFT
from infer.kernels.bodies.points import ground_cell, units
from infer.kernels.bodies.shared import Array, add, add_to, lower_in, raise_in
from infer.layout import (
    CELL,
    COUNT,
    GROUND,
    LABEL,
    MAX_X,
    MAX_XMY,
    MAX_XPY,
    MAX_Y,
    MAX_Z,
    MIN_X,
    MIN_XMY,
    MIN_XPY,
    MIN_Y,
    MIN_Z,
    N_CELLS,
    NONE,
    SUM_X,
    SUM_Y,
)


def list_cell(i: int, p: Array, occupied: Array, columns: Array, parents: Array, n: Array) -> None:
    """Give fine cell i a row if a point marked it; `occupied` then holds 1 + the row's index."""
    if occupied[i] == 0:
        return
    row = add(n, N_CELLS, 1)
    occupied[i] = row + 1
    parents[row] = row
    columns[row, CELL] = i
    columns[row, LABEL] = -1
    columns[row, COUNT] = 0
    columns[row, SUM_X] = 0
    columns[row, SUM_Y] = 0
    columns[row, MIN_Z] = NONE
    columns[row, MAX_Z] = -NONE
    columns[row, GROUND] = 0
    for field in range(MIN_X, MAX_XMY, 2):
        columns[row, field] = NONE
        columns[row, field + 1] = -NONE


def measure_point(
    i: int,
    points: Array,
    p: Array,
    ground: Array,
    occupied: Array,
    cell_of: Array,
    columns: Array,
) -> None:
    """Add obstacle point i to its cell's row."""
    if cell_of[i] < 0:
        return
    row = occupied[cell_of[i]] - 1
    x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
    columns[row, GROUND] = ground[ground_cell(x, y, p)]
    mask = (1 << p[SHIFT]) - 1
    x, y = x & mask, y & mask
    add_to(columns, row, COUNT, 1)
    add_to(columns, row, SUM_X, x)
    add_to(columns, row, SUM_Y, y)
    lower_in(columns, row, MIN_Z, z)
    raise_in(columns, row, MAX_Z, z)
    lower_in(columns, row, MIN_X, x)
    raise_in(columns, row, MAX_X, x)
    lower_in(columns, row, MIN_Y, y)
    raise_in(columns, row, MAX_Y, y)
    lower_in(columns, row, MIN_XPY, x + y)
    raise_in(columns, row, MAX_XPY, x + y)
    lower_in(columns, row, MIN_XMY, x - y)
    raise_in(columns, row, MAX_XMY, x - y)


def clear_cell(i: int, occupied: Array, columns: Array) -> None:
    """Make the dense grid empty again, cell by listed cell."""
    occupied[columns[i, CELL]] = 0
