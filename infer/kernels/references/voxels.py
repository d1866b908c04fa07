"""Voxels and pillars in NumPy: a stable sort by cell instead of counting."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from infer.kernels.bodies.voxels import AXES, CELLS_ALONG, LOW, PER_M, RAW


def encode(
    points: NDArray[np.float32],
    parameters: NDArray[np.float32],
    most_points: int,
    width: int,
    dtype: DTypeLike = np.float64,
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64]]:
    """Features (n, most_points, width), counts (n,), coordinates (n, 3) as z y x, by cell.

    parameters: `VoxelSpace.parameters`. dtype: that features are computed in.
    """
    low, per_m = parameters[LOW : LOW + AXES], parameters[PER_M : PER_M + AXES]
    along = parameters[CELLS_ALONG : CELLS_ALONG + AXES]
    scaled = (points[:, :AXES] - low) * per_m  # the rule is one of float32
    index = np.flatnonzero(((scaled >= 0) & (scaled < along)).all(axis=1))
    x, y, z = scaled[index].astype(np.int64).T
    nx, ny = int(along[0]), int(along[1])
    cell = (z * ny + y) * nx + x
    order = np.argsort(cell, kind="stable")
    cell, index = cell[order], index[order]
    start = np.flatnonzero(np.diff(cell, prepend=-1))
    counts = np.diff(start, append=len(cell))
    voxel = np.repeat(np.arange(len(start)), counts)
    slot = np.arange(len(cell)) - start[voxel]
    kept = slot < most_points
    voxel, slot, index = voxel[kept], slot[kept], index[kept]
    counts = np.minimum(counts, most_points)
    cell = cell[start]
    coordinates = np.stack((cell // nx // ny, cell // nx % ny, cell % nx), axis=1)
    centre = low.astype(dtype) + (coordinates[:, ::-1].astype(dtype) + 0.5) / per_m.astype(dtype)
    rows = points[index].astype(dtype)
    from_centre = rows[:, :AXES] - centre[voxel]
    sums = [np.bincount(voxel, from_centre[:, axis], len(counts)) for axis in range(AXES)]
    mean = (np.stack(sums, axis=1) / counts[:, None]).astype(dtype)
    features = np.zeros((len(counts), most_points, width), dtype)
    features[voxel, slot, :RAW] = rows
    features[voxel, slot, RAW : RAW + AXES] = from_centre - mean[voxel]
    features[voxel, slot, RAW + AXES :] = from_centre[:, : width - RAW - AXES]
    return features, counts, coordinates
