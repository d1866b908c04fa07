"""Clusters of cells: connected components by union-find, then sums over each."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.grid import BIN_HI, BIN_LO, BINS, GROUND_SHIFT, GROUND_SIDE, SHIFT, SIDE
from infer.kernels.bodies.shared import Array, add, add_to, lower, lower_in, raise_in
from infer.layout import (
    ANGLE,
    CELL,
    CELLS,
    COUNT,
    EAST,
    FIRST,
    FLOOR,
    GROUND,
    HIGH_Z,
    LABEL,
    LOW_Z,
    MAX_X,
    MAX_Y,
    MAX_Z,
    MIN_X,
    MIN_Y,
    MIN_Z,
    N_BORDER,
    N_CLUSTERS,
    NONE,
    NORTH,
    OPEN,
    POINTS,
    SOUTH,
    SUM_X,
    SUM_Y,
    TOTAL_X,
    TOTAL_Y,
    U_LO,
    V_HI,
    WEST,
)

LINK = 2  # obstacle cells at most so many rows and columns apart are of one cluster


def root(parents: Array, i: int) -> int:
    """The representative of i's set."""
    while parents[i] != i:
        i = parents[i]
    return i


def unite(parents: Array, a: int, b: int) -> None:
    """Join two sets; the smaller index represents both.

    Safe under threads: the larger root is lowered atomically, and if somebody lowered it first,
    that one is joined as well. After Y. Komura, "GPU-based cluster-labeling algorithm without the
    use of conventional iteration", Computer Physics Communications 194 (2015).
    """
    while True:
        a, b = root(parents, a), root(parents, b)
        if a == b:
            return
        a, b = max(a, b), min(a, b)
        old = lower(parents, a, b)
        if old == a:
            return
        a = old


def unite_cell(i: int, p: Array, occupied: Array, columns: Array, parents: Array) -> None:
    """Join cell i with the occupied cells within LINK of it to the west and south."""
    side = p[SIDE]
    cell = columns[i, CELL]
    row, column = cell // side, cell % side
    for r in range(max(row - LINK, 0), row + 1):
        for c in range(max(column - LINK, 0), min(column + LINK + 1, side)):
            other = occupied[r * side + c]
            if other > 0 and (r < row or c < column):
                unite(parents, i, other - 1)


def clear_cluster(i: int, clusters: Array) -> None:
    """Make row i a cluster of nothing."""
    for field in range(POINTS, LOW_Z):
        clusters[i, field] = 0
    clusters[i, LOW_Z] = clusters[i, FLOOR] = clusters[i, WEST] = clusters[i, SOUTH] = NONE
    clusters[i, HIGH_Z] = clusters[i, EAST] = clusters[i, NORTH] = -NONE
    clusters[i, FIRST] = NONE
    clusters[i, OPEN] = 0
    clusters[i, ANGLE] = -1
    for field in range(U_LO, V_HI + 1):
        clusters[i, field] = 0


def number_cluster(i: int, parents: Array, number: Array, clusters: Array, n: Array) -> None:
    """Give set i a cluster's row if i represents it."""
    if parents[i] == i:
        number[i] = add(n, N_CLUSTERS, 1)
        clear_cluster(number[i], clusters)


def at_border(cell: int, p: Array, bins: Array) -> bool:
    """Whether a fine cell could be linked to one of another sector."""
    if p[BIN_LO] == 0 and p[BIN_HI] == BINS:
        return False
    side, ground_side = p[SIDE], p[GROUND_SIDE]
    shift = GROUND_SHIFT - p[SHIFT]
    row, column = cell // side, cell % side
    for r in range(max(row - LINK, 0), min(row + LINK + 1, side)):
        for c in range(max(column - LINK, 0), min(column + LINK + 1, side)):
            at = bins[(r >> shift) * ground_side + (c >> shift)]
            if at < p[BIN_LO] or at >= p[BIN_HI]:
                return True
    return False


def gather_cell(
    i: int,
    p: Array,
    bins: Array,
    columns: Array,
    parents: Array,
    number: Array,
    clusters: Array,
    border: Array,
    n: Array,
) -> None:
    """Add cell i to its cluster, and list it if it touches another sector."""
    k = number[root(parents, i)]
    columns[i, LABEL] = k
    cell = columns[i, CELL]
    half = p[SIDE] >> 1
    x, y = (cell % p[SIDE] - half) << p[SHIFT], (cell // p[SIDE] - half) << p[SHIFT]
    add_to(clusters, k, POINTS, columns[i, COUNT])
    add_to(clusters, k, CELLS, 1)
    add_to(clusters, k, TOTAL_X, columns[i, SUM_X] + columns[i, COUNT] * x)
    add_to(clusters, k, TOTAL_Y, columns[i, SUM_Y] + columns[i, COUNT] * y)
    lower_in(clusters, k, LOW_Z, columns[i, MIN_Z])
    raise_in(clusters, k, HIGH_Z, columns[i, MAX_Z])
    lower_in(clusters, k, FLOOR, columns[i, GROUND])
    lower_in(clusters, k, WEST, x + columns[i, MIN_X])
    raise_in(clusters, k, EAST, x + columns[i, MAX_X])
    lower_in(clusters, k, SOUTH, y + columns[i, MIN_Y])
    raise_in(clusters, k, NORTH, y + columns[i, MAX_Y])
    lower_in(clusters, k, FIRST, cell)
    if at_border(cell, p, bins):
        raise_in(clusters, k, OPEN, 1)
        at = add(n, N_BORDER, 1)
        border[at, 0] = cell
        border[at, 1] = k
