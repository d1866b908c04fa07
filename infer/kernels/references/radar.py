"""Squared Mahalanobis distances of radar targets from objects in NumPy and float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.radar import OWN_VX, OWN_VY, VAR_AZIMUTH, VAR_RANGE, VAR_SPEED

Floats = NDArray[np.float64]


def squared_distances(
    targets: Floats, objects: Floats, covariances: Floats, radar: NDArray[np.float32]
) -> Floats:
    """(n, m), of (n, 5) targets from (m, 4) objects with (m, 4, 4) covariances."""
    found = np.empty((len(targets), len(objects)))
    for i, (away, azimuth, elevation, speed, _) in enumerate(targets):
        c, s = np.cos(azimuth), np.sin(azimuth)
        level = away * np.cos(elevation)
        turn = np.array(((c, -s), (s, c)))
        noise = np.zeros((3, 3))
        noise[:2, :2] = turn @ np.diag((radar[VAR_RANGE], level**2 * radar[VAR_AZIMUTH])) @ turn.T
        noise[2, 2] = radar[VAR_SPEED]
        h = np.array(((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, c, s)))
        own = c * radar[OWN_VX] + s * radar[OWN_VY]
        for j, (state, covariance) in enumerate(zip(objects, covariances, strict=True)):
            off = np.array((level * c, level * s, speed + own)) - h @ state
            found[i, j] = off @ np.linalg.solve(h @ covariance @ h.T + noise, off)
    return found
