"""Projection into a picture in NumPy and float64: KITTI's devkit's formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def project(points: NDArray[np.float32], pixel_from_lidar: ArrayLike) -> NDArray[np.float64]:
    """u, v and depth of points (n, 4): (n, 3), whatever is behind the camera."""
    homogeneous = np.column_stack((points[:, :3].astype(np.float64), np.ones(len(points))))
    seen: NDArray[np.float64] = homogeneous @ np.asarray(pixel_from_lidar, np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        seen[:, :2] /= seen[:, 2:]
    return seen
