"""Overlaps of turned boxes on CUDA; see `infer.perception.nms`."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.nms import scratch_for, staying, turned

_mark_overlaps = bodies.mark_overlaps
_rate_overlaps = bodies.rate_overlaps


@cuda.jit
def each_rated(others: Any, boxes: Any, turns: Any, scratch: Any, ious: Any) -> None:
    """`rate_overlaps` of each item; scratch has a row for each thread."""
    for i in range(cuda.grid(1), others, cuda.gridsize(1)):
        _rate_overlaps(i, others, boxes, turns, scratch, cuda.grid(1), ious)


@cuda.jit
def each_marked(boxes: Any, turns: Any, most: Any, scratch: Any, ruled_out: Any) -> None:
    """`mark_overlaps` of each item; scratch has a row for each thread."""
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        _mark_overlaps(i, boxes, turns, most, scratch, cuda.grid(1), ruled_out)


def iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m), n > 0 and m > 0, as `infer.perception.nms.iou` has it."""
    boxes = np.concatenate((one, other))
    ious = cuda.device_array((len(one), len(other)), np.float32)
    blocks, threads = launch(len(one))
    each_rated[blocks, threads](
        len(one),
        cuda.to_device(boxes),
        cuda.to_device(turned(boxes)),
        cuda.to_device(scratch_for(blocks * threads)),
        ious,
    )
    fetched: NDArray[np.float32] = ious.copy_to_host()
    return fetched


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], most: float
) -> NDArray[np.int64]:
    """Indices of the boxes, n > 0, that stay, as `infer.perception.nms.suppress` has them."""
    order = np.argsort(-scores, kind="stable")
    ranked = np.ascontiguousarray(boxes[order])
    ruled_out = cuda.device_array((len(ranked), len(ranked)), np.uint8)
    blocks, threads = launch(len(ranked))
    each_marked[blocks, threads](
        cuda.to_device(ranked),
        cuda.to_device(turned(ranked)),
        np.float32(most),
        cuda.to_device(scratch_for(blocks * threads)),
        ruled_out,
    )
    return order[staying(ruled_out.copy_to_host())]
