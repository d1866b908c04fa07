"""A sweep as a range image: the nearest point of each direction, for networks and codecs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.range_image import (
    CHANNELS,
    COLUMNS,
    COLUMNS_PER_RAD,
    FARTHEST,
    NEAREST,
    NOTHING_SEEN,
    ROWS,
    ROWS_PER_RAD,
    TOP,
    VIEW_FIELDS,
)
from infer.kernels.threads import kernels_for
from infer.perception.clouds import checked
from mesh.core.errors import Misuse

MOST_PIXELS = 1 << 22


@dataclass(frozen=True, slots=True)
class View:
    """rows x columns pixels between two elevations, all around; the default is KITTI's sensor.

    up_deg, down_deg: elevations of the upper and the lower edge. nearest_m, farthest_m: ranges
    outside of these are left out.
    """

    rows: int = 64
    columns: int = 2048
    up_deg: float = 3.0
    down_deg: float = -25.0
    nearest_m: float = 1.0
    farthest_m: float = 120.0

    def __post_init__(self) -> None:
        """Raises Misuse for no pixels, too many, or a view turned over."""
        fits = min(self.rows, self.columns) >= 1 and self.rows * self.columns <= MOST_PIXELS
        if not (fits and -90 <= self.down_deg < self.up_deg <= 90):
            raise Misuse(
                what="this is no view",
                why=f"{self.rows} rows of {self.columns} from {self.up_deg} to {self.down_deg} deg",
                fix=f"Have 1 to {MOST_PIXELS} pixels, and up above down.",
            )

    def parameters(self) -> NDArray[np.float32]:
        """What kernels take."""
        values = np.empty(VIEW_FIELDS, np.float32)
        values[TOP] = math.radians(self.up_deg)
        values[ROWS_PER_RAD] = self.rows / math.radians(self.up_deg - self.down_deg)
        values[ROWS] = self.rows
        values[COLUMNS_PER_RAD] = self.columns / math.tau
        values[COLUMNS] = self.columns
        values[NEAREST], values[FARTHEST] = self.nearest_m, self.farthest_m
        return values


@dataclass(frozen=True, slots=True)
class RangeImage:
    """channels: float32 (5, rows, columns), range x y z intensity, 0 where nothing was seen.

    index: int32 (rows, columns), the point of each pixel, -1 for none. Column 0 is behind the
    sensor, the middle ahead; columns go clockwise.
    """

    channels: NDArray[np.float32]
    index: NDArray[np.int32]


class RangeImager:
    """Pictures sweeps; keeps its scratch between them. Not for two threads at once."""

    def __init__(self, view: View, threads: int = 1) -> None:
        self._view, self._max_points = view.parameters(), (1 << 31) - 1
        self._kernels = kernels_for(threads)
        pixels = view.rows * view.columns
        self._nearest = np.full((threads, pixels), NOTHING_SEEN, np.int64)
        self._channels = np.empty((CHANNELS, pixels), np.float32)
        self._index = np.empty(pixels, np.int32)
        self._shape = view.rows, view.columns

    def picture(self, points: NDArray[np.float32]) -> RangeImage:
        """The image of float32 (n, 4) points; views, valid until the next call. Raises Misuse."""
        points = checked(points, self._max_points)
        self._kernels.picture_ranges(points, self._view, self._nearest, self._channels, self._index)
        return RangeImage(
            self._channels.reshape(CHANNELS, *self._shape), self._index.reshape(self._shape)
        )
