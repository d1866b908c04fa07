"""The ground as one plane: RANSAC over the lowest points, then least squares over all in it.

Steps and slopes of the ground are for the grid of `infer.kernels.bodies.ground`; one plane is what
a sensor's mounting is checked with, and what is enough on a road.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.grid import UNITS_PER_M
from infer.kernels.bodies.plane import (
    NO_KEY,
    NUMBER,
    SUM_OF_X,
    SUM_OF_Y,
    SUM_R,
    SUM_XR,
    SUM_XX,
    SUM_XY,
    SUM_YR,
    SUM_YY,
    SUMS,
)
from infer.kernels.threads import kernels_for
from infer.perception.area import Area
from infer.perception.clouds import checked

FEWEST = 3  # low points that propose a plane
NEAR = Area(48.0, 1.0)


@dataclass(frozen=True, slots=True)
class PlaneSearch:
    """within_m: how far from the plane ground may lie. steepest: slope, rise over run.

    area: where the lowest point of each cell is looked for. trials: planes proposed. fits: rounds
    of least squares. seed: of the triples that propose.
    """

    within_m: float = 0.15
    steepest: float = 0.2
    area: Area = NEAR
    trials: int = 128
    fits: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Ground:
    """z = slope_x x + slope_y y + height_m, in the sensor's frame; fitted to so many inliers.

    labels: uint8 (n,), see `infer.kernels.bodies.plane`: ground, above, below, no measurement.
    """

    slope_x: float
    slope_y: float
    height_m: float
    inliers: int
    labels: NDArray[np.uint8]

    @property
    def tilt_deg(self) -> float:
        """Between the plane and the sensor's horizon."""
        return math.degrees(math.atan(math.hypot(self.slope_x, self.slope_y)))


class GroundFinder:
    """Finds the ground in sweeps; keeps its scratch between them. Not for two threads at once."""

    def __init__(self, search: PlaneSearch, max_points: int, threads: int = 1) -> None:
        self.search = search
        self._threads, self._kernels = threads, kernels_for(threads)
        self._area = search.area.parameters()
        cells = search.area.across**2
        self._lowest = np.full((threads, cells), NO_KEY, np.int64)
        self._low = np.empty(cells, np.int32)
        self._planes = np.empty((search.trials, 3), np.float32)
        self._votes = np.empty(search.trials, np.int32)
        self._sums = np.empty((threads, SUMS), np.int64)
        self._labels = np.empty(max_points, np.uint8)

    def find(self, points: NDArray[np.float32]) -> Ground | None:
        """The ground under float32 (n, 4) points; None where no plane of that slope is to be seen.

        Labels are valid until the next call. Raises Misuse as `clouds.checked` does.
        """
        points = checked(points, len(self._labels))
        search, planes = self.search, self._planes
        found = self._kernels.find_low_points(points, self._area, self._lowest, self._low)
        if found < FEWEST:
            return None
        within = np.float32(search.within_m)
        self._kernels.rate_planes(
            points,
            self._low[:found],
            triples(found, search),
            np.float32(search.steepest),
            within,
            planes,
            self._votes,
            self._threads,
        )
        best = int(self._votes.argmax())
        if self._votes[best] < FEWEST:
            return None
        planes[0] = planes[best]
        inliers = 0
        for _ in range(search.fits):
            self._kernels.gather_inliers(points, planes, within, self._sums)
            total = self._sums.sum(axis=0)
            inliers = int(total[NUMBER])
            planes[0] += correction(total)
        labels = self._labels[: len(points)]
        self._kernels.label_points(points, planes, within, labels, self._threads)
        slope_x, slope_y, height = map(float, planes[0])
        return Ground(slope_x, slope_y, height, inliers, labels)


def triples(found: int, search: PlaneSearch) -> NDArray[np.int32]:
    """Which low points propose planes, (trials, 3): the same for the same number of them."""
    chosen = np.random.default_rng(search.seed).integers(0, found, (search.trials, FEWEST))
    return chosen.astype(np.int32)


def correction(total: NDArray[np.int64]) -> NDArray[np.float32]:
    """What least squares adds to a plane, from the sums of what points are above it."""
    n, x, y, xx, xy, yy, r, xr, yr = (
        float(total[field])
        for field in (
            NUMBER,
            SUM_OF_X,
            SUM_OF_Y,
            SUM_XX,
            SUM_XY,
            SUM_YY,
            SUM_R,
            SUM_XR,
            SUM_YR,
        )
    )
    # Heights were rounded down: they are half a unit more on average.
    above = np.array((xr + x / 2, yr + y / 2, r + n / 2))
    normal = np.array(((xx, xy, x), (xy, yy, y), (x, y, n)))
    solved = np.linalg.lstsq(normal, above, rcond=None)[0]
    return np.array((solved[0], solved[1], solved[2] / UNITS_PER_M), np.float32)
