"""Overlaps of turned boxes in NumPy and float64: polygons clipped by lines in the world's frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def corners(box: ArrayLike) -> Floats:
    """(4, 2), counter-clockwise, of centre x y, length, width, yaw."""
    x, y, length, width, yaw = np.asarray(box, np.float64)
    local = np.array(((1, 1), (-1, 1), (-1, -1), (1, -1))) * (length / 2, width / 2)
    turn = np.array(((np.cos(yaw), -np.sin(yaw)), (np.sin(yaw), np.cos(yaw))))
    placed: Floats = local @ turn.T + (x, y)
    return placed


def iou(one: ArrayLike, other: ArrayLike) -> float:
    """Of two boxes."""
    clip = corners(one)
    polygon = list(corners(other))
    for start, end in zip(clip, np.roll(clip, -1, axis=0), strict=True):
        way = end - start
        sides = [way[0] * (p[1] - start[1]) - way[1] * (p[0] - start[0]) for p in polygon]
        kept = []
        for k, p in enumerate(polygon):
            after = (k + 1) % len(polygon)
            if sides[k] >= 0:
                kept.append(p)
            if (sides[k] >= 0) != (sides[after] >= 0):
                share = sides[k] / (sides[k] - sides[after])
                kept.append(p + (polygon[after] - p) * share)
        polygon = kept
    if not polygon:
        return 0.0
    x, y = np.array(polygon).T
    shared = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    covered = sum(float(np.prod(np.asarray(box, np.float64)[2:4])) for box in (one, other))
    return shared / (covered - shared) if covered > shared else 0.0


def suppress(boxes: ArrayLike, scores: ArrayLike, most: float) -> list[int]:
    """Indices of the boxes that stay, best first."""
    rows, kept = np.asarray(boxes, np.float64), list[int]()
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if all(iou(rows[k], rows[i]) <= most for k in kept):
            kept.append(int(i))
    return kept
