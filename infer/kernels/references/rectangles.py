"""Rectangles around clusters in NumPy and float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.rectangles import CLOSEST, LONGEST, MOST_FITTED

Floats = NDArray[np.float64]


def scored(xy: Floats, turns: Floats) -> Floats:
    """How close the points (n, 2) of one cluster are to the rectangle's edges at each angle."""
    stride = (len(xy) - 1) // MOST_FITTED + 1
    x, y = xy[::stride].T
    c, s = turns.T[:, :, None]
    along = np.stack((x * c + y * s, y * c - x * s))
    low, high = along.min(axis=2, keepdims=True), along.max(axis=2, keepdims=True)
    near = np.minimum(along - low, high - along).min(axis=0)
    close: Floats = (1 / np.maximum(near, CLOSEST)).sum(axis=1)
    return close


def fitted(xy: Floats, turns: Floats) -> tuple[int, Floats]:
    """The step of the best angle, and u low, u high, v low, v high there, of one cluster."""
    small = np.ptp(xy, axis=0).max() < LONGEST
    best = int(scored(xy, turns).argmax()) if small else 0
    c, s = turns[best]
    u, v = xy @ (c, s), xy @ (-s, c)
    return best, np.array((u.min(), u.max(), v.min(), v.max()))
