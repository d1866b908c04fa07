"""How much upright boxes overlap: turned rectangles with a height.

heights: (n, 2), bottom and top of each box; boxes, turns and scratch as in `rotated_iou`. All of
float32 or all of float64.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.kernels.bodies.rotated_iou import (
    CORNERS,
    HALVED,
    LENGTH,
    NEGATIVE,
    NO_AREA,
    POSITIVE,
    WIDTH,
    footprints_meet,
    lay_out_box,
    shared_area,
)
from infer.kernels.bodies.shared import Array, Float32

BOTTOM, TOP = range(2)


def sort_corners(scratch: Array, row: int) -> None:
    """Order the CORNERS points of the row's first polygon along x, of equals along y."""
    for k in range(1, CORNERS):
        x, y = scratch[row, 0, k, 0], scratch[row, 0, k, 1]
        to = k
        while to > 0 and (
            scratch[row, 0, to - 1, 0] > x
            or (scratch[row, 0, to - 1, 0] == x and scratch[row, 0, to - 1, 1] > y)
        ):
            scratch[row, 0, to, 0] = scratch[row, 0, to - 1, 0]
            scratch[row, 0, to, 1] = scratch[row, 0, to - 1, 1]
            to -= 1
        scratch[row, 0, to, 0], scratch[row, 0, to, 1] = x, y


def under_chain(side: Float32, scratch: Array, row: int) -> Float32:
    """Twice the area under the lower (POSITIVE) or upper (NEGATIVE) hull of the sorted corners."""
    size = 0
    for k in range(CORNERS):
        x, y = scratch[row, 0, k, 0], scratch[row, 0, k, 1]
        while size >= 2:
            ax, ay = scratch[row, 1, size - 2, 0], scratch[row, 1, size - 2, 1]
            bx, by = scratch[row, 1, size - 1, 0], scratch[row, 1, size - 1, 1]
            if side * ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) > NO_AREA:
                break
            size -= 1
        scratch[row, 1, size, 0], scratch[row, 1, size, 1] = x, y
        size += 1
    twice = NO_AREA
    for k in range(size - 1):
        width = scratch[row, 1, k + 1, 0] - scratch[row, 1, k, 0]
        twice += width * (scratch[row, 1, k, 1] + scratch[row, 1, k + 1, 1])
    return twice


def hull_area(a: int, b: int, boxes: Array, turns: Array, scratch: Array, row: int) -> Float32:
    """Of what is convex around boxes a and b as seen from above (A. Andrew's chains, 1979)."""
    lay_out_box(a, b, boxes, turns, scratch, row)
    u, v = boxes[a, LENGTH] * HALVED, boxes[a, WIDTH] * HALVED
    for corner in range(4):
        scratch[row, 0, 4 + corner, 0] = u if corner in (0, 3) else -u
        scratch[row, 0, 4 + corner, 1] = v if corner < 2 else -v
    sort_corners(scratch, row)
    lower = under_chain(POSITIVE, scratch, row)
    return (under_chain(NEGATIVE, scratch, row) - lower) * HALVED


def upright_iou(
    a: int,
    b: int,
    generalised: int,
    boxes: Array,
    turns: Array,
    heights: Array,
    scratch: Array,
    row: int,
) -> Float32:
    """IoU of the volumes of boxes a and b; generalised: less by the part of their common hull that
    neither fills (H. Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019).
    """
    low = max(heights[a, BOTTOM], heights[b, BOTTOM])
    high = min(heights[a, TOP], heights[b, TOP])
    shared = NO_AREA
    if high > low and footprints_meet(a, b, boxes):
        shared = shared_area(a, b, boxes, turns, scratch, row) * (high - low)
    one = boxes[a, LENGTH] * boxes[a, WIDTH] * (heights[a, TOP] - heights[a, BOTTOM])
    other = boxes[b, LENGTH] * boxes[b, WIDTH] * (heights[b, TOP] - heights[b, BOTTOM])
    covered = one + other - shared
    iou = shared / covered if covered > NO_AREA else NO_AREA
    if generalised:
        tall = max(heights[a, TOP], heights[b, TOP]) - min(heights[a, BOTTOM], heights[b, BOTTOM])
        hull = hull_area(a, b, boxes, turns, scratch, row) * tall
        if hull > NO_AREA:
            iou -= (hull - covered) / hull
    return iou


def rate_uprights(
    i: int,
    others: int,
    generalised: int,
    boxes: Array,
    turns: Array,
    heights: Array,
    scratch: Array,
    row: int,
    ious: Array,
) -> None:
    """`upright_iou` of box i with each of the boxes from `others` on."""
    for j in range(boxes.shape[0] - others):
        ious[i, j] = upright_iou(i, others + j, generalised, boxes, turns, heights, scratch, row)
