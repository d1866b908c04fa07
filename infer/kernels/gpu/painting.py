"""Projection into a picture and painting on CUDA; see `infer.perception.painting`."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.painting import NOT_SEEN
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.painting import Painted, PinholeView

_project_point = bodies.project_point
_paint_point = bodies.paint_point


@cuda.jit
def each_projected(points: Any, camera: Any, pixels: Any) -> None:
    """`project_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _project_point(i, points, camera, pixels)


@cuda.jit
def each_painted(
    number: Any, camera: Any, pixels: Any, picture: Any, painted: Any, seen_by: Any
) -> None:
    """`paint_point` of each item."""
    for i in range(cuda.grid(1), seen_by.shape[0], cuda.gridsize(1)):
        _paint_point(i, number, camera, pixels, picture, painted, seen_by)


def paint(
    points: NDArray[np.float32], cameras: list[tuple[PinholeView, NDArray[np.float32]]]
) -> Painted:
    """Points, n > 0, painted as `infer.perception.painting.paint` would paint them."""
    sent, per_point = cuda.to_device(points.copy()), launch(len(points))
    channels = cameras[0][1].shape[-1]
    painted = cuda.to_device(np.zeros((len(points), channels), np.float32))
    seen_by = cuda.to_device(np.full(len(points), NOT_SEEN, np.int32))
    pixels = cuda.device_array((len(points), 3), np.float32)
    for number, (camera, picture) in enumerate(cameras):
        parameters = cuda.to_device(camera.parameters())
        each_projected[per_point](sent, parameters, pixels)
        each_painted[per_point](
            number, parameters, pixels, cuda.to_device(picture.copy()), painted, seen_by
        )
    return Painted(painted.copy_to_host(), seen_by.copy_to_host())
