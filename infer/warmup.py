"""A small scene that reaches every kernel, so that compiling is over before the first sweep."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.grid import UNITS_PER_M, Grid


def small_scene() -> NDArray[np.float32]:
    """A block on flat ground across the x axis, (n, 4), read-only."""
    x, y = np.meshgrid(np.arange(5.0, 8.0, 0.25), np.arange(-2.0, 2.0, 0.25))
    points = np.zeros((2 * x.size, 4), np.float32)
    points[:, 0], points[:, 1] = np.tile(x.ravel(), 2), np.tile(y.ravel(), 2)
    points[: x.size, 2], points[x.size :, 2] = -1.75, -0.75
    points.flags.writeable = False
    return points


def small_grid() -> Grid:
    """The smallest grid that holds the scene: kernels take its size as numbers, so any will do."""
    return Grid(
        shift=9,
        side=64,
        height=round(1.75 * UNITS_PER_M),
        step=UNITS_PER_M // 4,
        ceiling=3 * UNITS_PER_M,
        min_points=5,
        fit_limit=16 * UNITS_PER_M,
        near=0,
    )
