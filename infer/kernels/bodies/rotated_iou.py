"""How much two turned rectangles overlap, seen from above.

boxes: (n, 5), centre x y, length, width, yaw. turns: (n, 2), cosine and sine of each yaw. scratch:
(rows, 2, CORNERS, 2), a row for each thread: two polygons of (x, y). All of float32, as detectors'
boxes are, or all of float64, as tracks are: constants are exact in both.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array, Float32

CENTRE_X, CENTRE_Y, LENGTH, WIDTH, YAW = range(5)
BOX_FIELDS = 5
CORNERS = 8  # at most, of what two rectangles share

NO_AREA = np.float32(0)
HALVED = np.float32(0.5)
POSITIVE, NEGATIVE = np.float32(1), np.float32(-1)


def lay_out_box(a: int, b: int, boxes: Array, turns: Array, scratch: Array, row: int) -> None:
    """The corners of box b in the frame of box a, into the row's first polygon."""
    dx = boxes[b, CENTRE_X] - boxes[a, CENTRE_X]
    dy = boxes[b, CENTRE_Y] - boxes[a, CENTRE_Y]
    x = turns[a, 0] * dx + turns[a, 1] * dy
    y = turns[a, 0] * dy - turns[a, 1] * dx
    c = turns[a, 0] * turns[b, 0] + turns[a, 1] * turns[b, 1]
    s = turns[a, 0] * turns[b, 1] - turns[a, 1] * turns[b, 0]
    u, v = boxes[b, LENGTH] * HALVED, boxes[b, WIDTH] * HALVED
    for corner in range(4):
        along = u if corner in (0, 3) else -u
        across = v if corner < 2 else -v
        scratch[row, 0, corner, 0] = x + c * along - s * across
        scratch[row, 0, corner, 1] = y + s * along + c * across


def clip_polygon(
    source: int, count: int, axis: int, sign: Float32, limit: Float32, scratch: Array, row: int
) -> int:
    """Keep of a polygon what has sign * coordinate <= limit, as the other; how many corners.

    I. Sutherland and G. Hodgman, "Reentrant Polygon Clipping", CACM 17 (1974).
    """
    target, kept = 1 - source, 0
    for k in range(count):
        after = k + 1 if k + 1 < count else 0
        here, there = sign * scratch[row, source, k, axis], sign * scratch[row, source, after, axis]
        if here <= limit:
            scratch[row, target, kept, 0] = scratch[row, source, k, 0]
            scratch[row, target, kept, 1] = scratch[row, source, k, 1]
            kept += 1
        if (here <= limit) != (there <= limit):
            share = (limit - here) / (there - here)
            for i in range(2):
                start = scratch[row, source, k, i]
                scratch[row, target, kept, i] = (
                    start + (scratch[row, source, after, i] - start) * share
                )
            kept += 1
    return kept


def shared_area(a: int, b: int, boxes: Array, turns: Array, scratch: Array, row: int) -> Float32:
    """The area that boxes a and b share, square metres."""
    lay_out_box(a, b, boxes, turns, scratch, row)
    u, v = boxes[a, LENGTH] * HALVED, boxes[a, WIDTH] * HALVED
    count = clip_polygon(0, 4, 0, POSITIVE, u, scratch, row)
    count = clip_polygon(1, count, 0, NEGATIVE, u, scratch, row)
    count = clip_polygon(0, count, 1, POSITIVE, v, scratch, row)
    count = clip_polygon(1, count, 1, NEGATIVE, v, scratch, row)
    twice = NO_AREA
    for k in range(count):
        after = k + 1 if k + 1 < count else 0
        twice += scratch[row, 0, k, 0] * scratch[row, 0, after, 1]
        twice -= scratch[row, 0, k, 1] * scratch[row, 0, after, 0]
    return abs(twice) * HALVED


def footprints_meet(a: int, b: int, boxes: Array) -> bool:
    """Whether boxes a and b are near enough to share anything; most pairs are not."""
    dx = boxes[b, CENTRE_X] - boxes[a, CENTRE_X]
    dy = boxes[b, CENTRE_Y] - boxes[a, CENTRE_Y]
    reach = (boxes[a, LENGTH] + boxes[a, WIDTH] + boxes[b, LENGTH] + boxes[b, WIDTH]) * HALVED
    return bool(dx * dx + dy * dy <= reach * reach)


def rotated_iou(a: int, b: int, boxes: Array, turns: Array, scratch: Array, row: int) -> Float32:
    """What boxes a and b share over what they cover together; 0 where neither covers anything."""
    if not footprints_meet(a, b, boxes):
        return NO_AREA
    shared = shared_area(a, b, boxes, turns, scratch, row)
    covered = boxes[a, LENGTH] * boxes[a, WIDTH] + boxes[b, LENGTH] * boxes[b, WIDTH] - shared
    return shared / covered if covered > NO_AREA else NO_AREA
