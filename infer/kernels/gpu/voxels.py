"""Voxels and pillars on CUDA; see `infer.perception.voxels`."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.voxels import AXES, BLOCK_SHIFT, FOUND_POINTS, FOUND_VOXELS
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.voxels import VoxelBatch, VoxelSpace

PARTS = 1024  # that cells are numbered in, each by one thread

_count_point = bodies.count_point
_survey_block = bodies.survey_block
_sum_before = bodies.sum_before
_number_block = bodies.number_block
_end_voxels = bodies.end_voxels
_list_point = bodies.list_point
_keep_first = bodies.keep_first
_encode_voxel = bodies.encode_voxel
_forget_voxel = bodies.forget_voxel


@cuda.jit
def each_counted(
    points: Any, space: Any, cell_of: Any, slot: Any, count: Any, touched: Any
) -> None:
    """`count_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _count_point(i, 0, points, space, cell_of, slot, count, touched)


@cuda.jit
def each_surveyed(count: Any, touched: Any, found: Any) -> None:
    """`survey_block` of each block of each part."""
    parts, blocks = found.shape[0], touched.shape[0]
    for part in range(cuda.grid(1), parts, cuda.gridsize(1)):
        found[part, FOUND_VOXELS] = found[part, FOUND_POINTS] = 0
        for block in range(blocks * part // parts, blocks * (part + 1) // parts):
            if touched[block]:
                _survey_block(part, block, count, found)


@cuda.jit
def summed(found: Any) -> None:
    """`sum_before`, by one thread."""
    if cuda.grid(1) == 0:
        _sum_before(found)


@cuda.jit
def each_numbered(count: Any, touched: Any, found: Any, cells: Any, start: Any) -> None:
    """`number_block` of each block of each part."""
    parts, blocks = found.shape[0], touched.shape[0]
    for part in range(cuda.grid(1), parts, cuda.gridsize(1)):
        for block in range(blocks * part // parts, blocks * (part + 1) // parts):
            if touched[block]:
                _number_block(part, block, count, found, cells, start)
                touched[block] = 0


@cuda.jit
def ended(found: Any, start: Any, voxels: Any) -> None:
    """`end_voxels`, by one thread."""
    if cuda.grid(1) == 0:
        voxels[0] = _end_voxels(found, start)


@cuda.jit
def each_listed(cell_of: Any, slot: Any, count: Any, member: Any, points: Any) -> None:
    """`list_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _list_point(i, 0, cell_of, slot, count, member)


@cuda.jit
def each_encoded(
    voxels: Any,
    points: Any,
    space: Any,
    count: Any,
    cells: Any,
    start: Any,
    member: Any,
    features: Any,
    counts: Any,
    coordinates: Any,
) -> None:
    """`encode_voxel` of each item there is room for; all cells are made empty again."""
    for k in range(cuda.grid(1), voxels[0], cuda.gridsize(1)):
        if k < features.shape[0]:
            kept = _keep_first(start[k], start[k + 1], features.shape[1], member)
            _encode_voxel(
                k, kept, points, space, cells, start, member, features, counts, coordinates
            )
        _forget_voxel(k, cells, count)


class CudaVoxeliser:
    """Cuts sweeps into voxels on the current GPU; keeps its memory there between them."""

    def __init__(self, space: VoxelSpace, max_points: int) -> None:
        cells = int(np.prod(space.cells))
        most = min(max_points, cells)
        rows = min(most, space.most_voxels)
        self._space = cuda.to_device(space.parameters())
        self._cell_of, self._slot, self._member = (
            cuda.device_array(max_points, np.int32) for _ in range(3)
        )
        self._count = cuda.to_device(np.zeros((1, cells), np.int32))
        self._touched = cuda.to_device(np.zeros((cells >> BLOCK_SHIFT) + 1, np.uint8))
        self._found = cuda.device_array((PARTS, 2), np.int64)
        self._cells = cuda.device_array(most, np.int32)
        self._start = cuda.device_array(most + 1, np.int32)
        self._voxels = cuda.device_array(1, np.int32)
        shape = (rows, space.most_points, space.features)
        self._features = cuda.to_device(np.zeros(shape, np.float32))
        self._counts = cuda.to_device(np.zeros(rows, np.int32))
        self._coordinates = cuda.device_array((rows, AXES), np.int32)

    def encode(self, points: NDArray[np.float32]) -> VoxelBatch:
        """The voxels of float32 (n, 4) points, 0 < n <= max_points."""
        sent = cuda.to_device(points.copy())
        per_point, per_part = launch(len(points)), launch(PARTS)
        count, touched, found = self._count, self._touched, self._found
        each_counted[per_point](sent, self._space, self._cell_of, self._slot, count, touched)
        each_surveyed[per_part](count, touched, found)
        summed[1, 1](found)
        each_numbered[per_part](count, touched, found, self._cells, self._start)
        ended[1, 1](found, self._start, self._voxels)
        each_listed[per_point](self._cell_of, self._slot, count, self._member, sent)
        each_encoded[launch(self._cells.size)](
            self._voxels,
            sent,
            self._space,
            count,
            self._cells,
            self._start,
            self._member,
            self._features,
            self._counts,
            self._coordinates,
        )
        voxels = int(self._voxels.copy_to_host()[0])
        kept = min(voxels, len(self._counts))
        return VoxelBatch(
            self._features.copy_to_host()[:kept],
            self._counts.copy_to_host()[:kept],
            self._coordinates.copy_to_host()[:kept],
            lost_voxels=voxels - kept,
        )
