"""Where an environment's light comes from, as the path tracer samples it: an alias table. Pure.

Cells are even in longitude and latitude. A cell is picked in one step from two random numbers
(Walker, "An efficient method for generating discrete random variables with general distributions",
ACM TOMS 3(3), 1977; built as by Vose, 1991), and a direction evenly within it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ACROSS, DOWN = 256, 128  # cells at most
_EVEN = 0.02  # of all samples: whatever filtering makes of the picture, no light is out of reach

CELL = np.dtype([("kept", "<f4"), ("other", "<u4"), ("density", "<f4"), ("unused", "<f4")])


def distribution(pixels: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The table of an equirectangular picture (height, width, 4), as pathtrace.comp reads it.

    uint8 (n,): cells across and down as two uint32, two unused; then CELL by row. A cell stays
    itself for numbers below `kept`, and gives way to `other`; density is per solid angle.
    """
    power = _cell_power(pixels)
    down, across = power.shape
    edges = np.cos(np.pi * np.arange(down + 1) / down)
    angle = np.repeat((edges[:-1] - edges[1:]) * (2 * np.pi / across), across)
    share = power.reshape(-1) * angle
    total = float(share.sum())
    even = angle / angle.sum()
    share = even if total <= 0 else (1 - _EVEN) * (share / total) + _EVEN * even
    cells = np.zeros(down * across, CELL)
    cells["kept"], cells["other"] = alias_table(share)
    cells["density"] = share / angle
    head = np.array([across, down, 0, 0], np.uint32)
    return np.concatenate([head.view(np.uint8), cells.view(np.uint8)])


def alias_table(share: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(kept, other) of n outcomes, for probabilities (n,) that add up to 1."""
    count = len(share)
    rest = (share * count).tolist()
    kept, other = [1.0] * count, list(range(count))
    poor = [i for i, value in enumerate(rest) if value < 1.0]
    rich = [i for i, value in enumerate(rest) if value >= 1.0]
    while poor and rich:
        at, giver = poor.pop(), rich[-1]
        kept[at], other[at] = rest[at], giver
        rest[giver] -= 1.0 - rest[at]
        if rest[giver] < 1.0:
            poor.append(rich.pop())
    return np.array(kept), np.array(other)


def _cell_power(pixels: NDArray[np.float16]) -> NDArray[np.float64]:
    """Mean radiance of the pixels in each cell, all colours together: float64 (down, across)."""
    height, width = pixels.shape[:2]
    down, across = min(height, DOWN), min(width, ACROSS)
    light = pixels[..., :3].astype(np.float32).sum(axis=2, dtype=np.float64)
    row_starts = np.arange(down) * height // down
    column_starts = np.arange(across) * width // across
    light = np.add.reduceat(light, row_starts, axis=0)
    light = np.add.reduceat(light, column_starts, axis=1)
    rows, columns = np.diff(row_starts, append=height), np.diff(column_starts, append=width)
    mean: NDArray[np.float64] = light / (rows[:, None] * columns[None, :])
    return mean
