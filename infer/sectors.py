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

from infer.grid import BINS, Grid, azimuth_bins, bin_degrees
from infer.kernels.cpu import kernels
from infer.layout import NONE
from infer.pieces import HALO_BYTES, MAX_SECTORS, SectorSpec
from infer.sweep import POINT_BYTES
from mesh.core.workload import CutHint
from mesh.schedule.costfield import CostField
from mesh.schedule.cut import divide_line, shares

PIECE_OVERHEAD = 4_000  # what a sector costs beside its points, in points: about 0.1 ms
# The whole degree from -180 in which each bin begins: where it lies for people, and for costs.
_DEGREES = np.array([min(bin_degrees(b) + 180, 359) for b in range(BINS)])


@dataclass(frozen=True, slots=True)
class Sector:
    """One sector and its inputs as they travel (see `SectorSpec`); units: its predicted cost."""

    spec: SectorSpec
    inputs: memoryview
    units: float


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

    def cut(
        self,
        points: NDArray[np.float32],
        masked: int,
        sizes: Sequence[float],
        factors: NDArray[np.float64] | None = None,
    ) -> Cut:
        """Cut float32 (n, 4) points, read-only, `masked` of them not finite.

        sizes: of the sectors relative to each other, at most MAX_SECTORS of them; fewer sectors
        come back where the points are all in a few bins. One is the sweep itself, uncopied.
        factors: float64 (BINS,), what a point in each bin costs (default: 1).
        """
        if len(sizes) == 1:
            whole = SectorSpec(0, BINS, len(points), 0)
            return Cut([Sector(whole, _bytes(points), float(PIECE_OVERHEAD + len(points)))], 0)
        p, lowest = self._parameters, self._lowest
        lowest.fill(NONE)
        bin_of = np.empty(len(points), np.uint16)
        histogram = np.zeros(BINS, np.int64)
        kernels.survey(points, p, self._bins, lowest, bin_of, histogram)
        cost = histogram * (np.ones(BINS) if factors is None else factors)
        edges = divide_line(cost, sizes[:MAX_SECTORS])
        count = len(edges) - 1
        sector_of = np.repeat(np.arange(count, dtype=np.int64), np.diff(edges))
        filled = np.zeros(count, np.int64)
        kernels.share_borders(p, self._bins, sector_of, lowest, self._halo, filled)
        counts = np.add.reduceat(histogram, edges[:-1])
        # One buffer, in rows of a point's size: each sector's points, then its halo.
        rows = np.concatenate(([0], np.cumsum(counts + (filled * HALO_BYTES + 15) // POINT_BYTES)))
        buffer = np.empty((rows[-1], 4), np.float32)
        kernels.scatter(points, bin_of, sector_of, rows[:-1].copy(), buffer)
        units = PIECE_OVERHEAD + np.add.reduceat(cost, edges[:-1])
        made = [
            Sector(
                *self._sector(
                    buffer[rows[k] : rows[k + 1]], edges[k : k + 2], counts[k], filled[k], k
                ),
                float(units[k]),
            )
            for k in range(count)
        ]
        return Cut(made, len(points) - masked - int(counts.sum()))

    def _sector(
        self,
        buffer: NDArray[np.float32],
        edges: NDArray[np.int64],
        points: np.int64,
        halo: np.int64,
        index: int,
    ) -> tuple[SectorSpec, memoryview]:
        """Sector `index` and its inputs, its points in `buffer` already."""
        spec = SectorSpec(int(edges[0]), int(edges[1]), int(points), int(halo))
        buffer[points:].ravel().view(np.int32)[: 2 * halo] = self._halo[index, :halo].ravel()
        return spec, _bytes(buffer)[: POINT_BYTES * spec.points + HALO_BYTES * spec.halo]


class SectorCosts:
    """What a point costs by azimuth, learnt from the last sweeps' sectors; by whole degrees."""

    def __init__(self) -> None:
        self._field = CostField((360,))

    def learn(self, hint: CutHint) -> NDArray[np.float64]:
        """Take in the last sectors' times; returns float64 (BINS,): the cost of a point there."""
        self._field.relax()
        for surprise in hint.surprises:
            low, high = surprise.region
            self._field.learn((slice(low + 180, high + 180),), surprise.factor)
        factors: NDArray[np.float64] = self._field.factors[_DEGREES]
        return factors


def sector_sizes(points: int, kind: str, hint: CutHint, sectors: int = 0) -> list[float]:
    """Relative sizes of a sweep's sectors, for all devices to finish together.

    sectors: so many; 0: one per device, more if one would take longer than the quantum.
    """
    return shares(
        hint,
        kind,
        float(max(points, 1)),
        piece_units=PIECE_OVERHEAD,
        bytes_per_unit=POINT_BYTES,
        at_least=max(sectors, 1),
        most=sectors or MAX_SECTORS,
    )


def _bytes(array: NDArray[np.float32]) -> memoryview:
    """The array's memory; an empty array's cannot be cast."""
    return array.data.cast("B") if array.size else memoryview(b"")
