"""Clusters of points, in parallel but for the few thousand cells themselves."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.components import (
    LISTED,
    link_cell,
    list_occupied,
    mark_point,
    name_cell,
    name_first,
    name_point,
)
from infer.kernels.bodies.shared import Array

WORD = 8  # cells that are looked at together: most are empty


def cluster_points(
    points: Array,
    area: Array,
    link: int,
    labels: Array,
    cell_of: Array,
    occupied: Array,
    words: Array,
    cells: Array,
    parents: Array,
    names: Array,
    n: Array,
    clusters: Array,
    parts: int,
) -> None:
    """The cluster of each point that stands out; words: `occupied` as uint64, all 0, left so."""
    for part in prange(parts):
        mark_part(part, parts, points, area, labels, cell_of, occupied)
    join_cells(area, link, occupied, words, cells, parents, names, n)
    for part in prange(parts):
        name_part(part, parts, cell_of, names, clusters)


def mark_part(
    part: int,
    parts: int,
    points: Array,
    area: Array,
    labels: Array,
    cell_of: Array,
    occupied: Array,
) -> None:
    """One part's share of the points, marked."""
    count = points.shape[0]
    for i in range(count * part // parts, count * (part + 1) // parts):
        mark_point(i, points, area, labels, cell_of, occupied)


def join_cells(
    area: Array,
    link: int,
    occupied: Array,
    words: Array,
    cells: Array,
    parents: Array,
    names: Array,
    n: Array,
) -> None:
    """List, join and number the occupied cells, in their order."""
    n[:] = 0
    for word in range(words.shape[0]):
        if words[word]:
            for cell in range(word * WORD, word * WORD + WORD):
                list_occupied(cell, occupied, cells, parents, n)
    for k in range(n[LISTED]):
        link_cell(k, area, link, occupied, cells, parents)
    for k in range(n[LISTED]):
        name_first(k, cells, parents, names, n)
    for k in range(n[LISTED]):
        name_cell(k, occupied, cells, parents, names)


def name_part(part: int, parts: int, cell_of: Array, names: Array, clusters: Array) -> None:
    """One part's share of the points, named."""
    count = clusters.shape[0]
    for i in range(count * part // parts, count * (part + 1) // parts):
        name_point(i, cell_of, names, clusters)
