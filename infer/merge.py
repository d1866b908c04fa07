"""Join sectors' answers into the result of the whole sweep.

Clusters that touch across a border are united, their sums added, and only then boxes are fitted,
by the same integer kernels that devices use: what comes out is what one device would have said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from infer.grid import GROUND_SHIFT, Grid, azimuth_bins
from infer.kernels.cpu import Boxes, kernels
from infer.layout import (
    CLUSTER_FIELDS,
    COLUMN_FIELDS,
    COUNTERS,
    FIRST,
    LABEL,
    N_CELLS,
    N_CLUSTERS,
    OPEN,
    POINTS,
)
from infer.partial import Partial

_Whole = TypeVar("_Whole", np.int32, np.int64)


class Merger:
    """Merges answers for one grid; keeps its scratch between sweeps."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._parameters = grid.parameters()
        self._occupied = np.zeros(grid.cells, np.int32)
        self._boxes = Boxes()

    def merge(
        self, partials: Sequence[Partial], missing: Sequence[tuple[int, int]] = ()
    ) -> NDArray[np.int64]:
        """The clusters of the whole, boxes fitted, in the order of their first cells.

        missing: azimuth bins (lo, hi) of sectors that never came; a cluster that touches one is
        still open (its OPEN is 1), for it may go on there.
        """
        offsets = np.cumsum([0, *(len(partial.clusters) for partial in partials)])
        parts = _stacked([partial.clusters for partial in partials], CLUSTER_FIELDS, np.int64)
        closed = parts[parts[:, OPEN] == 0]
        if len(closed) < len(parts):
            joined = self._join(
                parts,
                _relabelled([partial.border for partial in partials], 1, offsets, 2),
                _relabelled(
                    [partial.columns for partial in partials], LABEL, offsets, COLUMN_FIELDS
                ),
                missing,
            )
            closed = np.concatenate((closed, joined))
        large = closed[closed[:, POINTS] >= self._grid.min_points]
        ordered: NDArray[np.int64] = large[np.argsort(large[:, FIRST], kind="stable")]
        return ordered

    def warm_up(self) -> None:
        """Compile what a merge needs."""
        self._join(
            np.empty((0, CLUSTER_FIELDS), np.int64),
            np.empty((0, 2), np.int32),
            np.empty((0, COLUMN_FIELDS), np.int32),
            (),
        )

    def _join(
        self,
        parts: NDArray[np.int64],
        border: NDArray[np.int32],
        columns: NDArray[np.int32],
        missing: Sequence[tuple[int, int]],
    ) -> NDArray[np.int64]:
        """The clusters that open ones among `parts` make together."""
        opened = np.flatnonzero(parts[:, OPEN])
        index = np.full(len(parts), -1, np.int32)
        index[opened] = np.arange(len(opened), dtype=np.int32)
        border[:, 1] = index[border[:, 1]]
        parents, number = np.arange(len(opened), dtype=np.int32), np.empty(len(opened), np.int32)
        clusters = np.empty((len(opened), CLUSTER_FIELDS), np.int64)
        n = np.zeros(COUNTERS, np.int32)
        kernels.join_borders(self._parameters, border, self._occupied, parents)
        kernels.join_clusters(parts[opened], parents, number, clusters, n)
        columns[:, LABEL] = number[index[columns[:, LABEL]]]
        n[N_CELLS] = len(columns)
        self._boxes.fit(self._parameters, columns, clusters, n)
        clusters[number[border[self._beside(border[:, 0], missing), 1]], OPEN] = 1
        joined: NDArray[np.int64] = clusters[: n[N_CLUSTERS]]
        return joined

    def _beside(
        self, cells: NDArray[np.int32], missing: Sequence[tuple[int, int]]
    ) -> NDArray[np.bool_]:
        """Which fine cells touch the azimuth bins of a missing sector."""
        beside = np.zeros(len(cells), np.bool_)
        grid, shift = self._grid, GROUND_SHIFT - self._grid.shift
        bins = azimuth_bins(grid.ground_side).reshape(grid.ground_side, -1)
        for lo, hi in missing:
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    row = np.clip(cells // grid.side + down, 0, grid.side - 1) >> shift
                    column = np.clip(cells % grid.side + across, 0, grid.side - 1) >> shift
                    beside |= (lo <= bins[row, column]) & (bins[row, column] < hi)
        return beside


def _relabelled(
    tables: Sequence[NDArray[np.int32]], field: int, offsets: NDArray[np.int64], width: int
) -> NDArray[np.int32]:
    """The tables one below the other, clusters counted through."""
    joined = _stacked(tables, width, np.int32)
    at = 0
    for table, offset in zip(tables, offsets, strict=False):
        joined[at : at + len(table), field] += np.int32(offset)
        at += len(table)
    return joined


def _stacked(tables: Sequence[NDArray[_Whole]], width: int, dtype: type[_Whole]) -> NDArray[_Whole]:
    return np.concatenate([np.empty((0, width), dtype), *tables])
