"""A square seen from above, centred on the sensor and cut into cells, row by row from the south.

`area` is float32: half its side in metres, cells per metre, cells per side.
"""

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array

REACH, CELLS_PER_M, ACROSS = range(3)
AREA_FIELDS = 3

NOUGHT = np.float32(0)


def area_cell(x: float, y: float, area: Array) -> int:
    """The cell of a place, -1 outside; what is not a number is outside."""
    column = (x + area[REACH]) * area[CELLS_PER_M]
    row = (y + area[REACH]) * area[CELLS_PER_M]
    across = area[ACROSS]
    if column >= NOUGHT and row >= NOUGHT and column < across and row < across:
        return int(row) * int(across) + int(column)
    return -1
