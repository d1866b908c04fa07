"""The ground as one plane on CUDA; see `infer.perception.ground`."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.plane import KEY_SHIFT, NO_KEY, NUMBER, SUMS
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.ground import FEWEST, Ground, PlaneSearch, correction, triples

CHUNK = 256  # low points that one thread lets vote on one plane
ROWS = 64  # of sums: as many threads add to one

_note_low_point = bodies.note_low_point
_propose_plane = bodies.propose_plane
_count_votes = bodies.count_votes
_gather_inlier = bodies.gather_inlier
_label_point = bodies.label_point
_add = bodies.add


@cuda.jit
def each_noted(points: Any, area: Any, lowest: Any) -> None:
    """`note_low_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _note_low_point(i, 0, points, area, lowest)


@cuda.jit
def each_proposed(
    points: Any, low: Any, triples: Any, steepest: Any, planes: Any, votes: Any
) -> None:
    """`propose_plane` of each item."""
    for h in range(cuda.grid(1), planes.shape[0], cuda.gridsize(1)):
        votes[h] = 0
        _propose_plane(h, points, low, triples, steepest, planes)


@cuda.jit
def each_voted(points: Any, low: Any, planes: Any, within: Any, votes: Any) -> None:
    """`count_votes` of each chunk for each plane."""
    chunks = (low.shape[0] + CHUNK - 1) // CHUNK
    for item in range(cuda.grid(1), chunks * planes.shape[0], cuda.gridsize(1)):
        h, first = item % planes.shape[0], item // planes.shape[0] * CHUNK
        last = min(first + CHUNK, low.shape[0])
        _add(votes, h, _count_votes(h, first, last, points, low, planes, within))


@cuda.jit
def each_inlier_gathered(points: Any, planes: Any, within: Any, sums: Any) -> None:
    """`gather_inlier` of each item; sums begin as 0."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _gather_inlier(i, i % sums.shape[0], points, planes, within, sums)


@cuda.jit
def each_labelled(points: Any, planes: Any, within: Any, labels: Any) -> None:
    """`label_point` of each item."""
    for i in range(cuda.grid(1), points.shape[0], cuda.gridsize(1)):
        _label_point(i, points, planes, within, labels)


def find(points: NDArray[np.float32], search: PlaneSearch) -> Ground | None:
    """The ground under float32 (n, 4) points, n > 0, as `GroundFinder.find` would find it."""
    sent, area = cuda.to_device(points.copy()), cuda.to_device(search.area.parameters())
    per_point = launch(len(points))
    lowest = cuda.to_device(np.full((1, search.area.across**2), NO_KEY, np.int64))
    each_noted[per_point](sent, area, lowest)
    keys = lowest.copy_to_host()[0]
    low = (keys[keys != NO_KEY] & ((1 << KEY_SHIFT) - 1)).astype(np.int32)
    if len(low) < FEWEST:
        return None
    within, steepest = np.float32(search.within_m), np.float32(search.steepest)
    chosen, candidates = cuda.to_device(triples(len(low), search)), cuda.to_device(low)
    planes = cuda.device_array((search.trials, 3), np.float32)
    votes = cuda.device_array(search.trials, np.int32)
    each_proposed[launch(search.trials)](sent, candidates, chosen, steepest, planes, votes)
    each_voted[launch(-(-len(low) // CHUNK) * search.trials)](
        sent, candidates, planes, within, votes
    )
    counted = votes.copy_to_host()
    best = int(counted.argmax())
    if counted[best] < FEWEST:
        return None
    plane, inliers = planes.copy_to_host()[best : best + 1], 0
    for _ in range(search.fits):
        sums = cuda.to_device(np.zeros((ROWS, SUMS), np.int64))
        each_inlier_gathered[per_point](sent, cuda.to_device(plane), within, sums)
        total = sums.copy_to_host().sum(axis=0)
        inliers = int(total[NUMBER])
        plane[0] += correction(total)
    labels = cuda.device_array(len(points), np.uint8)
    each_labelled[per_point](sent, cuda.to_device(plane), within, labels)
    slope_x, slope_y, height = map(float, plane[0])
    return Ground(slope_x, slope_y, height, inliers, labels.copy_to_host())
