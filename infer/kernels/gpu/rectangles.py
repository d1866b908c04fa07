"""Rectangles around clusters on CUDA, in float32; see `infer.perception.rectangles`."""

# mypy: disable-error-code="untyped-decorator"
# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.rectangles import SIDES
from infer.kernels.cuda import bodies, cuda, launch
from infer.perception.rectangles import STEPS, Rectangles, Whole, turns

_gather_place = bodies.gather_place
_rate_turn = bodies.rate_turn
_fit_rectangle = bodies.fit_rectangle


@cuda.jit
def each_place_gathered(points: Any, members: Any, xs: Any, ys: Any) -> None:
    """`gather_place` of each item."""
    for at in range(cuda.grid(1), members.shape[0], cuda.gridsize(1)):
        _gather_place(at, points, members, xs, ys)


@cuda.jit
def each_turn_rated(first: Any, xs: Any, ys: Any, turns: Any, turn_scores: Any) -> None:
    """`rate_turn` of each angle of each cluster that has points."""
    steps = turns.shape[0]
    for item in range(cuda.grid(1), turn_scores.shape[0] * steps, cuda.gridsize(1)):
        k = item // steps
        if first[k] < first[k + 1]:
            _rate_turn(k, item % steps, first, xs, ys, turns, turn_scores)


@cuda.jit
def each_rectangle_fitted(
    first: Any, xs: Any, ys: Any, turns: Any, turn_scores: Any, best: Any, sides: Any
) -> None:
    """`fit_rectangle` of each cluster that has points."""
    for k in range(cuda.grid(1), best.shape[0], cuda.gridsize(1)):
        if first[k] < first[k + 1]:
            _fit_rectangle(k, first, xs, ys, turns, turn_scores, best, sides)


def fit_rectangles(points: NDArray[np.float32], first: Whole, members: Whole) -> Rectangles:
    """Of at least one cluster with points, as `infer.perception.rectangles` has it."""
    count = len(first) - 1
    xs, ys = (cuda.device_array(len(members), np.float32) for _ in range(2))
    begins, tried = cuda.to_device(first.copy()), cuda.to_device(turns().astype(np.float32))
    scores = cuda.device_array((count, STEPS), np.float32)
    best = cuda.to_device(np.zeros(count, np.int64))
    sides = cuda.to_device(np.zeros((count, SIDES), np.float32))
    each_place_gathered[launch(len(members))](
        cuda.to_device(points.copy()), cuda.to_device(members.copy()), xs, ys
    )
    each_turn_rated[launch(scores.size)](begins, xs, ys, tried, scores)
    each_rectangle_fitted[launch(count)](begins, xs, ys, tried, scores, best, sides)
    return Rectangles(
        best.copy_to_host() * (np.pi / 2 / STEPS), sides.copy_to_host().astype(np.float64)
    )
