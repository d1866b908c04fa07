"""The gateway's loops over what sectors answered: joining the clusters that borders cut."""

from __future__ import annotations

from infer.grid import SIDE
from infer.kernels.bodies.clusters import LINK, number_cluster, root, unite
from infer.kernels.bodies.shared import Array, lower_in, raise_in
from infer.layout import EAST, FIRST, FLOOR, HIGH_Z, LOW_Z, NORTH, POINTS, SOUTH, WEST


def join_borders(p: Array, border: Array, occupied: Array, parents: Array) -> None:
    """Unite clusters whose border cells (cell, cluster) link; `occupied` comes and goes empty."""
    side = p[SIDE]
    for i in range(border.shape[0]):
        occupied[border[i, 0]] = border[i, 1] + 1
    for i in range(border.shape[0]):
        cell = border[i, 0]
        row, column = cell // side, cell % side
        for r in range(max(row - LINK, 0), min(row + LINK + 1, side)):
            for c in range(max(column - LINK, 0), min(column + LINK + 1, side)):
                if occupied[r * side + c] > 0:
                    unite(parents, border[i, 1], occupied[r * side + c] - 1)
    for i in range(border.shape[0]):
        occupied[border[i, 0]] = 0


def join_clusters(parts: Array, parents: Array, number: Array, clusters: Array, n: Array) -> None:
    """Sum up the parts of each united cluster; number[i] becomes the row part i went to."""
    for i in range(parts.shape[0]):
        number_cluster(i, parents, number, clusters, n)
    for i in range(parts.shape[0]):
        k = number[root(parents, i)]
        number[i] = k
        for field in range(POINTS, LOW_Z):
            clusters[k, field] += parts[i, field]
        lower_in(clusters, k, LOW_Z, parts[i, LOW_Z])
        raise_in(clusters, k, HIGH_Z, parts[i, HIGH_Z])
        lower_in(clusters, k, FLOOR, parts[i, FLOOR])
        lower_in(clusters, k, WEST, parts[i, WEST])
        raise_in(clusters, k, EAST, parts[i, EAST])
        lower_in(clusters, k, SOUTH, parts[i, SOUTH])
        raise_in(clusters, k, NORTH, parts[i, NORTH])
        lower_in(clusters, k, FIRST, parts[i, FIRST])
