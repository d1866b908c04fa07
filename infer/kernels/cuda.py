"""The kernels on CUDA: the bodies once per thread, with atomics; and the pipeline on one GPU.

Imports Numba's CUDA target: only a device process that was asked for CUDA does. Where Numba's
simulator was switched on before (`infer.cuda_devices.simulator`), the same code runs in it, slowly
and without a GPU.
Counts stay on the GPU between kernels; threads stride over items, so any launch covers any count.
"""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import config
from numpy.typing import NDArray

from infer.grid import Grid, azimuth_bins
from infer.kernels.bind import bind
from infer.kernels.bodies import MODULES as BODIES
from infer.kernels.turns import COSINES, SINES
from infer.layout import (
    ANGLES,
    CLUSTER_FIELDS,
    COLUMN_FIELDS,
    COUNTERS,
    N_BORDER,
    N_CELLS,
    N_CLUSTERS,
    NONE,
)
from infer.partial import Tables

cuda: Any = importlib.import_module("numba.cuda")  # it has no types

SIMULATED = bool(getattr(config, "ENABLE_CUDASIM", False))

_THREADS = 1 if SIMULATED else 128  # the simulator starts a Python thread for each
_MOST_BLOCKS = 1 if SIMULATED else 1024


def _on_device(function: Callable[..., Any]) -> Any:
    return cuda.jit(function, device=True)


def _add(array: Any, i: int, value: int) -> int:
    old: int = cuda.atomic.add(array, i, value)
    return old


def _lower(array: Any, i: int, value: int) -> int:
    old: int = cuda.atomic.min(array, i, value)
    return old


def _add_to(table: Any, i: int, j: int, value: int) -> None:
    cuda.atomic.add(table, (i, j), value)


def _add_in(table: Any, i: int, j: int, value: int) -> int:
    old: int = cuda.atomic.add(table, (i, j), value)
    return old


def _lower_in(table: Any, i: int, j: int, value: int) -> None:
    cuda.atomic.min(table, (i, j), value)


def _raise_in(table: Any, i: int, j: int, value: int) -> None:
    cuda.atomic.max(table, (i, j), value)


_ATOMIC: Mapping[str, Any] = {
    "add": _on_device(_add),
    "lower": _on_device(_lower),
    "add_to": _on_device(_add_to),
    "add_in": _on_device(_add_in),
    "lower_in": _on_device(_lower_in),
    "raise_in": _on_device(_raise_in),
}
bodies = bind(BODIES, _on_device, _ATOMIC)

_note_lowest = bodies.note_lowest
_settle_ground = bodies.settle_ground
_sort_point = bodies.sort_point
_list_cell = bodies.list_cell
_measure_point = bodies.measure_point
_unite_cell = bodies.unite_cell
_number_cluster = bodies.number_cluster
_gather_cell = bodies.gather_cell
_clear_cell = bodies.clear_cell
_place_cluster = bodies.place_cluster
_order_cell = bodies.order_cell
_rate_angle = bodies.rate_angle
_fit_box = bodies.fit_box

# --- one thread per item; the arguments are those of the body -------------------------------------


@cuda.jit
def each_lowest(points: Any, p: Any, lowest: Any) -> None:
    """`note_lowest` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _note_lowest(i, points, p, lowest)


@cuda.jit
def each_ground(p: Any, bins: Any, lowest: Any, ground: Any, n: Any) -> None:
    """`settle_ground` of each item."""
    for i in range(cuda.grid(1), lowest.shape[0], cuda.gridsize(1)):
        _settle_ground(i, p, bins, lowest, ground, n)


@cuda.jit
def each_sorted(points: Any, p: Any, ground: Any, occupied: Any, cell_of: Any, n: Any) -> None:
    """`sort_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _sort_point(i, points, p, ground, occupied, cell_of, n)


@cuda.jit
def each_listed(p: Any, occupied: Any, columns: Any, parents: Any, n: Any) -> None:
    """`list_cell` of each item."""
    for i in range(cuda.grid(1), occupied.shape[0], cuda.gridsize(1)):
        _list_cell(i, p, occupied, columns, parents, n)


@cuda.jit
def each_measured(
    points: Any, p: Any, ground: Any, occupied: Any, cell_of: Any, columns: Any
) -> None:
    """`measure_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _measure_point(i, points, p, ground, occupied, cell_of, columns)


@cuda.jit
def each_united(p: Any, occupied: Any, columns: Any, parents: Any, n: Any) -> None:
    """`unite_cell` of each item."""
    for i in range(cuda.grid(1), n[N_CELLS], cuda.gridsize(1)):
        _unite_cell(i, p, occupied, columns, parents)


@cuda.jit
def each_numbered(parents: Any, number: Any, clusters: Any, n: Any) -> None:
    """`number_cluster` of each item."""
    for i in range(cuda.grid(1), n[N_CELLS], cuda.gridsize(1)):
        _number_cluster(i, parents, number, clusters, n)


@cuda.jit
def each_gathered(
    p: Any, bins: Any, columns: Any, parents: Any, number: Any, clusters: Any, border: Any, n: Any
) -> None:
    """`gather_cell` of each item."""
    for i in range(cuda.grid(1), n[N_CELLS], cuda.gridsize(1)):
        _gather_cell(i, p, bins, columns, parents, number, clusters, border, n)


@cuda.jit
def each_cleared(occupied: Any, columns: Any, n: Any) -> None:
    """`clear_cell` of each item."""
    for i in range(cuda.grid(1), n[N_CELLS], cuda.gridsize(1)):
        _clear_cell(i, occupied, columns)


@cuda.jit
def each_placed(p: Any, clusters: Any, start: Any, filled: Any, n: Any) -> None:
    """`place_cluster` of each item."""
    for i in range(cuda.grid(1), n[N_CLUSTERS], cuda.gridsize(1)):
        _place_cluster(i, p, clusters, start, filled, n)


@cuda.jit
def each_ordered(
    p: Any,
    columns: Any,
    clusters: Any,
    start: Any,
    filled: Any,
    member: Any,
    xs: Any,
    ys: Any,
    n: Any,
) -> None:
    """`order_cell` of each item."""
    for i in range(cuda.grid(1), n[N_CELLS], cuda.gridsize(1)):
        _order_cell(i, p, columns, clusters, start, filled, member, xs, ys)


@cuda.jit
def each_rated(
    cosines: Any, sines: Any, start: Any, filled: Any, xs: Any, ys: Any, scores: Any, n: Any
) -> None:
    """`rate_angle` of each item."""
    for i in range(cuda.grid(1), n[N_CLUSTERS] * ANGLES, cuda.gridsize(1)):
        _rate_angle(i, cosines, sines, start, filled, xs, ys, scores)


@cuda.jit
def each_fitted(
    p: Any,
    cosines: Any,
    sines: Any,
    columns: Any,
    clusters: Any,
    start: Any,
    filled: Any,
    member: Any,
    scores: Any,
    n: Any,
) -> None:
    """`fit_box` of each item."""
    for i in range(cuda.grid(1), n[N_CLUSTERS], cuda.gridsize(1)):
        _fit_box(i, p, cosines, sines, columns, clusters, start, filled, member, scores)


@cuda.jit
def begin(lowest: Any, halo: Any, n: Any) -> None:
    """No heights but the halo's, and all counters 0. One block: the halo comes after the rest."""
    for i in range(cuda.grid(1), lowest.shape[0], cuda.gridsize(1)):
        lowest[i] = NONE
    for i in range(cuda.grid(1), n.shape[0], cuda.gridsize(1)):
        n[i] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), halo.shape[0], cuda.gridsize(1)):
        lowest[halo[i, 0]] = halo[i, 1]


class CudaPipeline:
    """Runs pieces of one grid on the current GPU; keeps its memory there between them."""

    def __init__(self, grid: Grid, max_points: int) -> None:
        self.grid = grid
        rows = min(max_points, grid.cells)
        self._points = cuda.device_array((max_points, 4), np.float32)
        self._halo = cuda.device_array((grid.ground_cells, 2), np.int32)
        self._bins = cuda.to_device(azimuth_bins(grid.ground_side).copy())
        self._lowest = cuda.device_array(grid.ground_cells, np.int32)
        self._ground = cuda.device_array(grid.ground_cells, np.int32)
        self._occupied = cuda.to_device(np.zeros(grid.cells, np.int32))
        self._cell_of = cuda.device_array(max_points, np.int32)
        self._columns = cuda.device_array((rows, COLUMN_FIELDS), np.int32)
        self._parents, self._number, self._start, self._filled, self._member, self._xs, self._ys = (
            cuda.device_array(rows, np.int32) for _ in range(7)
        )
        self._clusters = cuda.device_array((rows, CLUSTER_FIELDS), np.int64)
        self._border = cuda.device_array((rows, 2), np.int32)
        self._scores = cuda.device_array(rows * ANGLES, np.int64)
        self._cosines, self._sines = cuda.to_device(COSINES.copy()), cuda.to_device(SINES.copy())
        self._n = cuda.device_array(COUNTERS, np.int32)

    def run(self, points: NDArray[np.float32], halo: NDArray[np.int32], lo: int, hi: int) -> Tables:
        """The sector of bins lo..hi; see `infer.kernels.cpu.CpuPipeline.run`."""
        began = time.perf_counter_ns()
        p = cuda.to_device(self.grid.parameters(lo, hi))
        # A writable copy: the driver's wrapper takes no read-only arrays.
        there, around = self._points[: len(points)], self._halo[: len(halo)]
        if len(points):
            there.copy_to_device(points.copy())
        if len(halo):
            around.copy_to_device(halo.copy())
        self._count(there, around, p)
        cuda.synchronize()
        counted = time.perf_counter_ns()
        self._cluster(p)
        cuda.synchronize()
        clustered = time.perf_counter_ns()
        self._fit(p)
        n = self._n.copy_to_host()
        fitted = time.perf_counter_ns()
        return Tables(
            columns=_fetched(self._columns, n[N_CELLS]),
            clusters=_fetched(self._clusters, n[N_CLUSTERS]),
            border=_fetched(self._border, n[N_BORDER]),
            counters=n,
            stage_us=(
                (counted - began) // 1000,
                (clustered - counted) // 1000,
                (fitted - clustered) // 1000,
            ),
        )

    def close(self) -> None:
        """Give the GPU's memory back."""
        vars(self).clear()

    def _count(self, points: Any, halo: Any, p: Any) -> None:
        n, lowest, ground, occupied = self._n, self._lowest, self._ground, self._occupied
        begin[1, _THREADS](lowest, halo, n)
        if not points.shape[0]:
            return
        per_point = launch(points.shape[0])
        each_lowest[per_point](points, p, lowest)
        each_ground[launch(lowest.size)](p, self._bins, lowest, ground, n)
        each_sorted[per_point](points, p, ground, occupied, self._cell_of, n)
        each_listed[launch(occupied.size)](p, occupied, self._columns, self._parents, n)
        each_measured[per_point](points, p, ground, occupied, self._cell_of, self._columns)

    def _cluster(self, p: Any) -> None:
        n, columns, parents, number = self._n, self._columns, self._parents, self._number
        per_cell = launch(columns.shape[0])
        each_united[per_cell](p, self._occupied, columns, parents, n)
        each_numbered[per_cell](parents, number, self._clusters, n)
        each_gathered[per_cell](
            p, self._bins, columns, parents, number, self._clusters, self._border, n
        )
        each_cleared[per_cell](self._occupied, columns, n)

    def _fit(self, p: Any) -> None:
        n, columns, clusters, member = self._n, self._columns, self._clusters, self._member
        start, filled, scores = self._start, self._filled, self._scores
        xs, ys, cosines, sines = self._xs, self._ys, self._cosines, self._sines
        per_cell, per_angle = launch(columns.shape[0]), launch(scores.size)
        each_placed[per_cell](p, clusters, start, filled, n)
        each_ordered[per_cell](p, columns, clusters, start, filled, member, xs, ys, n)
        each_rated[per_angle](cosines, sines, start, filled, xs, ys, scores, n)
        each_fitted[per_cell](
            p, cosines, sines, columns, clusters, start, filled, member, scores, n
        )


def launch(items: int) -> tuple[int, int]:
    """Blocks and threads for so many items at most."""
    return min(max(-(-items // _THREADS), 1), _MOST_BLOCKS), _THREADS


def _fetched(array: Any, rows: int) -> NDArray[Any]:
    """The first rows of an array on the GPU."""
    if not rows:
        return np.empty((0, array.shape[1]), array.dtype)
    fetched: NDArray[Any] = array[:rows].copy_to_host()
    return fetched
