"""Of boxes that overlap the best: which rule out which."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.kernels.bodies.rotated_iou import rotated_iou
from infer.kernels.bodies.shared import Array, Float32


def rate_overlaps(
    i: int, others: int, boxes: Array, turns: Array, scratch: Array, row: int, ious: Array
) -> None:
    """The IoU of box i with each of the boxes from `others` on."""
    for j in range(boxes.shape[0] - others):
        ious[i, j] = rotated_iou(i, others + j, boxes, turns, scratch, row)


def mark_overlaps(
    i: int,
    boxes: Array,
    turns: Array,
    most: Float32,
    scratch: Array,
    row: int,
    ruled_out: Array,
) -> None:
    """Which boxes after box i, that is of lower scores, overlap it by more than `most`."""
    for j in range(boxes.shape[0]):
        overlaps = j > i and rotated_iou(i, j, boxes, turns, scratch, row) > most
        ruled_out[i, j] = 1 if overlaps else 0
