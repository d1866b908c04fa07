"""A square seen from above, centred on the sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.area import ACROSS, AREA_FIELDS, CELLS_PER_M, REACH
from mesh.core.errors import Misuse

MOST_ACROSS = 4096
EVEN = 8  # cells per side are a multiple of this: empty ones are passed over by the word


@dataclass(frozen=True, slots=True)
class Area:
    """reach_m: from the sensor to each side. cell_m: the width of a cell.

    Row 0 is the southernmost (smallest y), column 0 the westernmost (smallest x).
    """

    reach_m: float
    cell_m: float

    def __post_init__(self) -> None:
        """Raises Misuse where it has no whole number of cells that fits."""
        sized = math.isfinite(self.reach_m) and 0 < self.cell_m < math.inf
        across = 2 * self.reach_m / self.cell_m if sized else 0.0
        if not (EVEN <= across <= MOST_ACROSS and abs(across / EVEN % 1 - 0.5) > 0.499):
            raise Misuse(
                what="this is no area",
                why=f"it would be {across:g} cells across",
                fix=f"Have a multiple of {EVEN}, at most {MOST_ACROSS}.",
            )

    @property
    def across(self) -> int:
        """Cells per side."""
        return round(2 * self.reach_m / self.cell_m)

    def parameters(self) -> NDArray[np.float32]:
        """What kernels take."""
        values = np.empty(AREA_FIELDS, np.float32)
        values[REACH], values[CELLS_PER_M] = self.reach_m, 1 / self.cell_m
        values[ACROSS] = self.across
        return values
