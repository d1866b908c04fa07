"""The pipeline in NumPy and float64, written for being right rather than fast.

Tests hold the kernels against it: whole numbers (ground, cells, clusters) must be equal, because
1/1024 m is exact in both; boxes, fitted here with real sines and distances, agree closely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.grid import GROUND_SHIFT, UNITS_PER_M, Grid
from infer.kernels.bodies.clusters import LINK
from infer.kernels.bodies.ground import GROUND_STEP
from infer.kernels.bodies.points import GROUND_BAND, GROUND_SLOPE_SHIFT

EDGE_M = 0.25
ANGLE_STEP = np.radians(1.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands where. All in metres, sensor frame.

    ground: (ground_side, ground_side), nan where nothing was seen. obstacle: bool (n,), per point.
    cell_of: (n,) fine cell of each obstacle point. labels: (n,), which cluster, by smallest cell.
    """

    ground: Floats
    obstacle: NDArray[np.bool_]
    cell_of: NDArray[np.int64]
    labels: NDArray[np.int64]


def see(points: NDArray[np.float32], grid: Grid) -> Seen:
    """Ground, obstacles and clusters of float32 (n, 4) points."""
    xyz = points[:, :3].astype(np.float64)
    with np.errstate(invalid="ignore"):
        usable: NDArray[np.bool_] = np.all(np.abs(xyz) < 1000, axis=1)
    xyz = np.floor(np.where(usable[:, None], xyz, 0) * UNITS_PER_M) / UNITS_PER_M
    reach = grid.ground_side / 2
    near = np.hypot(xyz[:, 0], xyz[:, 1]) < grid.near / UNITS_PER_M
    inside = usable & ~near & (xyz[:, :2] >= -reach).all(axis=1) & (xyz[:, :2] < reach).all(axis=1)
    height = grid.height / UNITS_PER_M
    possible = inside & (xyz[:, 2] >= -height - _slack(xyz[:, 0], xyz[:, 1]))
    column, row = (np.floor(xyz[:, axis] + reach).astype(np.int64) for axis in (0, 1))
    ground = _ground(xyz, possible, row, column, grid)
    at = np.where(inside, row, 0), np.where(inside, column, 0)
    above = xyz[:, 2] - ground[at]
    with np.errstate(invalid="ignore"):
        tall = (above > grid.step / UNITS_PER_M) & (above <= grid.ceiling / UNITS_PER_M)
    obstacle = possible & tall
    cell = (1 << grid.shift) / UNITS_PER_M
    fine = np.floor(xyz[:, :2] / cell).astype(np.int64) + grid.side // 2
    cell_of = np.where(obstacle, fine[:, 1] * grid.side + fine[:, 0], -1)
    return Seen(ground, obstacle, cell_of, _labels(cell_of, grid))


def _slack(x: Floats, y: Floats) -> Floats:
    farther = np.floor(np.maximum(np.abs(x), np.abs(y)) * UNITS_PER_M)
    slack: Floats = (GROUND_BAND + farther // (1 << GROUND_SLOPE_SHIFT)) / UNITS_PER_M
    return slack


def _ground(
    xyz: Floats,
    possible: NDArray[np.bool_],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    grid: Grid,
) -> Floats:
    side = grid.ground_side
    lowest = np.full((side, side), np.inf)
    np.minimum.at(lowest, (row[possible], column[possible]), xyz[possible, 2])
    padded = np.pad(lowest, 1, constant_values=np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    around = windows.min(axis=(2, 3))
    corner = (np.arange(side) - side // 2) * float(1 << GROUND_SHIFT) / UNITS_PER_M
    highest = -grid.height / UNITS_PER_M + _slack(*np.meshgrid(corner, corner))
    with np.errstate(invalid="ignore"):
        own = (lowest - around <= GROUND_STEP / UNITS_PER_M) & (lowest <= highest)
    ground = np.where(own, lowest, np.minimum(around, highest))
    return np.where(np.isinf(lowest), np.nan, ground)


def _labels(cell_of: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """The smallest cell linked with each point's cell; -1 for no obstacle."""
    occupied = np.unique(cell_of[cell_of >= 0])
    row, column = occupied // grid.side, occupied % grid.side
    one, other = [], []
    for down in range(-LINK, LINK + 1):
        for across in range(-LINK, LINK + 1):
            there = (row + down, column + across)
            inside = [(part >= 0) & (part < grid.side) for part in there]
            cell = np.where(inside[0] & inside[1], there[0] * grid.side + there[1], -1)
            linked = np.flatnonzero(np.isin(cell, occupied))
            one.append(linked)
            other.append(np.searchsorted(occupied, cell[linked]))
    pairs = np.concatenate(one), np.concatenate(other)
    names = occupied.copy()
    while True:
        spread = names.copy()
        np.minimum.at(spread, pairs[0], names[pairs[1]])
        spread = spread[np.searchsorted(occupied, spread)]  # a name's own name is at least as low
        if (spread == names).all():
            break
        names = spread
    labels = np.full(len(cell_of), -1)
    labels[cell_of >= 0] = names[np.searchsorted(occupied, cell_of[cell_of >= 0])]
    return labels


def edge_scores(xy: Floats) -> Floats:
    """How well each whole degree 0..89 fits cells at (n, 2): closeness to the rectangle's edges."""
    angles = np.arange(90) * ANGLE_STEP
    u = np.outer(np.cos(angles), xy[:, 0]) + np.outer(np.sin(angles), xy[:, 1])
    v = np.outer(np.cos(angles), xy[:, 1]) - np.outer(np.sin(angles), xy[:, 0])
    sides = [
        part
        for turned in (u, v)
        for part in (
            turned - turned.min(axis=1, keepdims=True),
            turned.max(axis=1, keepdims=True) - turned,
        )
    ]
    scores: Floats = np.maximum(EDGE_M - np.min(sides, axis=0), 0).sum(axis=1)
    return scores


def extents(xy: Floats, yaw: float) -> tuple[float, float]:
    """How long points (n, 2) reach along yaw (radians) and across it."""
    c, s = np.cos(yaw), np.sin(yaw)
    return float(np.ptp(c * xy[:, 0] + s * xy[:, 1])), float(np.ptp(c * xy[:, 1] - s * xy[:, 0]))
