"""The gateway's loops that choose the points of a sweep which people are shown."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import math

from infer.kernels.bodies.points import usable
from infer.kernels.bodies.shared import Array

FARTHEST = 327.0  # metres along each axis: what an int16 of centimetres holds
EVEN = 40.0  # metres up to which points are chosen in proportion to their distance
STANDING = 2.0  # as much more likely is a point above the ground


def each_weighed(points: Array, stride: int, floor: float, weights: Array) -> float:
    """How much each stride-th point matters to whoever looks, into `weights`; returns the sum.

    floor: metres; what lies above it stands on the ground.
    """
    total = 0.0
    for k in range(weights.shape[0]):
        i = k * stride
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        weights[k] = 0.0
        if usable(points, i) and max(abs(x), abs(y), abs(z)) < FARTHEST:
            weight = min(math.sqrt(x * x + y * y), EVEN) + 1.0
            weights[k] = weight * STANDING if z > floor else weight
        total += weights[k]
    return total


def each_chosen(
    points: Array, stride: int, weights: Array, step: float, positions: Array, intensities: Array
) -> int:
    """One point for each `step` of weight, in their order; returns how many.

    positions: int16, centimetres. intensities: uint8, 255 for 1.
    """
    chosen, at, passed = 0, 0.5 * step, 0.0
    for k in range(weights.shape[0]):
        passed += weights[k]
        if weights[k] == 0.0 or passed < at or chosen == positions.shape[0]:
            continue
        at = max(at + step, passed)
        i = k * stride
        for axis in range(3):
            positions[chosen, axis] = math.floor(points[i, axis] * 100.0 + 0.5)
        intensity = points[i, 3]
        # Not a number where it fails both comparisons.
        bright = 1.0 if intensity >= 1.0 else intensity if intensity > 0.0 else 0.0
        intensities[chosen] = int(bright * 255.0 + 0.5)
        chosen += 1
    return chosen
