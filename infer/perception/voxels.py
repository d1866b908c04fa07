"""Voxels and pillars: a sweep as the padded tensor that detectors such as PointPillars take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.voxels import (
    AXES,
    BLOCK_SHIFT,
    CELLS_ALONG,
    LOW,
    PER_M,
    SPACE_FIELDS,
    WITH_HEIGHT,
)
from infer.kernels.threads import kernels_for
from infer.perception.clouds import checked
from mesh.core.errors import Misuse

MOST_CELLS = 1 << 24


@dataclass(frozen=True, slots=True)
class VoxelSpace:
    """The box that is cut into voxels: corners and a voxel's size in metres, x y z each.

    most_points: what a voxel keeps, its first in the sweep's order. most_voxels: how many there is
    room for. with_height: 10 features for each point instead of 9, see `VoxelBatch`.
    The default is what PointPillars has for KITTI, all around the vehicle.
    """

    low: tuple[float, float, float] = (-69.12, -69.12, -3.0)
    high: tuple[float, float, float] = (69.12, 69.12, 1.0)
    size: tuple[float, float, float] = (0.16, 0.16, 4.0)
    most_points: int = 32
    most_voxels: int = 30_000
    with_height: bool = False

    def __post_init__(self) -> None:
        """Raises Misuse where it holds no voxels, or more than can be counted."""
        cells = self.cells
        if min(cells) < 1 or int(np.prod(cells)) > MOST_CELLS or min(self.size) <= 0:
            raise Misuse(
                what="a sweep cannot be cut into these voxels",
                why=f"that would be {cells[0]} x {cells[1]} x {cells[2]} of them",
                fix=f"Between low and high there is room for 1 to {MOST_CELLS}.",
            )
        if self.most_points < 1 or self.most_voxels < 1:
            raise Misuse(
                what="a sweep cannot be cut into these voxels",
                why=f"{self.most_voxels} of {self.most_points} points can be kept",
                fix="Keep at least 1 of 1.",
            )

    @property
    def cells(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        along = zip(self.low, self.high, self.size, strict=True)
        x, y, z = (
            round((high - low) / size) if size > 0 and np.isfinite([low, high]).all() else 0
            for low, high, size in along
        )
        return x, y, z

    @property
    def features(self) -> int:
        """Of a point."""
        return WITH_HEIGHT if self.with_height else WITH_HEIGHT - 1

    def parameters(self) -> NDArray[np.float32]:
        """What kernels take."""
        values = np.empty(SPACE_FIELDS, np.float32)
        values[LOW : LOW + AXES] = self.low
        values[PER_M : PER_M + AXES] = 1 / np.array(self.size)
        values[CELLS_ALONG : CELLS_ALONG + AXES] = self.cells
        return values


@dataclass(frozen=True, slots=True)
class VoxelBatch:
    """The voxels of one sweep that hold points, by cell: along x first, then y, then z.

    features: float32 (n, most_points, 9 or 10): x y z intensity, x y z from the mean of the
    voxel's points, x y (z) from its centre; 0 beyond its points. counts: int32 (n,), its points.
    coordinates: int32 (n, 3), z y x. lost_voxels: that there was no room for, those last in order.
    """

    features: NDArray[np.float32]
    counts: NDArray[np.int32]
    coordinates: NDArray[np.int32]
    lost_voxels: int


class Voxeliser:
    """Cuts sweeps into voxels; keeps its scratch between them. Not for two threads at once."""

    def __init__(self, space: VoxelSpace, max_points: int, threads: int = 1) -> None:
        self.space = space
        self._parameters, self._kernels = space.parameters(), kernels_for(threads)
        cells = int(np.prod(space.cells))
        most = min(max_points, cells)
        self._cell_of, self._slot, self._member = np.empty((3, max_points), np.int32)
        self._count = np.zeros((threads, cells), np.int32)
        self._touched = np.zeros((cells >> BLOCK_SHIFT) + 1, np.uint8)
        self._found = np.empty((threads, 2), np.int64)
        self._cells, self._start = np.empty(most, np.int32), np.empty(most + 1, np.int32)
        rows = min(most, space.most_voxels)
        self._features = np.zeros((rows, space.most_points, space.features), np.float32)
        self._counts = np.zeros(rows, np.int32)
        self._coordinates = np.empty((rows, AXES), np.int32)

    def encode(self, points: NDArray[np.float32]) -> VoxelBatch:
        """The voxels of float32 (n, 4) points, n <= max_points; views, valid until the next call.

        Raises Misuse for points of another shape, or more.
        """
        points = checked(points, len(self._cell_of))
        n = len(points)
        voxels: int = self._kernels.sort_voxels(
            points,
            self._parameters,
            self._cell_of[:n],
            self._slot,
            self._count,
            self._touched,
            self._found,
            self._cells,
            self._start,
            self._member,
        )
        self._kernels.encode_voxels(
            voxels,
            points,
            self._parameters,
            self._count,
            self._cells,
            self._start,
            self._member,
            self._features,
            self._counts,
            self._coordinates,
        )
        kept = min(voxels, len(self._features))
        return VoxelBatch(
            self._features[:kept],
            self._counts[:kept],
            self._coordinates[:kept],
            lost_voxels=voxels - kept,
        )
