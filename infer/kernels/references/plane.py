"""The ground as one plane in NumPy and float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.grid import UNITS_PER_M

Floats = NDArray[np.float64]


def low_points(points: NDArray[np.float32], area: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices of the lowest point of each cell, in order of cells; of equals the first.

    area: `Area.parameters`. Heights are compared in steps of 1/1024 m, as the kernel does.
    """
    reach, per_m, across = area
    with np.errstate(invalid="ignore"):
        usable = (np.abs(points[:, :3]) < 1000).all(axis=1)
        place = (points[:, :2] + reach) * per_m  # the rule is one of float32
        inside = usable & (place >= 0).all(axis=1) & (place < across).all(axis=1)
    index = np.flatnonzero(inside)
    column, row = place[index].astype(np.int64).T
    cell = row * int(across) + column
    height = np.floor(points[index, 2].astype(np.float64) * UNITS_PER_M)
    order = np.lexsort((index, height, cell))
    first = np.flatnonzero(np.diff(cell[order], prepend=-1))
    found: NDArray[np.int64] = index[order[first]]
    return found


def find(
    points: NDArray[np.float32],
    low: NDArray[np.int64],
    triples: NDArray[np.int32],
    *,
    within: float,
    steepest: float,
    fits: int,
) -> Floats:
    """(slope along x, slope along y, height): the proposal that most low points lie in, fitted."""
    xyz = points[:, :3].astype(np.float64)
    corners = xyz[low[triples]]  # (trials, 3 corners, 3 axes)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = -normal[:, :2] / normal[:, 2:]
        fine = (np.abs(normal[:, 2]) > 1e-3) & (np.hypot(*slopes.T) <= steepest)
    planes = np.zeros((len(triples), 3))
    planes[fine, :2] = slopes[fine]
    planes[:, 2] = np.where(
        fine, corners[:, 0, 2] - (planes[:, :2] * corners[:, 0, :2]).sum(1), 1e9
    )
    votes = (np.abs(above(xyz[low], planes[:, None].swapaxes(0, 1))) <= within).sum(axis=0)
    plane: Floats = planes[votes.argmax()]
    for _ in range(fits):
        near = np.flatnonzero(np.abs(above(xyz, plane)) <= within)
        places = np.column_stack((xyz[near, :2], np.ones(len(near))))
        plane = np.linalg.lstsq(places, xyz[near, 2], rcond=None)[0]
    return plane


def above(xyz: Floats, plane: Floats) -> Floats:
    """How far points (n, 3) are above planes (3,) or (1, k, 3): (n,) or (n, k)."""
    if plane.ndim == 1:
        over: Floats = xyz[:, 2] - xyz[:, :2] @ plane[:2] - plane[2]
    else:
        over = xyz[:, 2:] - xyz[:, :2] @ plane[0, :, :2].T - plane[0, :, 2]
    return over
