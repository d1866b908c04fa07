"""Radar targets and objects on CUDA; see `infer.perception.radar`."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.radar import NO_TARGET
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.radar import Association, Radar, beams_of, targets_of

_associate_target = bodies.associate_target
_note_nearest = bodies.note_nearest


@cuda.jit
def each_associated(
    targets: Any,
    objects: Any,
    covariances: Any,
    radar: Any,
    object_of: Any,
    distances: Any,
    closest: Any,
) -> None:
    """`associate_target` and `note_nearest` of each item."""
    for i in range(cuda.grid(1), targets.shape[0], cuda.gridsize(1)):
        _associate_target(i, targets, objects, covariances, radar, object_of, distances)
        _note_nearest(i, object_of, distances, closest)


def associate(
    targets: NDArray[np.float32],
    objects: NDArray[np.float32],
    covariances: NDArray[np.float32],
    radar: Radar,
) -> Association:
    """Of n > 0 targets and m > 0 objects, as `infer.perception.radar.associate` has it."""
    n, m = len(targets), len(objects)
    object_of, distances = cuda.device_array(n, np.int32), cuda.device_array(n, np.float32)
    nearest = cuda.to_device(np.full(m, NO_TARGET, np.int64))
    each_associated[launch(n)](
        cuda.to_device(beams_of(targets)),
        cuda.to_device(objects.copy()),
        cuda.to_device(covariances.reshape(m, 16).copy()),
        cuda.to_device(radar.parameters()),
        object_of,
        distances,
        nearest,
    )
    return Association(
        object_of.copy_to_host(), distances.copy_to_host(), targets_of(nearest.copy_to_host())
    )
