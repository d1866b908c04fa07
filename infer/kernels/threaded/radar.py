"""Radar targets and objects, in parallel over targets."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.radar import associate_target, note_nearest
from infer.kernels.bodies.shared import Array


def associate_targets(
    targets: Array,
    objects: Array,
    covariances: Array,
    radar: Array,
    object_of: Array,
    distances: Array,
    nearest: Array,
    parts: int,
) -> None:
    """The object of each target, and each object's nearest; nearest begins as NO_TARGET."""
    for part in prange(parts):
        associate_part(part, parts, targets, objects, covariances, radar, object_of, distances)
    for i in range(targets.shape[0]):
        note_nearest(i, object_of, distances, nearest)


def associate_part(
    part: int,
    parts: int,
    targets: Array,
    objects: Array,
    covariances: Array,
    radar: Array,
    object_of: Array,
    distances: Array,
) -> None:
    """One part's share of the targets."""
    n = targets.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        associate_target(i, targets, objects, covariances, radar, object_of, distances)
