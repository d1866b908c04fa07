"""Rectangles around clusters of points, in parallel over clusters."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.rectangles import fit_rectangle, gather_place, rate_turn
from infer.kernels.bodies.shared import Array


def fit_all_rectangles(
    points: Array,
    first: Array,
    members: Array,
    xs: Array,
    ys: Array,
    turns: Array,
    scores: Array,
    best: Array,
    sides: Array,
    parts: int,
) -> None:
    """The angle and the sides of each cluster that has points."""
    for part in prange(parts):
        fit_part(part, parts, points, first, members, xs, ys, turns, scores, best, sides)


def fit_part(
    part: int,
    parts: int,
    points: Array,
    first: Array,
    members: Array,
    xs: Array,
    ys: Array,
    turns: Array,
    scores: Array,
    best: Array,
    sides: Array,
) -> None:
    """One part's share of the clusters, every so many: the largest tend to come first."""
    for k in range(part, best.shape[0], parts):
        if first[k] < first[k + 1]:
            for at in range(first[k], first[k + 1]):
                gather_place(at, points, members, xs, ys)
            for step in range(turns.shape[0]):
                rate_turn(k, step, first, xs, ys, turns, scores)
            fit_rectangle(k, first, xs, ys, turns, scores, best, sides)
