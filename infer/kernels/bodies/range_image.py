"""A sweep as a picture around the sensor: of each pixel the nearest point.

`view` is float32: elevation of the upper edge, rows per radian, rows, columns per radian, columns,
nearest and farthest range. Column 0 is behind the sensor, azimuth pi, and columns go clockwise.
"""

from __future__ import annotations

import math

import numpy as np

from infer.kernels.bodies.angles import HALF_TURN, angle_of
from infer.kernels.bodies.points import units, usable
from infer.kernels.bodies.shared import Array, lower_in

TOP, ROWS_PER_RAD, ROWS, COLUMNS_PER_RAD, COLUMNS, NEAREST, FARTHEST = range(7)
VIEW_FIELDS = 7

# One number holds range and index of a pixel's nearest point: the range above, so it decides.
RANGE_SHIFT = 32
NOTHING_SEEN = (1 << 62) - 1
CHANNELS = 5  # range, x, y, z, intensity

BLANK = np.float32(0)


def pixel_of(i: int, points: Array, view: Array) -> int:
    """The pixel of a usable point i, -1 outside of the view."""
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    row = (view[TOP] - angle_of(z, math.sqrt(x * x + y * y))) * view[ROWS_PER_RAD]
    if not (row >= BLANK and row < view[ROWS]):
        return -1
    columns = int(view[COLUMNS])
    column = int((HALF_TURN - angle_of(y, x)) * view[COLUMNS_PER_RAD])
    return int(row) * columns + min(column, columns - 1)


def range_point(i: int, part: int, points: Array, view: Array, nearest: Array) -> None:
    """Point i may be the nearest of its pixel; of equals the first."""
    if not usable(points, i):
        return
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    away = math.sqrt(x * x + y * y + z * z)
    if away >= view[NEAREST] and away < view[FARTHEST]:
        pixel = pixel_of(i, points, view)
        if pixel >= 0:
            lower_in(nearest, part, pixel, (units(away) << RANGE_SHIFT) + i)


def fill_pixel(pixel: int, key: int, points: Array, image: Array, index: Array) -> None:
    """The channels and the point of one pixel, 0 and -1 where nothing was seen."""
    if key == NOTHING_SEEN:
        for channel in range(CHANNELS):
            image[channel, pixel] = BLANK
        index[pixel] = -1
        return
    i = key & ((1 << RANGE_SHIFT) - 1)
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    image[0, pixel] = math.sqrt(x * x + y * y + z * z)
    image[1, pixel], image[2, pixel], image[3, pixel] = x, y, z
    image[4, pixel] = points[i, 3]
    index[pixel] = i
