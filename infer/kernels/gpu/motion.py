"""De-skew on CUDA; see `infer.perception.motion`."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.motion import Motion

_carry_point = bodies.carry_point


@cuda.jit
def each_carried(points: Any, times_us: Any, segments: Any, carried: Any) -> None:
    """`carry_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _carry_point(i, points, times_us, segments, carried)


def deskew(
    points: NDArray[np.float32], times_us: NDArray[np.int32], motion: Motion
) -> NDArray[np.float32]:
    """Points (n, 4) carried to the motion's target, as `infer.perception.motion.deskew` would."""
    carried = cuda.device_array(points.shape, np.float32)
    segments = cuda.to_device(motion.segments.astype(np.float32))
    each_carried[launch(len(points))](
        cuda.to_device(points.copy()), cuda.to_device(times_us.copy()), segments, carried
    )
    fetched: NDArray[np.float32] = carried.copy_to_host()
    return fetched
