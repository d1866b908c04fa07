"""Clusters that are one car: its bumper, and what is seen of it over its bonnet. Compiled.

A bonnet is nearly level, so far away no beam meets it; what is behind begins to be seen where the
bumper ends, farther away by the bonnet's length. The same goes for a boot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.track.compiled import compiled

LONGEST_M = 1.4  # of a bonnet
HIGHEST_M = 1.25  # above the ground: of a bonnet
BEAM_RAD = 0.0073  # between two lasers: how much higher than seen a bumper may end
SHARED = 0.6  # of the narrower one's azimuths
WIDEST_M, DEEPEST_M = 2.8, 5.3  # both together


@compiled
def joined(
    points: NDArray[np.float32],
    above: NDArray[np.float32],
    of_point: NDArray[np.int32],
    count: int,
    origin: tuple[float, float],
) -> NDArray[np.int32]:
    """The cluster of each point once those are joined; numbers of clusters that are gone stay free.

    points: (n, 4), above: (n,), of_point: (n,), -1 for points of no cluster.
    """
    left, right = np.full(count, np.inf), np.full(count, -np.inf)
    near, far = np.full(count, np.inf), np.full(count, -np.inf)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    for i in range(len(points)):
        k = of_point[i]
        if k < 0:
            continue
        x, y = points[i, 0] - origin[0], points[i, 1] - origin[1]
        azimuth, away = np.arctan2(y, x), np.hypot(x, y)
        left[k], right[k] = min(left[k], azimuth), max(right[k], azimuth)
        near[k], far[k] = min(near[k], away), max(far[k], away)
        low[k], high[k] = min(low[k], above[i]), max(high[k], above[i])
    name = np.arange(count).astype(np.int32)
    for front in range(count):
        if high[front] > HIGHEST_M or (right[front] - left[front]) * near[front] > WIDEST_M:
            continue
        for back in range(count):
            gap = near[back] - far[front]
            deep = far[back] - near[front]
            if back == front or not -0.2 < gap < LONGEST_M or deep > DEEPEST_M:
                continue
            wide = max(right[front], right[back]) - min(left[front], left[back])
            both = min(right[front], right[back]) - max(left[front], left[back])
            narrower = min(right[front] - left[front], right[back] - left[back])
            over = low[back] > high[front] - 2 * BEAM_RAD * near[front]
            if over and both > SHARED * narrower and wide * far[back] < WIDEST_M:
                name[front] = back
                break
    for k in range(count):  # bumper, cabin and boot may be three
        end = k
        for _ in range(3):
            end = name[end]
        name[k] = end
    found = of_point.copy()
    for i in range(len(found)):
        if found[i] >= 0:
            found[i] = name[found[i]]
    return found
