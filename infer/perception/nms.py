"""Turned boxes seen from above: how much they overlap, and the best of those that do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.rotated_iou import BOX_FIELDS, CORNERS, LENGTH, WIDTH, YAW
from infer.kernels.threads import kernels_for
from mesh.core.errors import ContentRefused, Misuse

MOST_BOXES = 4096

Floats = NDArray[np.float32]


def iou(one: Floats, other: Floats, *, threads: int = 1) -> Floats:
    """The IoU of each box with each: (n, 5) and (m, 5) to (n, m).

    A box is float32 centre x y, length, width, yaw (radians). Raises Misuse for another shape or
    more than MOST_BOXES, ContentRefused for boxes that are not finite or of negative size.
    """
    boxes = np.concatenate((one, other))
    turns = turned(boxes)
    ious = np.zeros((len(one), len(other)), np.float32)
    kernels_for(threads).rate_boxes(len(one), boxes, turns, scratch_for(threads), ious)
    return ious


def suppress(boxes: Floats, scores: Floats, most: float, *, threads: int = 1) -> NDArray[np.int64]:
    """Indices of the boxes that stay, best first; of equal scores the first.

    One is left out if it overlaps one that stays by an IoU above `most`. Raises as `iou`.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = np.ascontiguousarray(boxes[order])
    turns = turned(ranked)
    ruled_out = np.empty((len(ranked), len(ranked)), np.uint8)
    kernels_for(threads).mark_boxes(
        ranked, turns, np.float32(most), scratch_for(threads), ruled_out
    )
    return order[staying(ruled_out)]


def staying(ruled_out: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which stay, in order, of boxes that rule out others after them."""
    gone = np.zeros(len(ruled_out), np.uint8)
    kept = []
    for i, row in enumerate(ruled_out):
        if not gone[i]:
            kept.append(i)
            gone |= row
    return np.array(kept, np.int64)


def turned(boxes: Floats) -> Floats:
    """Cosine and sine of each box's yaw. Raises as `iou`."""
    fits = boxes.ndim == 2 and boxes.shape[1] == BOX_FIELDS and len(boxes) <= MOST_BOXES
    if not fits or boxes.dtype != np.float32:
        raise Misuse(
            what="these are no boxes",
            why=f"they are {boxes.dtype} {boxes.shape}",
            fix=f"Give float32 (n, {BOX_FIELDS}), n at most {MOST_BOXES}.",
        )
    if not np.isfinite(boxes).all() or (boxes[:, LENGTH : WIDTH + 1] < 0).any():
        raise ContentRefused(
            what="the boxes are refused",
            why="not all are finite and of no negative size",
            fix="Leave those out.",
        )
    yaws = boxes[:, YAW].astype(np.float64)
    return np.stack((np.cos(yaws), np.sin(yaws)), axis=1).astype(np.float32)


def scratch_for(rows: int) -> Floats:
    """Room for polygons, for so many threads."""
    return np.empty((rows, 2, CORNERS, 2), np.float32)
