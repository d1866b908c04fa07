"""Overlaps of turned boxes, in parallel; each part has a row of scratch."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.nms import mark_overlaps, rate_overlaps
from infer.kernels.bodies.shared import Array, Float32


def rate_boxes(others: int, boxes: Array, turns: Array, scratch: Array, ious: Array) -> None:
    """The IoU of each of the first `others` boxes with each of the rest."""
    parts = scratch.shape[0]
    for part in prange(parts):
        rate_rows(part, parts, others, boxes, turns, scratch, ious)


def rate_rows(
    part: int, parts: int, others: int, boxes: Array, turns: Array, scratch: Array, ious: Array
) -> None:
    """One part's share of the boxes."""
    for i in range(part, others, parts):
        rate_overlaps(i, others, boxes, turns, scratch, part, ious)


def mark_boxes(boxes: Array, turns: Array, most: Float32, scratch: Array, ruled_out: Array) -> None:
    """`mark_overlaps` of every box."""
    parts = scratch.shape[0]
    for part in prange(parts):
        mark_rows(part, parts, boxes, turns, most, scratch, ruled_out)


def mark_rows(
    part: int,
    parts: int,
    boxes: Array,
    turns: Array,
    most: Float32,
    scratch: Array,
    ruled_out: Array,
) -> None:
    """One part's share of the boxes, every so many: later ones have less to do."""
    for i in range(part, boxes.shape[0], parts):
        mark_overlaps(i, boxes, turns, most, scratch, part, ruled_out)
