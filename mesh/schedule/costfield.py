"""What a frame's regions cost beyond the prediction, learnt from their pieces' times. Pure."""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Of a surprise, in logarithms: most of it may be the device's, or the moment's.
_GAIN: Final = 0.35
_STEP: Final = log(1.5)  # one surprise is believed up to this factor
_REACH: Final = log(8.0)  # and all together up to this one
_FORGET: Final = 0.995  # per frame, of the logarithm: what is no longer seen is no longer held


class CostField:
    """A factor for each cell of a grid, 1 at first; multiply a predicted cost map by `factors`."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """shape: of the grid of cells, a plane's (rows, columns) or a line's (n,)."""
        self._log = np.zeros(shape)

    @property
    def factors(self) -> NDArray[np.float64]:
        """float64 of the grid's shape, > 0."""
        factors: NDArray[np.float64] = np.exp(self._log.clip(-_REACH, _REACH))
        return factors

    def learn(self, cells: tuple[slice, ...], factor: float) -> None:
        """A piece over `cells` took `factor` times what the map times `factors` had predicted."""
        if factor > 0:
            self._log[cells] += _GAIN * min(max(log(factor), -_STEP), _STEP)

    def relax(self) -> None:
        """A frame has passed: forget a little, and what all cells have in common.

        That is no region's cost but the devices' speed, which the schedule learns for itself.
        """
        self._log = ((self._log - self._log.mean()) * _FORGET).clip(-_REACH, _REACH)
