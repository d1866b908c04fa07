"""Cutting a picture into tiles: rectangles of the whole frame on a 16-pixel grid. Pure.

Every edge lies on the grid or is the frame's own, so 2x2 pixel quads (derivatives), chroma pairs
and encoder blocks never straddle a cut, and the picture's bytes do not depend on the tiling.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import Misuse

GRID = 16


class Rect(NamedTuple):
    """Pixels [x, x + width) by [y, y + height) of the frame; y grows downwards."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def i420_bytes(self) -> int:
        """Size of the tile's packed I420 planes."""
        return self.area * 3 // 2


def grid_shape(width: int, height: int) -> tuple[int, int]:
    """(columns, rows) of grid cells that cover a frame; the last ones may be cut by its edge."""
    return -(-width // GRID), -(-height // GRID)


def even_cost(width: int, height: int) -> NDArray[np.float64]:
    """Cost per cell when every pixel costs the same: float64 (rows, columns), pixels."""
    columns, rows = grid_shape(width, height)
    across = np.minimum(GRID, width - GRID * np.arange(columns))
    down = np.minimum(GRID, height - GRID * np.arange(rows))
    return np.outer(down, across).astype(np.float64)


def cut(width: int, height: int, tiles: int, cost: NDArray[np.float64] | None = None) -> list[Rect]:
    """Cut a frame into `tiles` rectangles of about equal cost, top-left first.

    width, height: pixels, even. tiles: 1 or more; fewer come back only if there are fewer cells.
    cost: float64 (rows, columns) per grid cell, >= 0 (default: the cell's area).
    Halves recursively across the longer side, dividing the cost as the tiles are divided.
    """
    if width % 2 or height % 2 or min(width, height) < 2 or tiles < 1:
        raise Misuse(
            f"cannot cut {width}x{height} into {tiles}", "sides must be even, tiles >= 1", ""
        )
    columns, rows = grid_shape(width, height)
    if cost is None:
        cost = even_cost(width, height)
    # Summed areas make the cost of any block of cells four look-ups.
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = cost.cumsum(0).cumsum(1)
    cells = _halve(sums, (0, 0, columns, rows), min(tiles, columns * rows))
    return [
        Rect(
            GRID * left,
            GRID * top,
            min(GRID * right, width) - GRID * left,
            min(GRID * bottom, height) - GRID * top,
        )
        for left, top, right, bottom in sorted(cells, key=lambda cell: (cell[1], cell[0]))
    ]


Cells = tuple[int, int, int, int]  # left, top, right, bottom, in grid cells


def _halve(sums: NDArray[np.float64], cells: Cells, tiles: int) -> list[Cells]:
    left, top, right, bottom = cells
    columns, rows = right - left, bottom - top
    if tiles == 1:
        return [cells]
    first = tiles // 2
    across = columns >= rows
    if across:
        before = sums[bottom, left : right + 1] - sums[top, left : right + 1]
    else:
        before = sums[top : bottom + 1, right] - sums[top : bottom + 1, left]
    before = before - before[0]
    lanes, depth = (columns, rows) if across else (rows, columns)
    # Each side must keep at least as many cells as tiles it will be cut into.
    low = -(-first // depth)
    high = lanes - -(-(tiles - first) // depth)
    if low > high:  # nearly a tile per cell: the far side gets what it has room for
        first, high = tiles - (lanes - low) * depth, low
    goal = before[-1] * first / tiles
    at = low + int(np.abs(before[low : high + 1] - goal).argmin())
    if across:
        halves = (left, top, left + at, bottom), (left + at, top, right, bottom)
    else:
        halves = (left, top, right, top + at), (left, top + at, right, bottom)
    return [*_halve(sums, halves[0], first), *_halve(sums, halves[1], tiles - first)]
