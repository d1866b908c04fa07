"""Clusters of points in NumPy: names spread between cells that are near, until none changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.plane import ABOVE


def cluster(
    points: NDArray[np.float32],
    labels: NDArray[np.uint8],
    area: NDArray[np.float32],
    link: int,
) -> NDArray[np.int64]:
    """The cluster of each point, -1 for none, numbered by first cells. area: `Area.parameters`."""
    reach, per_m, size = area
    across = int(size)
    with np.errstate(invalid="ignore"):
        place = (points[:, :2] + reach) * per_m  # the rule is one of float32
        inside = (labels == ABOVE) & (place >= 0).all(axis=1) & (place < size).all(axis=1)
    column, row = np.where(inside[:, None], place, 0).astype(np.int64).T
    nobody = across * across
    names = np.full((across, across), nobody)
    names[row[inside], column[inside]] = (row * across + column)[inside]
    occupied = names < nobody
    while True:
        padded = np.pad(names, link, constant_values=nobody)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * link + 1, 2 * link + 1))
        spread = np.where(occupied, windows.min(axis=(2, 3)), nobody)
        jumped = np.append(spread.ravel(), nobody)[spread]  # a name's own name is as low at least
        if (jumped == names).all():
            break
        names = jumped
    numbers = np.searchsorted(np.unique(names[occupied]), names)
    return np.where(inside, numbers[row, column], -1)
