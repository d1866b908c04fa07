"""Points projected into a picture and painted by it, in parallel."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.painting import paint_point, project_point
from infer.kernels.bodies.shared import Array


def project_points(points: Array, camera: Array, pixels: Array, parts: int) -> None:
    """`project_point` of every point."""
    for part in prange(parts):
        project_part(part, parts, points, camera, pixels)


def project_part(part: int, parts: int, points: Array, camera: Array, pixels: Array) -> None:
    """One part's share of the points, projected."""
    n = points.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        project_point(i, points, camera, pixels)


def paint_points(
    number: int,
    camera: Array,
    pixels: Array,
    image: Array,
    painted: Array,
    seen_by: Array,
    parts: int,
) -> None:
    """`paint_point` of every point."""
    for part in prange(parts):
        paint_part(part, parts, number, camera, pixels, image, painted, seen_by)


def paint_part(
    part: int,
    parts: int,
    number: int,
    camera: Array,
    pixels: Array,
    image: Array,
    painted: Array,
    seen_by: Array,
) -> None:
    """One part's share of the points, painted."""
    n = seen_by.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        paint_point(i, number, camera, pixels, image, painted, seen_by)
