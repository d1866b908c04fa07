"""Clusters of points: connected components of the cells that they are in, as seen from above."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.kernels.bodies.area import ACROSS, area_cell
from infer.kernels.bodies.clusters import root, unite
from infer.kernels.bodies.plane import ABOVE
from infer.kernels.bodies.shared import Array, add

LISTED, NAMED = range(2)  # counters
COMPONENT_COUNTERS = 2


def mark_point(
    i: int, points: Array, area: Array, labels: Array, cell_of: Array, occupied: Array
) -> None:
    """Note the cell of point i, if it stands out of the ground."""
    cell = -1
    if labels[i] == ABOVE:
        cell = area_cell(points[i, 0], points[i, 1], area)
    cell_of[i] = cell
    if cell >= 0:
        occupied[cell] = 1


def list_occupied(cell: int, occupied: Array, cells: Array, parents: Array, n: Array) -> None:
    """List an occupied cell, in a set of its own."""
    if occupied[cell]:
        cells[add(n, LISTED, 1)] = cell
        parents[cell] = cell


def link_cell(
    k: int, area: Array, link: int, occupied: Array, cells: Array, parents: Array
) -> None:
    """Join listed cell k with those at most `link` rows and columns to its west and south."""
    cell, across = cells[k], int(area[ACROSS])
    row, column = cell // across, cell % across
    for r in range(max(row - link, 0), row + 1):
        last = min(column + link, across - 1) if r < row else column - 1
        for c in range(max(column - link, 0), last + 1):
            if occupied[r * across + c]:
                unite(parents, cell, r * across + c)


def name_first(k: int, cells: Array, parents: Array, names: Array, n: Array) -> None:
    """Give the set that listed cell k represents the next number."""
    if parents[cells[k]] == cells[k]:
        names[cells[k]] = add(n, NAMED, 1)


def name_cell(k: int, occupied: Array, cells: Array, parents: Array, names: Array) -> None:
    """The number of listed cell k's set; the cell is made empty again."""
    names[cells[k]] = names[root(parents, cells[k])]
    occupied[cells[k]] = 0


def name_point(i: int, cell_of: Array, names: Array, clusters: Array) -> None:
    """The number of point i's cluster, -1 for none."""
    clusters[i] = names[cell_of[i]] if cell_of[i] >= 0 else -1
