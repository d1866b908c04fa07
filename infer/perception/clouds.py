"""What every step asks of the points it is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import Misuse

FIELDS = 4  # x y z in metres and an intensity


def checked(points: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """The points as kernels take them: float32 (n, 4), rows together, read-only.

    A kernel is compiled for one kind of array. Raises Misuse unless they are float32 (n, 4) and at
    most so many.
    """
    if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] != FIELDS:
        raise Misuse(
            what="these are no points of a sweep",
            why=f"they are {points.dtype} {points.shape}",
            fix="Give float32 (n, 4): x y z intensity.",
        )
    if len(points) > most:
        raise Misuse(
            what="these are too many points",
            why=f"there are {len(points)}, and scratch was made for {most}",
            fix="Make it for more.",
        )
    rows = np.ascontiguousarray(points).view()
    rows.flags.writeable = False
    return rows
