"""The bird's-eye grid: units, cells, and who owns which cell when a sweep is cut by azimuth.

Lengths inside infer are whole *units* of 1/1024 m: a float32 metre value becomes one exactly but
for the rounding to the unit itself, and everything after that is integer arithmetic. So sums do
not depend on their order, every target (CPU, CUDA, the gateway) gets the same numbers, and what
is merged from sectors equals what was never cut.

Frame of reference: the sensor's; x forward, y left, z up. Row 0 of a grid is the southernmost
(smallest y), column 0 the westernmost (smallest x); the sensor stands where the four middle cells
meet. There are two grids over the same square: fine cells that obstacles are seen in, and ground
cells of 1 m. Sectors consist of whole ground cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

UNITS_PER_M = 1024
GROUND_SHIFT = 10  # a ground cell is 1 << 10 units wide

# Azimuth in steps of the diamond angle (see `azimuth_bins`), counted from -x towards -y.
BINS = 1024

# Indices of the parameters that kernels are given as one int32 array.
SHIFT, SIDE, GROUND_SIDE, HEIGHT, STEP, CEILING, MIN_POINTS, FIT_LIMIT, NEAR, BIN_LO, BIN_HI = (
    range(11)
)
PARAMETERS = 11


@dataclass(frozen=True, slots=True)
class Grid:
    """Size of the grid and the limits of what counts as ground and obstacle; all whole units.

    shift: fine cells are 1 << shift units wide. side: fine cells per side, a multiple of what
    fits a ground cell. height: of the sensor above the ground. step, ceiling: a point is an
    obstacle if it lies more than `step` and at most `ceiling` above the ground. min_points: a
    cluster of fewer is dropped. fit_limit: no box is turned for clusters longer than this.
    near: points nearer to the sensor's axis are left out: the vehicle that carries it.
    """

    shift: int
    side: int
    height: int
    step: int
    ceiling: int
    min_points: int
    fit_limit: int
    near: int

    @property
    def cells(self) -> int:
        """Number of fine cells."""
        return self.side * self.side

    @property
    def ground_side(self) -> int:
        """Ground cells per side."""
        return (self.side << self.shift) >> GROUND_SHIFT

    @property
    def ground_cells(self) -> int:
        """Number of ground cells."""
        return self.ground_side * self.ground_side

    def parameters(self, lo: int = 0, hi: int = BINS) -> NDArray[np.int32]:
        """What kernels take, for the sector of azimuth bins lo <= bin < hi."""
        values = np.empty(PARAMETERS, np.int32)
        values[SHIFT], values[SIDE], values[GROUND_SIDE] = self.shift, self.side, self.ground_side
        values[HEIGHT], values[STEP], values[CEILING] = self.height, self.step, self.ceiling
        values[MIN_POINTS], values[FIT_LIMIT] = self.min_points, self.fit_limit
        values[NEAR] = self.near
        values[BIN_LO], values[BIN_HI] = lo, hi
        return values


@lru_cache(maxsize=8)
def azimuth_bins(ground_side: int) -> NDArray[np.uint16]:
    """The azimuth bin of each ground cell's centre, (ground_side * ground_side,), read-only.

    The bins divide the diamond angle, y / (|x| + |y|) within each quadrant, which grows with the
    azimuth and is exact in integers: gateway and device agree on every cell whatever their libm.
    """
    centre = 2 * np.arange(ground_side, dtype=np.int64) + 1 - ground_side
    x, y = np.meshgrid(centre, centre)
    total, quarter = np.abs(x) + np.abs(y), BINS // 4
    # Quadrants in the order of growing azimuth from -x: south-west, south-east, NE, NW.
    part = np.where((x < 0) == (y < 0), np.abs(y), np.abs(x)) * quarter // total
    quadrant = np.where(y < 0, np.where(x < 0, 0, 1), np.where(x < 0, 3, 2))
    angle = quadrant * quarter + np.minimum(part, quarter - 1)
    bins: NDArray[np.uint16] = angle.astype(np.uint16).ravel()
    bins.flags.writeable = False
    return bins


def bin_degrees(edge: int) -> int:
    """The azimuth where a bin begins, whole degrees in -180..180 (x axis 0, counter-clockwise)."""
    quarter = BINS // 4
    quadrant, part = divmod(edge, quarter)
    share = part / quarter
    angle = float(np.degrees(np.arctan2(share, 1 - share)))
    return round(-180 + 90 * quadrant + angle)
