"""The kernels on the CPU: compiled loops in one thread, and the pipeline that runs a piece.

One thread on purpose: a whole sweep takes a few milliseconds, a mesh splits it by sector, and
starting threads costs more than a sector's share of the work. So the sandboxed device process
needs no threading layer. Compiled code is cached on disk (NUMBA_CACHE_DIR, or beside the source).
"""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from infer import grid as grid_module
from infer import layout
from infer.grid import Grid, azimuth_bins
from infer.kernels import cutting, each, joining, thinning, uplink
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
    N_ORDERED,
    NONE,
)
from infer.partial import Tables

LOOPS = (each, cutting, joining, thinning, uplink)

_njit: Any = numba.njit  # _nrt is not in its types


def _digest() -> str:
    """Of all that compiled loops are made from: the code and the constants that it names."""
    sources = [inspect.getsource(module) for module in (*LOOPS, *BODIES, grid_module, layout)]
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:12]


_DIGEST = _digest()


def _compiled(function: FunctionType) -> Any:
    # Bodies are compiled into their loops, and no loop allocates: without Numba's runtime (_nrt)
    # no array's references are counted per item, which would cost ten times what the bodies do.
    loop = any(function.__module__ == module.__name__ for module in LOOPS)
    # Of changes, Numba's cache notices those of a loop's own file. It goes by name: that says all.
    function.__qualname__ = f"{function.__qualname__}.{_DIGEST}"
    return _njit(function, cache=True, nogil=True, inline="never" if loop else "always", _nrt=False)


kernels = bind((*BODIES, *LOOPS), _compiled, {})


class Boxes:
    """Scratch and steps of the box fit, which devices and gateways share."""

    def __init__(self) -> None:
        self._cells = self._clusters = 0
        self.grow(1024, 256)

    def grow(self, cells: int, clusters: int) -> None:
        """Have room for that many."""
        if cells > self._cells:
            self._cells = cells
            self.member = np.empty(cells, np.int32)
            self.xs, self.ys = np.empty(cells, np.int32), np.empty(cells, np.int32)
        if clusters > self._clusters:
            self._clusters = clusters
            self.start = np.empty(clusters, np.int32)
            self.filled = np.empty(clusters, np.int32)
            self.scores = np.empty(clusters * ANGLES, np.int64)

    def fit(
        self,
        p: NDArray[np.int32],
        columns: NDArray[np.int32],
        clusters: NDArray[np.int64],
        n: NDArray[np.int32],
    ) -> None:
        """Fill in the boxes of the first n[N_CLUSTERS] clusters from the first n[N_CELLS] cells."""
        self.grow(n[N_CELLS], n[N_CLUSTERS])
        start, filled, member = self.start, self.filled, self.member
        n[N_ORDERED] = 0
        kernels.each_placed(p, clusters, start, filled, n)
        kernels.each_ordered(p, columns, clusters, start, filled, member, self.xs, self.ys, n)
        kernels.each_rated(COSINES, SINES, start, filled, self.xs, self.ys, self.scores, n)
        kernels.each_fitted(
            p, COSINES, SINES, columns, clusters, start, filled, member, self.scores, n
        )


class CpuPipeline:
    """Runs pieces of one grid; keeps its scratch between them. Not for two threads at once."""

    def __init__(
        self, grid: Grid, max_points: int, check: Callable[[], None] = lambda: None
    ) -> None:
        """check: called wherever a run can end without leaving anything behind in the scratch."""
        self.grid = grid
        self._check = check
        rows = min(max_points, grid.cells)
        self._bins = azimuth_bins(grid.ground_side)
        self._lowest = np.empty(grid.ground_cells, np.int32)
        self._ground = np.empty(grid.ground_cells, np.int32)
        self._occupied = np.zeros(grid.cells, np.int32)
        self._cell_of = np.empty(max_points, np.int32)
        self._columns = np.empty((rows, COLUMN_FIELDS), np.int32)
        self._parents, self._number = np.empty(rows, np.int32), np.empty(rows, np.int32)
        self._clusters = np.empty((rows, CLUSTER_FIELDS), np.int64)
        self._border = np.empty((rows, 2), np.int32)
        self._boxes = Boxes()

    def run(self, points: NDArray[np.float32], halo: NDArray[np.int32], lo: int, hi: int) -> Tables:
        """The sector of bins lo..hi; the tables are views, valid until the next run.

        points: (n, 4), read-only. halo: (m, 2), lowest heights around the sector, read-only.
        """
        p, n = self.grid.parameters(lo, hi), np.zeros(COUNTERS, np.int32)
        began = time.perf_counter_ns()
        self._lowest.fill(NONE)
        kernels.each_lowest(points, p, self._lowest)
        self._lowest[halo[:, 0]] = halo[:, 1]
        self._check()
        kernels.each_ground(p, self._bins, self._lowest, self._ground, n)
        self._check()
        kernels.each_sorted(points, p, self._ground, self._occupied, self._cell_of, n)
        kernels.each_listed(p, self._occupied, self._columns, self._parents, n)
        kernels.each_measured(points, p, self._ground, self._occupied, self._cell_of, self._columns)
        counted = time.perf_counter_ns()
        kernels.each_united(p, self._occupied, self._columns, self._parents, n)
        kernels.each_numbered(self._parents, self._number, self._clusters, n)
        kernels.each_gathered(
            p,
            self._bins,
            self._columns,
            self._parents,
            self._number,
            self._clusters,
            self._border,
            n,
        )
        kernels.each_cleared(self._occupied, self._columns, n)
        clustered = time.perf_counter_ns()
        self._check()
        self._boxes.fit(p, self._columns, self._clusters, n)
        fitted = time.perf_counter_ns()
        return Tables(
            columns=self._columns[: n[N_CELLS]],
            clusters=self._clusters[: n[N_CLUSTERS]],
            border=self._border[: n[N_BORDER]],
            counters=n,
            stage_us=(
                (counted - began) // 1000,
                (clustered - counted) // 1000,
                (fitted - clustered) // 1000,
            ),
        )

    def close(self) -> None:
        """Nothing to give back."""
