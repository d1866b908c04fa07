"""Clusters of points on CUDA; see `infer.perception.clusters`. Their numbers come in any order."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.components import COMPONENT_COUNTERS, LISTED, NAMED
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.area import Area
from infer.perception.clusters import Clusters

_mark_point = bodies.mark_point
_list_occupied = bodies.list_occupied
_link_cell = bodies.link_cell
_name_first = bodies.name_first
_name_cell = bodies.name_cell
_name_point = bodies.name_point


@cuda.jit
def each_marked(points: Any, area: Any, labels: Any, cell_of: Any, occupied: Any) -> None:
    """`mark_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _mark_point(i, points, area, labels, cell_of, occupied)


@cuda.jit
def each_cell_listed(occupied: Any, cells: Any, parents: Any, n: Any) -> None:
    """`list_occupied` of each item."""
    for cell in range(cuda.grid(1), occupied.shape[0], cuda.gridsize(1)):
        _list_occupied(cell, occupied, cells, parents, n)


@cuda.jit
def each_linked(area: Any, link: Any, occupied: Any, cells: Any, parents: Any, n: Any) -> None:
    """`link_cell` of each item."""
    for k in range(cuda.grid(1), n[LISTED], cuda.gridsize(1)):
        _link_cell(k, area, link, occupied, cells, parents)


@cuda.jit
def each_first_named(cells: Any, parents: Any, names: Any, n: Any) -> None:
    """`name_first` of each item."""
    for k in range(cuda.grid(1), n[LISTED], cuda.gridsize(1)):
        _name_first(k, cells, parents, names, n)


@cuda.jit
def each_cell_named(occupied: Any, cells: Any, parents: Any, names: Any, n: Any) -> None:
    """`name_cell` of each item."""
    for k in range(cuda.grid(1), n[LISTED], cuda.gridsize(1)):
        _name_cell(k, occupied, cells, parents, names)


@cuda.jit
def each_point_named(cell_of: Any, names: Any, clusters: Any) -> None:
    """`name_point` of each item."""
    for i in range(cuda.grid(1), clusters.shape[0], cuda.gridsize(1)):
        _name_point(i, cell_of, names, clusters)


class CudaClusterer:
    """Clusters sweeps on the current GPU; keeps its memory there between them."""

    def __init__(self, area: Area, max_points: int, *, link: int = 2) -> None:
        cells = area.across**2
        self._area, self._link = cuda.to_device(area.parameters()), link
        self._cell_of = cuda.device_array(max_points, np.int32)
        self._occupied = cuda.to_device(np.zeros(cells, np.uint8))
        self._cells, self._parents, self._names = (
            cuda.device_array(cells, np.int32) for _ in range(3)
        )

    def cluster(self, points: NDArray[np.float32], labels: NDArray[np.uint8]) -> Clusters:
        """Clusters of the points, 0 < n <= max_points, that labels call above."""
        per_point, per_cell = launch(len(points)), launch(self._cells.size)
        sent, marks = cuda.to_device(points.copy()), cuda.to_device(labels.copy())
        occupied, cells, parents, names = self._occupied, self._cells, self._parents, self._names
        n = cuda.to_device(np.zeros(COMPONENT_COUNTERS, np.int32))
        clusters = cuda.device_array(len(points), np.int32)
        each_marked[per_point](sent, self._area, marks, self._cell_of, occupied)
        each_cell_listed[per_cell](occupied, cells, parents, n)
        each_linked[per_cell](self._area, self._link, occupied, cells, parents, n)
        each_first_named[per_cell](cells, parents, names, n)
        each_cell_named[per_cell](occupied, cells, parents, names, n)
        each_point_named[per_point](self._cell_of, names, clusters)
        return Clusters(clusters.copy_to_host(), int(n.copy_to_host()[NAMED]))
