"""The bodies on a CPU: one item after another.

The CUDA counterparts, of the same names and arguments, are in `infer.kernels.cuda`.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.kernels.bodies.boxes import fit_box, order_cell, place_cluster, rate_angle
from infer.kernels.bodies.cells import clear_cell, list_cell, measure_point
from infer.kernels.bodies.clusters import gather_cell, number_cluster, unite_cell
from infer.kernels.bodies.ground import note_lowest, settle_ground, sort_point
from infer.kernels.bodies.shared import Array
from infer.layout import ANGLES, N_CELLS, N_CLUSTERS


def each_lowest(points: Array, p: Array, lowest: Array) -> None:
    """`note_lowest` of every point."""
    for i in range(points.shape[0]):
        note_lowest(i, points, p, lowest)


def each_ground(p: Array, bins: Array, lowest: Array, ground: Array, n: Array) -> None:
    """`settle_ground` of every ground cell."""
    for i in range(lowest.shape[0]):
        settle_ground(i, p, bins, lowest, ground, n)


def each_sorted(
    points: Array, p: Array, ground: Array, occupied: Array, cell_of: Array, n: Array
) -> None:
    """`sort_point` of every point."""
    for i in range(points.shape[0]):
        sort_point(i, points, p, ground, occupied, cell_of, n)


def each_listed(p: Array, occupied: Array, columns: Array, parents: Array, n: Array) -> None:
    """`list_cell` of every fine cell."""
    for i in range(occupied.shape[0]):
        list_cell(i, p, occupied, columns, parents, n)


def each_measured(
    points: Array, p: Array, ground: Array, occupied: Array, cell_of: Array, columns: Array
) -> None:
    """`measure_point` of every point."""
    for i in range(points.shape[0]):
        measure_point(i, points, p, ground, occupied, cell_of, columns)


def each_united(p: Array, occupied: Array, columns: Array, parents: Array, n: Array) -> None:
    """`unite_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        unite_cell(i, p, occupied, columns, parents)


def each_numbered(parents: Array, number: Array, clusters: Array, n: Array) -> None:
    """`number_cluster` of every listed cell."""
    for i in range(n[N_CELLS]):
        number_cluster(i, parents, number, clusters, n)


def each_gathered(
    p: Array,
    bins: Array,
    columns: Array,
    parents: Array,
    number: Array,
    clusters: Array,
    border: Array,
    n: Array,
) -> None:
    """`gather_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        gather_cell(i, p, bins, columns, parents, number, clusters, border, n)


def each_cleared(occupied: Array, columns: Array, n: Array) -> None:
    """`clear_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        clear_cell(i, occupied, columns)


def each_placed(p: Array, clusters: Array, start: Array, filled: Array, n: Array) -> None:
    """`place_cluster` of every cluster."""
    for i in range(n[N_CLUSTERS]):
        place_cluster(i, p, clusters, start, filled, n)


def each_ordered(
    p: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    xs: Array,
    ys: Array,
    n: Array,
) -> None:
    """`order_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        order_cell(i, p, columns, clusters, start, filled, member, xs, ys)


def each_rated(
    cosines: Array,
    sines: Array,
    start: Array,
    filled: Array,
    xs: Array,
    ys: Array,
    scores: Array,
    n: Array,
) -> None:
    """`rate_angle` of every angle of every cluster."""
    for i in range(n[N_CLUSTERS] * ANGLES):
        rate_angle(i, cosines, sines, start, filled, xs, ys, scores)


def each_fitted(
    p: Array,
    cosines: Array,
    sines: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    scores: Array,
    n: Array,
) -> None:
    """`fit_box` of every cluster."""
    for i in range(n[N_CLUSTERS]):
        fit_box(i, p, cosines, sines, columns, clusters, start, filled, member, scores)
