"""Where an environment's light comes from, as the path tracer samples it. Pure.

Cells are even in longitude and latitude. A row is picked by its light, then one of its cells, by
where two even numbers fall among cumulative shares: what is spread evenly stays spread (Pharr,
Jakob and Humphreys, "Physically Based Rendering", 4th edition, 2023, appendix A.5), which an alias
table undoes. A direction is even within its cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ACROSS, DOWN = 512, 256  # cells at most
_EVEN = 0.02  # of all samples: whatever filtering makes of the picture, no light is out of reach

STEP = np.dtype([("end", "<f4"), ("density", "<f4")])


def distribution(pixels: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The table of an equirectangular picture (height, width, 4), as pathtrace.comp reads it.

    uint8 (n,): cells across and down as two uint32; then a STEP for each row, and for each cell by
    row. `end` is the share of all rows, or of all cells of the row, up to and with this one; the
    density of cells is per solid angle, that of rows is not used.
    """
    power = _cell_power(pixels)
    down, across = power.shape
    edges = np.cos(np.pi * np.arange(down + 1) / down)
    angle = np.repeat((edges[:-1] - edges[1:])[:, None] * (2 * np.pi / across), across, axis=1)
    share = power * angle
    total = float(share.sum())
    even = angle / angle.sum()
    share = even if total <= 0 else (1 - _EVEN) * (share / total) + _EVEN * even
    rows, cells = np.zeros(down, STEP), np.zeros((down, across), STEP)
    rows["end"], cells["end"] = _ends(share.sum(axis=1)), _ends(share)
    cells["density"] = share / angle
    head = np.array([across, down], np.uint32)
    return np.concatenate([part.reshape(-1).view(np.uint8) for part in (head, rows, cells)])


def _ends(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative along the last axis, 1 at its end."""
    summed = np.cumsum(share, axis=-1)
    ends: NDArray[np.float64] = summed / summed[..., -1:]
    return ends


def _cell_power(pixels: NDArray[np.float16]) -> NDArray[np.float64]:
    """Mean radiance in each cell, all colours together: float64 (down, across).

    Of the picture as it is filtered, where a pixel's light reaches into its neighbours: a sun's
    would be a rare and bright surprise where its cell ends.
    """
    height, width = pixels.shape[:2]
    down, across = min(height, DOWN), min(width, ACROSS)
    light = pixels[..., :3].astype(np.float32).sum(axis=2, dtype=np.float64)
    light = (np.roll(light, 1, axis=1) + 2 * light + np.roll(light, -1, axis=1)) / 4
    above, below = np.vstack([light[:1], light[:-1]]), np.vstack([light[1:], light[-1:]])
    light = (above + 2 * light + below) / 4
    row_starts = np.arange(down) * height // down
    column_starts = np.arange(across) * width // across
    light = np.add.reduceat(light, row_starts, axis=0)
    light = np.add.reduceat(light, column_starts, axis=1)
    rows, columns = np.diff(row_starts, append=height), np.diff(column_starts, append=width)
    mean: NDArray[np.float64] = light / (rows[:, None] * columns[None, :])
    return mean
