"""Cut a sweep by azimuth into sectors of about equal work, each with what it must know around it.

A sector is a run of azimuth bins, made of whole ground cells, so each cell's points go to one
sector. Deciding a cell's ground takes its neighbours' lowest heights; those of the cells just
outside of a sector travel with its points (the halo), whole, and so the decision is the one that
would have been made without the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.grid import BINS, Grid, azimuth_bins
from infer.kernels.cpu import kernels
from infer.layout import NONE
from infer.pieces import HALO_BYTES, MAX_SECTORS, SectorSpec
from infer.sweep import POINT_BYTES


@dataclass(frozen=True, slots=True)
class Sector:
    """One sector and its inputs as they travel (see `SectorSpec`)."""

    spec: SectorSpec
    inputs: memoryview


@dataclass(frozen=True, slots=True)
class Cut:
    """A sweep in sectors. outside: points that no sector got, because they are off the grid."""

    sectors: Sequence[Sector]
    outside: int


class Cutter:
    """Cuts sweeps of one grid; keeps its scratch between them."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._parameters = grid.parameters()
        self._bins = azimuth_bins(grid.ground_side)
        self._lowest = np.empty(grid.ground_cells, np.int32)
        self._halo = np.empty((MAX_SECTORS, grid.ground_cells, 2), np.int32)

    def cut(self, points: NDArray[np.float32], masked: int, sectors: int) -> Cut:
        """Cut float32 (n, 4) points, read-only, `masked` of them not finite.

        At most `sectors`, at most MAX_SECTORS; fewer where the points are all in a few bins. One
        sector is the sweep itself, uncopied.
        """
        if sectors == 1:
            whole = SectorSpec(0, BINS, len(points), 0)
            return Cut([Sector(whole, _bytes(points))], 0)
        p, lowest = self._parameters, self._lowest
        lowest.fill(NONE)
        bin_of = np.empty(len(points), np.uint16)
        histogram = np.zeros(BINS, np.int64)
        kernels.survey(points, p, self._bins, lowest, bin_of, histogram)
        edges = boundaries(histogram, min(sectors, MAX_SECTORS))
        count = len(edges) - 1
        sector_of = np.repeat(np.arange(count, dtype=np.int64), np.diff(edges))
        filled = np.zeros(count, np.int64)
        kernels.share_borders(p, self._bins, sector_of, lowest, self._halo, filled)
        sizes = np.add.reduceat(histogram, edges[:-1])
        # One buffer, in rows of a point's size: each sector's points, then its halo.
        rows = np.concatenate(([0], np.cumsum(sizes + (filled * HALO_BYTES + 15) // POINT_BYTES)))
        buffer = np.empty((rows[-1], 4), np.float32)
        kernels.scatter(points, bin_of, sector_of, rows[:-1].copy(), buffer)
        made = [
            self._sector(buffer[rows[k] : rows[k + 1]], edges[k : k + 2], sizes[k], filled[k], k)
            for k in range(count)
        ]
        return Cut(made, len(points) - masked - int(sizes.sum()))

    def _sector(
        self,
        buffer: NDArray[np.float32],
        edges: NDArray[np.int64],
        points: np.int64,
        halo: np.int64,
        index: int,
    ) -> Sector:
        """Sector `index`, its points in `buffer` already."""
        spec = SectorSpec(int(edges[0]), int(edges[1]), int(points), int(halo))
        buffer[points:].ravel().view(np.int32)[: 2 * halo] = self._halo[index, :halo].ravel()
        return Sector(spec, _bytes(buffer)[: POINT_BYTES * spec.points + HALO_BYTES * spec.halo])


def boundaries(histogram: NDArray[np.int64], sectors: int) -> NDArray[np.int64]:
    """Edges of at most `sectors` runs of bins with about equally many points; first 0, last BINS.

    A border lies where the running sum is nearest to its share, and runs are never empty of bins.
    """
    running = np.cumsum(histogram)
    wanted = running[-1] * np.arange(1, sectors) / sectors
    inner = np.searchsorted(running, wanted) + 1
    before = np.where(inner > 1, running[inner - 2], 0)
    nearer_before = wanted - before < running[np.minimum(inner - 1, BINS - 1)] - wanted
    inner = np.clip(inner - nearer_before, 1, BINS - 1)
    return np.unique(np.concatenate(([0], inner, [BINS]))).astype(np.int64)


def _bytes(array: NDArray[np.float32]) -> memoryview:
    """The array's memory; an empty array's cannot be cast."""
    return array.data.cast("B") if array.size else memoryview(b"")
