"""A point in whole units, and where it lies."""

from __future__ import annotations

import numpy as np

from infer.grid import GROUND_SHIFT, GROUND_SIDE, NEAR
from infer.kernels.bodies.shared import Array

FLOAT_UNITS = np.float32(1024)  # a power of two: the product is exact
FLOAT_LIMIT = np.float32(1000)  # metres; what lies farther is no measurement

# Ground lies within this of the level of the sensor's foot: 0.4 m, and 6 % of the distance.
GROUND_BAND = 410
GROUND_SLOPE_SHIFT = 4


def usable(points: Array, i: int) -> bool:
    """Whether point i is a measurement: finite and within 1 km. NaN fails each comparison."""
    return bool(
        abs(points[i, 0]) < FLOAT_LIMIT
        and abs(points[i, 1]) < FLOAT_LIMIT
        and abs(points[i, 2]) < FLOAT_LIMIT
    )


def units(metres: float) -> int:
    """Metres (float32, under FLOAT_LIMIT) as whole units, rounded down.

    Cut off and corrected: twice as fast as `math.floor`, and both float32 steps are exact.
    """
    scaled = metres * FLOAT_UNITS
    whole = int(scaled)
    return whole - 1 if np.float32(whole) > scaled else whole


def ground_cell(x: int, y: int, p: Array) -> int:
    """The ground cell of a position, or -1 outside the grid or too near to the sensor."""
    if x * x + y * y < p[NEAR] * p[NEAR]:
        return -1
    side = p[GROUND_SIDE]
    column, row = (x >> GROUND_SHIFT) + (side >> 1), (y >> GROUND_SHIFT) + (side >> 1)
    if column < 0 or row < 0 or column >= side or row >= side:
        return -1
    cell: int = row * side + column
    return cell


def slack(x: int, y: int) -> int:
    """How far the ground may lie from the level of the sensor's foot."""
    return GROUND_BAND + (max(abs(x), abs(y)) >> GROUND_SLOPE_SHIFT)
