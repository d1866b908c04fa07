"""What a device answers for one sector: finished clusters, and what a merge needs of the others.

Little-endian: 16 int64 of header (`_HEADER`), then clusters (int64, CLUSTER_FIELDS each), border
cells (int32 pairs of cell and cluster) and cells (int32, COLUMN_FIELDS each). A cluster is *open*
if it touches another sector. Its cells come along unless it is by itself too long for a turned
box, for then so is whatever it is part of. Closed clusters that are too small are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.grid import Grid
from infer.layout import (
    CELL,
    CELLS,
    CLUSTER_FIELDS,
    COLUMN_FIELDS,
    COUNT,
    COUNTERS,
    EAST,
    FIRST,
    GROUND_POINTS,
    LABEL,
    N_CELLS,
    NORTH,
    OPEN,
    POINTS,
    SOUTH,
    WEST,
)
from mesh.core.errors import ContentRefused, PieceFailed

STAGES = 3  # columns, clusters, boxes
_HUGE = 1 << 40  # more than any sum over a sweep, far from overflow
_MAGIC = 0x31504D46  # "FMP1"
_HEADER = 16  # magic, clusters, border cells, cells, cells of the sector, stages, counters
_COUNTED = COUNTERS - GROUND_POINTS


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables of one sector as the kernels leave them; see `infer.layout` for the rows.

    columns: int32 (cells, COLUMN_FIELDS). clusters: int64 (clusters, CLUSTER_FIELDS).
    border: int32 (border cells, 2). counters: int32 (COUNTERS,). stage_us: per stage.
    """

    columns: NDArray[np.int32]
    clusters: NDArray[np.int64]
    border: NDArray[np.int32]
    counters: NDArray[np.int32]
    stage_us: tuple[int, int, int]


def bound_bytes(points: int, grid: Grid) -> int:
    """What the answer for so many points takes at most: each cell has at least one of them."""
    cells = min(points, grid.cells)
    # Open clusters hold a border cell each; a sector's border has under 8 cells per row.
    clusters = points // grid.min_points + min(cells, 8 * grid.side)
    return 8 * _HEADER + 8 * CLUSTER_FIELDS * clusters + (4 * COLUMN_FIELDS + 8) * cells


def pack(tables: Tables, grid: Grid, output: memoryview) -> int:
    """Write the answer to `output`; returns its length. Raises PieceFailed if it does not fit."""
    clusters = tables.clusters
    opened = clusters[:, OPEN] != 0
    kept = opened | (clusters[:, POINTS] >= grid.min_points)
    renumbered = (np.cumsum(kept) - 1).astype(np.int32)
    cells = tables.columns[_brings_cells(clusters, grid)[tables.columns[:, LABEL]]]
    cells[:, LABEL] = renumbered[cells[:, LABEL]]
    border = tables.border.copy()
    border[:, 1] = renumbered[border[:, 1]]
    sent = clusters[kept]
    header = np.zeros(_HEADER, np.int64)
    header[:5] = _MAGIC, len(sent), len(border), len(cells), tables.counters[N_CELLS]
    header[5 : 5 + STAGES] = tables.stage_us
    header[5 + STAGES : 5 + STAGES + _COUNTED] = tables.counters[GROUND_POINTS:]
    at = 0
    for array in (header, sent, border, cells):
        data = array.view(np.uint8).reshape(-1)
        if at + data.size > len(output):
            raise PieceFailed(
                what="a sector's answer has no room",
                why=f"it needs more than the {len(output)} bytes given",
                fix="Give infer.partial.bound_bytes of the sector's points.",
            )
        output[at : at + data.size] = data.data
        at += data.size
    return at


@dataclass(frozen=True, slots=True)
class Partial:
    """A checked answer; the arrays are the gateway's own copies.

    cells: how many obstacle cells the sector has. counted: the counters from GROUND_POINTS on.
    """

    clusters: NDArray[np.int64]
    border: NDArray[np.int32]
    columns: NDArray[np.int32]
    cells: int
    counted: NDArray[np.int64]
    stage_us: tuple[int, ...]


def unpack(data: memoryview, grid: Grid, points: int) -> Partial:
    """Read and check an answer for a sector of `points` points. Raises ContentRefused.

    What it says of places and indices is made sure of, because merging relies on it; whether the
    numbers are true only another device could tell.
    """
    if len(data) < 8 * _HEADER or len(data) > bound_bytes(points, grid):
        raise _refused(f"{len(data)} bytes cannot be the answer for {points} points")
    header = np.frombuffer(data[: 8 * _HEADER], "<i8").copy()
    magic, clusters, border, cells = header[:4].tolist()
    sizes = (8 * CLUSTER_FIELDS * clusters, 8 * border, 4 * COLUMN_FIELDS * cells)
    if magic != _MAGIC or min(sizes) < 0 or 8 * _HEADER + sum(sizes) != len(data):
        raise _refused("its header does not match its length")
    if header.min() < 0 or header[4:].max() > 1 << 31:
        raise _refused("a count is out of range")
    starts = np.cumsum((8 * _HEADER, *sizes)).tolist()
    answer = Partial(
        np.frombuffer(data[starts[0] : starts[1]], "<i8").reshape(-1, CLUSTER_FIELDS).copy(),
        np.frombuffer(data[starts[1] : starts[2]], "<i4").reshape(-1, 2).copy(),
        np.frombuffer(data[starts[2] :], "<i4").reshape(-1, COLUMN_FIELDS).copy(),
        int(header[4]),
        header[5 + STAGES : 5 + STAGES + _COUNTED],
        tuple(header[5 : 5 + STAGES].tolist()),
    )
    _check(answer, grid)
    return answer


def _check(answer: Partial, grid: Grid) -> None:
    count = len(answer.clusters)
    for cells, labels in (
        (answer.border[:, 0], answer.border[:, 1]),
        (answer.columns[:, CELL], answer.columns[:, LABEL]),
    ):
        if len(cells) and not (
            0 <= cells.min() <= cells.max() < grid.cells
            and 0 <= labels.min() <= labels.max() < count
        ):
            raise _refused("a cell or its cluster is not there")
    if not count:
        return
    if (answer.clusters[answer.border[:, 1], OPEN] != 1).any():
        raise _refused("a closed cluster is at the border")
    reach = grid.side << grid.shift
    low, high = (end(answer.clusters[:, : FIRST + 1], axis=0) for end in (np.min, np.max))
    sides = slice(WEST, NORTH + 1)
    if (
        low[sides].min() < -reach
        or high[sides].max() > reach
        or low.min() < -_HUGE
        or high.max() > _HUGE
    ):
        raise _refused("a cluster lies outside of the grid, or counts beyond reason")
    if len(answer.columns) and answer.columns[:, COUNT].min() < 1:
        raise _refused("a cell has no points")
    brought = np.bincount(answer.columns[:, LABEL], minlength=count)
    if (
        brought != np.where(_brings_cells(answer.clusters, grid), answer.clusters[:, CELLS], 0)
    ).any():
        raise _refused("a cluster does not bring the cells it counts")


def _brings_cells(clusters: NDArray[np.int64], grid: Grid) -> NDArray[np.bool_]:
    """Which clusters are open and, as far as known, short enough for a turned box."""
    wide = clusters[:, EAST] - clusters[:, WEST] > grid.fit_limit
    deep = clusters[:, NORTH] - clusters[:, SOUTH] > grid.fit_limit
    brings: NDArray[np.bool_] = (clusters[:, OPEN] != 0) & ~wide & ~deep
    return brings


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="a sector's answer is refused", why=why, fix="Update the worker that made it."
    )
