"""Tracked objects, in parallel: their filters, their overlaps, and who goes with whom."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.assignment import assign_rows
from infer.kernels.bodies.kalman import advance_track, correct_track
from infer.kernels.bodies.shared import Array
from infer.kernels.bodies.turning import (
    advance_turning_track,
    correct_turning_track,
    tell_turning,
)
from infer.kernels.bodies.upright import rate_uprights


def advance_tracks(
    seconds: float,
    noises: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
    parts: int,
) -> None:
    """`advance_track` of every track."""
    for part in prange(parts):
        for i in range(part, boxes.shape[0], parts):
            advance_track(i, seconds, noises, boxes, velocity, motion, others)


def correct_tracks(
    seen: Array,
    variances: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
    parts: int,
) -> None:
    """`correct_track` of every track."""
    for part in prange(parts):
        for i in range(part, boxes.shape[0], parts):
            correct_track(i, seen, variances, boxes, velocity, motion, others)


def advance_turning_tracks(
    seconds: float,
    noises: Array,
    turns: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
    course: Array,
    joint: Array,
    parts: int,
) -> None:
    """`advance_turning_track` of every track."""
    for part in prange(parts):
        for i in range(part, boxes.shape[0], parts):
            advance_turning_track(
                i, seconds, noises, turns, boxes, velocity, motion, others, course, joint
            )


def correct_turning_tracks(
    seen: Array,
    variances: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
    course: Array,
    joint: Array,
    parts: int,
) -> None:
    """`correct_turning_track` of every track."""
    for part in prange(parts):
        for i in range(part, boxes.shape[0], parts):
            correct_turning_track(
                i, seen, variances, boxes, velocity, motion, others, course, joint
            )


def tell_turning_tracks(
    turns: Array, velocity: Array, motion: Array, others: Array, course: Array, joint: Array
) -> None:
    """`tell_turning` of every track."""
    for i in range(velocity.shape[0]):
        tell_turning(i, turns, velocity, motion, others, course, joint)


def rate_upright_boxes(
    others: int,
    generalised: int,
    boxes: Array,
    turns: Array,
    heights: Array,
    scratch: Array,
    ious: Array,
) -> None:
    """`rate_uprights` of each of the first `others` boxes; scratch: a row per part."""
    parts = scratch.shape[0]
    for part in prange(parts):
        for i in range(part, others, parts):
            rate_uprights(i, others, generalised, boxes, turns, heights, scratch, part, ious)


def assign_all(
    costs: Array,
    prices: Array,
    least: Array,
    row_of: Array,
    before: Array,
    done: Array,
    columns_of: Array,
    parts: int,
) -> None:
    """`assign_rows` of every problem."""
    for part in prange(parts):
        for b in range(part, costs.shape[0], parts):
            assign_rows(b, costs, prices, least, row_of, before, done, columns_of)
