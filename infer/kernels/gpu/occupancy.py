"""Occupancy by casting rays on CUDA; see `infer.perception.occupancy`."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.occupancy import BEAMS, NO_GROUND, NO_OBSTACLE
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.area import Area

_sight_point = bodies.sight_point
_cast_ray = bodies.cast_ray
_believe_cell = bodies.believe_cell


@cuda.jit
def each_sighted(
    points: Any,
    labels: Any,
    area: Any,
    field: Any,
    nearest: Any,
    farthest: Any,
    hit: Any,
) -> None:
    """`sight_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _sight_point(i, 0, points, labels, area, field, nearest, farthest, hit)


@cuda.jit
def each_cast(points: Any, area: Any, field: Any, nearest: Any, farthest: Any, free: Any) -> None:
    """`cast_ray` of each beam, which is made empty again."""
    for beam in range(cuda.grid(1), BEAMS, cuda.gridsize(1)):
        near, far = nearest[0, beam], farthest[0, beam]
        nearest[0, beam], farthest[0, beam] = NO_OBSTACLE, NO_GROUND
        _cast_ray(near, far, points, area, field, free)


@cuda.jit
def each_believed(
    move_rows: Any,
    move_columns: Any,
    area: Any,
    field: Any,
    before: Any,
    belief: Any,
    hit: Any,
    free: Any,
) -> None:
    """`believe_cell` of each item."""
    for cell in range(cuda.grid(1), belief.shape[0], cuda.gridsize(1)):
        _believe_cell(cell, move_rows, move_columns, area, field, before, belief, hit, free)


class CudaOccupancy:
    """The belief of the cells around the sensor on the current GPU.

    Where the grid is, and the kernels' field, are for `OccupancyGrid` to say.
    """

    def __init__(self, area: Area) -> None:
        cells = area.across**2
        self._area, self._across = cuda.to_device(area.parameters()), area.across
        self._belief, self._before = (cuda.to_device(np.zeros(cells, np.float32)) for _ in range(2))
        self._hit, self._free = (cuda.to_device(np.zeros(cells, np.uint8)) for _ in range(2))
        self._nearest = cuda.to_device(np.full((1, BEAMS), NO_OBSTACLE, np.int64))
        self._farthest = cuda.to_device(np.full((1, BEAMS), NO_GROUND, np.int64))

    def update(
        self,
        points: NDArray[np.float32],
        labels: NDArray[np.uint8],
        field: NDArray[np.float32],
        moved: tuple[int, int] = (0, 0),
    ) -> NDArray[np.float32]:
        """Take in one sweep, n > 0; the log-odds (across, across). moved: rows and columns."""
        sent, marks = cuda.to_device(points.copy()), cuda.to_device(labels.copy())
        given = cuda.to_device(field)
        nearest, farthest, hit, free = self._nearest, self._farthest, self._hit, self._free
        each_sighted[launch(len(points))](sent, marks, self._area, given, nearest, farthest, hit)
        each_cast[launch(BEAMS)](sent, self._area, given, nearest, farthest, free)
        self._belief, self._before = self._before, self._belief
        each_believed[launch(self._belief.size)](
            *moved, self._area, given, self._before, self._belief, hit, free
        )
        fetched: NDArray[np.float32] = self._belief.copy_to_host()
        return fetched.reshape(self._across, self._across)
