"""One scalar body per kernel: what is done to item `i`, in plain Python over integers.

A body is bound twice: `infer.kernels.cpu` compiles loops that call it for one item after another
(`infer.kernels.each`), `infer.kernels.cuda` calls it from one GPU thread per item. What differs
is only how a shared number is changed (`shared`).

`p` is `Grid.parameters`, `n` the counters; lengths are units of 1/1024 m; see `infer.grid` and
`infer.layout`.
"""

from __future__ import annotations

from infer.kernels.bodies import (
    angles,
    area,
    assignment,
    boxes,
    cells,
    clusters,
    components,
    ground,
    kalman,
    motion,
    nms,
    occupancy,
    painting,
    plane,
    points,
    radar,
    range_image,
    rectangles,
    rotated_iou,
    shared,
    turning,
    upright,
    voxels,
)

MODULES = (
    shared,
    points,
    ground,
    cells,
    clusters,
    boxes,
    motion,
    voxels,
    area,
    plane,
    components,
    angles,
    range_image,
    occupancy,
    painting,
    rotated_iou,
    nms,
    radar,
    upright,
    kalman,
    turning,
    assignment,
    rectangles,
)
