"""A sweep as a picture around the sensor, in parallel."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.range_image import NOTHING_SEEN, fill_pixel, range_point
from infer.kernels.bodies.shared import Array


def picture_ranges(points: Array, view: Array, nearest: Array, image: Array, index: Array) -> None:
    """The image (channels, pixels); nearest: a row per part, all NOTHING_SEEN, and left so."""
    parts = nearest.shape[0]
    for part in prange(parts):
        range_part(part, parts, points, view, nearest)
    for part in prange(parts):
        fill_part(part, parts, points, nearest, image, index)


def range_part(part: int, parts: int, points: Array, view: Array, nearest: Array) -> None:
    """One part's share of the points."""
    n = points.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        range_point(i, part, points, view, nearest)


def fill_part(
    part: int, parts: int, points: Array, nearest: Array, image: Array, index: Array
) -> None:
    """One part's share of the pixels."""
    n = index.shape[0]
    for pixel in range(n * part // parts, n * (part + 1) // parts):
        key = nearest[0, pixel]
        nearest[0, pixel] = NOTHING_SEEN
        for other in range(1, parts):
            key = min(key, nearest[other, pixel])
            nearest[other, pixel] = NOTHING_SEEN
        fill_pixel(pixel, key, points, image, index)
