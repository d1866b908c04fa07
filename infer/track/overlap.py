"""How much upright boxes overlap: every one of some with every one of others. Compiled, exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.track.compiled import compiled

Floats = NDArray[np.float64]

# Columns of boxes: centre, size along the box's own axes, and heading about +z from +x.
X, Y, Z, LENGTH, WIDTH, HEIGHT, YAW = range(7)
BOX_FIELDS = 7


@compiled
def _corners(box: Floats, out: Floats) -> None:
    c, s = np.cos(box[YAW]), np.sin(box[YAW])
    for k in range(4):  # counter-clockwise
        along = box[LENGTH] / 2 if k in {0, 3} else -box[LENGTH] / 2
        across = box[WIDTH] / 2 if k < 2 else -box[WIDTH] / 2
        out[k, 0] = box[X] + c * along - s * across
        out[k, 1] = box[Y] + s * along + c * across


@compiled
def _clipped(polygon: Floats, count: int, a: Floats, b: Floats, out: Floats) -> int:
    """What lies left of the line from a to b (Sutherland and Hodgman, CACM 17, 1974)."""
    kept = 0
    for k in range(count):
        p, q = polygon[k], polygon[(k + 1) % count]
        p_side = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
        q_side = (b[0] - a[0]) * (q[1] - a[1]) - (b[1] - a[1]) * (q[0] - a[0])
        if p_side >= 0:
            out[kept, 0], out[kept, 1] = p[0], p[1]
            kept += 1
        if (p_side >= 0) != (q_side >= 0):
            share = p_side / (p_side - q_side)
            out[kept, 0] = p[0] + (q[0] - p[0]) * share
            out[kept, 1] = p[1] + (q[1] - p[1]) * share
            kept += 1
    return kept


@compiled
def _area(polygon: Floats, count: int) -> float:
    twice = 0.0
    for k in range(count):
        after = (k + 1) % count
        twice += polygon[k, 0] * polygon[after, 1] - polygon[k, 1] * polygon[after, 0]
    return abs(twice) / 2


@compiled
def _hull_area(points: Floats) -> float:
    """Of the convex hull of (n, 2) points (Andrew's monotone chain, 1979)."""
    order = np.argsort(points[:, 0] + 1e-9 * points[:, 1])
    count = len(points)
    chain = np.empty((2 * count, 2))
    size = 0
    for turn in range(2):
        floor = size + 1
        for i in range(count):
            p = points[order[i if turn == 0 else count - 1 - i]]
            while size > floor - (turn == 0) and size >= 2:
                a, b = chain[size - 2], chain[size - 1]
                if (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0:
                    break
                size -= 1
            chain[size, 0], chain[size, 1] = p[0], p[1]
            size += 1
        size -= 1
    return _area(chain, size)


@compiled
def overlaps(boxes: Floats, others: Floats, generalised: bool) -> Floats:
    """IoU of volumes, in [0, 1]: float64 (n, m).

    generalised: GIoU in (-1, 1], which also says how far apart boxes are that share nothing
    (Rezatofighi et al., CVPR 2019): less by the part of their common hull that neither fills.
    """
    found = np.zeros((len(boxes), len(others)))
    mine, theirs = np.empty((4, 2)), np.empty((4, 2))
    one, other, both = np.empty((12, 2)), np.empty((12, 2)), np.empty((8, 2))
    for i in range(len(boxes)):
        a = boxes[i]
        _corners(a, mine)
        for j in range(len(others)):
            b = others[j]
            _corners(b, theirs)
            one[:4] = theirs
            count = 4
            for k in range(4):
                count = _clipped(one, count, mine[k], mine[(k + 1) % 4], other)
                one[:count] = other[:count]
            low = max(a[Z] - a[HEIGHT] / 2, b[Z] - b[HEIGHT] / 2)
            high = min(a[Z] + a[HEIGHT] / 2, b[Z] + b[HEIGHT] / 2)
            shared = _area(one, count) * max(high - low, 0.0)
            covered = a[LENGTH] * a[WIDTH] * a[HEIGHT] + b[LENGTH] * b[WIDTH] * b[HEIGHT] - shared
            found[i, j] = shared / covered if covered > 0 else 0.0
            if generalised:
                both[:4], both[4:] = mine, theirs
                bottom = min(a[Z] - a[HEIGHT] / 2, b[Z] - b[HEIGHT] / 2)
                top = max(a[Z] + a[HEIGHT] / 2, b[Z] + b[HEIGHT] / 2)
                hull = _hull_area(both) * (top - bottom)
                found[i, j] -= (hull - covered) / hull if hull > 0 else 0.0
    return found
