"""A range image in NumPy and float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.grid import UNITS_PER_M
from infer.kernels.bodies.range_image import (
    COLUMNS,
    COLUMNS_PER_RAD,
    FARTHEST,
    NEAREST,
    ROWS,
    ROWS_PER_RAD,
    TOP,
)

Floats = NDArray[np.float64]


def places(points: NDArray[np.float32], view: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
    """Row, column and range of each point, not yet whole; nan for no measurement.

    view: `View.parameters`.
    """
    x, y, z = points[:, :3].astype(np.float64).T
    with np.errstate(invalid="ignore"):
        usable = (np.abs(points[:, :3]) < 1000).all(axis=1)
        away = np.where(usable, np.sqrt(x * x + y * y + z * z), np.nan)
        row = (view[TOP] - np.arctan2(z, np.hypot(x, y))) * view[ROWS_PER_RAD]
        column = (np.pi - np.arctan2(y, x)) * view[COLUMNS_PER_RAD]
    return row, column, away


def picture(points: NDArray[np.float32], view: NDArray[np.float32]) -> NDArray[np.int64]:
    """The nearest point of each pixel (rows * columns,), -1 for none; of equals the first."""
    row, column, away = places(points, view)
    with np.errstate(invalid="ignore"):
        seen = (away >= view[NEAREST]) & (away < view[FARTHEST]) & (row >= 0) & (row < view[ROWS])
    index = np.flatnonzero(seen)
    columns = int(view[COLUMNS])
    across = np.minimum(column[index].astype(np.int64), columns - 1)
    pixel = row[index].astype(np.int64) * columns + across
    # Ranges are compared in steps of 1/1024 m, as the kernel does.
    order = np.lexsort((index, np.floor(away[index] * UNITS_PER_M), pixel))
    first = np.flatnonzero(np.diff(pixel[order], prepend=-1))
    nearest = np.full(int(view[ROWS]) * columns, -1)
    nearest[pixel[order[first]]] = index[order[first]]
    return nearest
