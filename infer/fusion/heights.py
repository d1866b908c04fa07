"""How high points are above the ground where they are, which is no plane. Compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.track.compiled import compiled

CELL_M = 2.0
REACH_M = 64.0
RISE_M = 0.3  # a kerb, or 15 %: ground does not rise more from one cell to the next
ROUGH_M, ROUGH_SLOPE = 0.3, 0.03  # how far from the plane ground may be, and more with distance


@compiled
def heights(
    points: NDArray[np.float32], slope_x: float, slope_y: float, level: float
) -> NDArray[np.float32]:
    """Of each point above the ground, float32 (n,), metres; nan where there is no measurement.

    points: (n, 4). The ground's plane is slope_x x + slope_y y + level. Where the lowest points
    around are near it, they are the ground; elsewhere, and beyond REACH_M, the plane is.
    """
    side = int(2 * REACH_M / CELL_M)
    lowest = np.full((side, side), np.inf)
    over = np.empty(len(points), np.float32)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        over[i] = z - slope_x * x - slope_y * y - level
        rough = ROUGH_M + ROUGH_SLOPE * max(abs(x), abs(y))
        if abs(over[i]) < rough and max(abs(x), abs(y)) < REACH_M:
            row, column = int((y + REACH_M) / CELL_M), int((x + REACH_M) / CELL_M)
            lowest[row, column] = min(lowest[row, column], over[i])
    ground = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            around = np.inf
            for r in range(max(row - 1, 0), min(row + 2, side)):
                for c in range(max(column - 1, 0), min(column + 2, side)):
                    around = min(around, lowest[r, c])
            if around < np.inf:
                ground[row, column] = min(lowest[row, column], around + RISE_M)
    for i in range(len(points)):
        x, y = points[i, 0], points[i, 1]
        if max(abs(x), abs(y)) < REACH_M:
            row, column = int((y + REACH_M) / CELL_M), int((x + REACH_M) / CELL_M)
            over[i] -= ground[row, column]
    return over
