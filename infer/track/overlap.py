"""How much upright boxes overlap: every one of some with every one of others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.rotated_iou import CORNERS
from infer.kernels.threads import kernels_for

Floats = NDArray[np.float64]

# Columns of boxes: centre, size along the box's own axes, and heading about +z from +x.
X, Y, Z, LENGTH, WIDTH, HEIGHT, YAW = range(7)
BOX_FIELDS = 7


def overlaps(boxes: Floats, others: Floats, generalised: bool) -> Floats:
    """IoU of volumes, in [0, 1]: float64 (n, m), of (n, 7) and (m, 7).

    generalised: GIoU in (-1, 1], which also says how far apart boxes are that share nothing. See
    `infer.kernels.bodies.upright`.
    """
    found = np.empty((len(boxes), len(others)))
    scratch = np.empty((1, 2, CORNERS, 2))
    kernels_for(1).rate_upright_boxes(
        len(boxes), int(generalised), *laid_out(np.concatenate((boxes, others))), scratch, found
    )
    return found


def laid_out(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """Boxes as kernels take them: rectangles (n, 5), turns (n, 2), heights (n, 2)."""
    half = boxes[:, HEIGHT] / 2
    return (
        boxes[:, (X, Y, LENGTH, WIDTH, YAW)].copy(),
        np.stack((np.cos(boxes[:, YAW]), np.sin(boxes[:, YAW])), axis=1),
        np.stack((boxes[:, Z] - half, boxes[:, Z] + half), axis=1),
    )
