"""Cosines and sines of whole degrees 0..89 as whole numbers (1.0 is 1 << TURN_SHIFT)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.layout import ANGLES, TURN_SHIFT


def _scaled(values: NDArray[np.float64]) -> NDArray[np.int32]:
    table = np.rint(values * (1 << TURN_SHIFT)).astype(np.int32)
    table.flags.writeable = False
    return table


_RADIANS = np.radians(np.arange(ANGLES, dtype=np.float64))
COSINES = _scaled(np.cos(_RADIANS))
SINES = _scaled(np.sin(_RADIANS))
