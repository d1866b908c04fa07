"""The ground as one plane, in parallel."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.plane import (
    KEY_SHIFT,
    NO_KEY,
    count_votes,
    gather_inlier,
    label_point,
    note_low_point,
    propose_plane,
)
from infer.kernels.bodies.shared import Array

LOW_WORD = (1 << KEY_SHIFT) - 1


def find_low_points(points: Array, area: Array, lowest: Array, low: Array) -> int:
    """The lowest point of each cell that has any, in order of cells; returns how many.

    lowest: a row per part, all NO_KEY, and left so.
    """
    parts = lowest.shape[0]
    for part in prange(parts):
        note_low_part(part, parts, points, area, lowest)
    return list_low_points(lowest, low)


def note_low_part(part: int, parts: int, points: Array, area: Array, lowest: Array) -> None:
    """One part's share of the points."""
    n = points.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        note_low_point(i, part, points, area, lowest)


def list_low_points(lowest: Array, low: Array) -> int:
    """The lowest over all parts."""
    found = 0
    for cell in range(lowest.shape[1]):
        key = lowest[0, cell]
        lowest[0, cell] = NO_KEY
        for part in range(1, lowest.shape[0]):
            key = min(key, lowest[part, cell])
            lowest[part, cell] = NO_KEY
        if key != NO_KEY:
            low[found] = key & LOW_WORD
            found += 1
    return found


def rate_planes(
    points: Array,
    low: Array,
    triples: Array,
    steepest: float,
    within: float,
    planes: Array,
    votes: Array,
    parts: int,
) -> None:
    """Propose a plane for each triple of low points, and count the low points in it."""
    for part in prange(parts):
        rate_part(part, parts, points, low, triples, steepest, within, planes, votes)


def rate_part(
    part: int,
    parts: int,
    points: Array,
    low: Array,
    triples: Array,
    steepest: float,
    within: float,
    planes: Array,
    votes: Array,
) -> None:
    """One part's share of the planes."""
    n = planes.shape[0]
    for h in range(n * part // parts, n * (part + 1) // parts):
        propose_plane(h, points, low, triples, steepest, planes)
        votes[h] = count_votes(h, 0, low.shape[0], points, low, planes, within)


def gather_inliers(points: Array, planes: Array, within: float, sums: Array) -> None:
    """The sums of the fit of plane 0, a row per part."""
    parts = sums.shape[0]
    for part in prange(parts):
        gather_part(part, parts, points, planes, within, sums)


def gather_part(
    part: int, parts: int, points: Array, planes: Array, within: float, sums: Array
) -> None:
    """One part's share of the points."""
    n = points.shape[0]
    sums[part] = 0
    for i in range(n * part // parts, n * (part + 1) // parts):
        gather_inlier(i, part, points, planes, within, sums)


def label_points(points: Array, planes: Array, within: float, labels: Array, parts: int) -> None:
    """`label_point` of every point."""
    for part in prange(parts):
        label_part(part, parts, points, planes, within, labels)


def label_part(
    part: int, parts: int, points: Array, planes: Array, within: float, labels: Array
) -> None:
    """One part's share of the points."""
    n = points.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        label_point(i, points, planes, within, labels)
