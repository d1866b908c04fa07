"""What is right above each cluster, and right beside it. Compiled."""

# ruff: noqa: PLR0917  compiled functions take all they work on by position

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.track.compiled import compiled

Floats = NDArray[np.float64]

CELL_M = 0.4
OVERHEAD, BESIDE = range(2)


@compiled
def surroundings(
    points: NDArray[np.float32],
    above: NDArray[np.float32],
    of_point: NDArray[np.int32],
    count: int,
    reach_m: float,
    low: float,
    high: float,
) -> Floats:
    """Shares of each cluster's points, float64 (count, 2).

    OVERHEAD: of those that something is right above of, low to high metres over the ground.
    BESIDE: of those that another cluster is right beside, at most two cells away.
    points: (n, 4), above: (n,), of_point: (n,), -1 for points of no cluster.
    """
    across = int(2 * reach_m / CELL_M)
    covered = np.zeros((across, across), np.bool_)
    first = np.full((across, across), -1, np.int32)  # one of the clusters in a cell
    last = np.full((across, across), -1, np.int32)  # another, if there is one
    for i in range(len(points)):
        row, column = int((points[i, 1] + reach_m) / CELL_M), int((points[i, 0] + reach_m) / CELL_M)
        if not (0 <= row < across and 0 <= column < across):
            continue
        if low < above[i] < high:
            covered[row, column] = True
        if of_point[i] >= 0:
            last[row, column] = of_point[i]
            if first[row, column] < 0:
                first[row, column] = of_point[i]
    shares, total = np.zeros((count, 2)), np.zeros(count)
    for i in range(len(points)):
        own = of_point[i]
        row, column = int((points[i, 1] + reach_m) / CELL_M), int((points[i, 0] + reach_m) / CELL_M)
        if own < 0 or not (0 <= row < across and 0 <= column < across):
            continue
        total[own] += 1
        shares[own, OVERHEAD] += covered[row, column]
        beside = False
        for r in range(max(row - 1, 0), min(row + 2, across)):
            for c in range(max(column - 1, 0), min(column + 2, across)):
                beside |= first[r, c] >= 0 and (first[r, c] != own or last[r, c] != own)
        shares[own, BESIDE] += beside
    return shares / np.maximum(total, 1.0).reshape(-1, 1)
