"""Points carried to one moment, in NumPy: a 4 x 4 matrix for each point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.motion import ROTATE, SHIFT, START, VX
from infer.perception import se3

Floats = NDArray[np.float64]


def carry(xyz: Floats, times_us: NDArray[np.int32], segments: Floats) -> Floats:
    """Points (n, 3), each measured at its time, along the motion of `bodies.motion`; (n, 3)."""
    offsets = times_us / 1e6
    k = np.maximum(np.searchsorted(segments[:, START], offsets, side="right") - 1, 0)
    elapsed = offsets - segments[k, START]
    moved = se3.exp(segments[k, VX : VX + 6] * elapsed[:, None])
    at_start = (moved[:, :3, :3] @ xyz[:, :, None])[:, :, 0] + moved[:, :3, 3]
    turn = segments[k, ROTATE:SHIFT].reshape(-1, 3, 3)
    carried: Floats = (turn @ at_start[:, :, None])[:, :, 0] + segments[k, SHIFT:]
    return carried
