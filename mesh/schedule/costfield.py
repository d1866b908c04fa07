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
_NOISE: Final = log(1.03)  # equal work takes longer or shorter by this for reasons of the moment
_FORGET: Final = 0.995  # per frame, of the logarithm: what is no longer seen is no longer held


class CostField:
    """A factor for each cell of a grid, 1 at first; multiply a predicted cost map by `factors`.

    Every frame's cut waits for it, so it does little.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """shape: of the grid of cells, a plane's (rows, columns) or a line's (n,)."""
        self._log = np.zeros(shape)

    @property
    def factors(self) -> NDArray[np.float64]:
        """float64 of the grid's shape, > 0."""
        factors: NDArray[np.float64] = np.exp(_within_reach(self._log))
        return factors

    def learn(self, cells: tuple[slice, ...], factor: float) -> None:
        """A piece over `cells` took `factor` times what the map times `factors` had predicted."""
        if not factor > 0 or abs(step := log(factor)) < _NOISE:
            return
        self._log[cells] += _GAIN * min(max(step, -_STEP), _STEP)

    def relax(self) -> None:
        """A frame has passed: forget a little, and what all cells have in common.

        That is no region's cost but the devices' speed, which the schedule learns for itself.
        """
        field = self._log
        field -= np.add.reduce(field, axis=None) / field.size
        field *= _FORGET
        self._log = _within_reach(field)


def _within_reach(field: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded: NDArray[np.float64] = np.maximum(np.minimum(field, _REACH), -_REACH)
    return bounded
