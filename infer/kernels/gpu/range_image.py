"""A sweep as a picture around the sensor on CUDA; see `infer.perception.range_image`."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.range_image import CHANNELS, NOTHING_SEEN
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.range_image import RangeImage, View

_range_point = bodies.range_point
_fill_pixel = bodies.fill_pixel


@cuda.jit
def each_ranged(points: Any, view: Any, nearest: Any) -> None:
    """`range_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _range_point(i, 0, points, view, nearest)


@cuda.jit
def each_filled(points: Any, nearest: Any, image: Any, index: Any) -> None:
    """`fill_pixel` of each item; `nearest` is made empty again."""
    for pixel in range(cuda.grid(1), index.shape[0], cuda.gridsize(1)):
        key = nearest[0, pixel]
        nearest[0, pixel] = NOTHING_SEEN
        _fill_pixel(pixel, key, points, image, index)


class CudaRangeImager:
    """Pictures sweeps on the current GPU; keeps its memory there between them."""

    def __init__(self, view: View) -> None:
        pixels = view.rows * view.columns
        self._view, self._shape = cuda.to_device(view.parameters()), (view.rows, view.columns)
        self._nearest = cuda.to_device(np.full((1, pixels), NOTHING_SEEN, np.int64))
        self._channels = cuda.device_array((CHANNELS, pixels), np.float32)
        self._index = cuda.device_array(pixels, np.int32)

    def picture(self, points: NDArray[np.float32]) -> RangeImage:
        """The image of float32 (n, 4) points, n > 0."""
        sent = cuda.to_device(points.copy())
        each_ranged[launch(len(points))](sent, self._view, self._nearest)
        each_filled[launch(self._index.size)](sent, self._nearest, self._channels, self._index)
        return RangeImage(
            self._channels.copy_to_host().reshape(CHANNELS, *self._shape),
            self._index.copy_to_host().reshape(self._shape),
        )
