"""Cutting a picture into tiles: rectangles of the whole frame on a 16-pixel grid. Pure.

Every edge lies on the grid or is the frame's own, so 2x2 pixel quads (derivatives), chroma pairs
and encoder blocks never straddle a cut, and the picture's bytes do not depend on the tiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import Misuse
from mesh.core.workload import CutHint
from mesh.schedule.costfield import CostField
from mesh.schedule.cut import divide_plane, shares

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


def cut(
    width: int,
    height: int,
    tiles: int | Sequence[float],
    cost: NDArray[np.float64] | None = None,
) -> list[Rect]:
    """Cut a frame into rectangles whose costs are about equal, or relate as asked; top-left first.

    width, height: pixels, even. tiles: how many, 1 or more; or their relative sizes, > 0. Fewer
    come back only if there are fewer cells.
    cost: float64 (rows, columns) per grid cell, >= 0 (default: the cell's area).
    """
    sizes = [1.0] * tiles if isinstance(tiles, int) else list(tiles)
    if width % 2 or height % 2 or min(width, height) < 2 or not sizes:
        raise Misuse(
            f"cannot cut {width}x{height} into {len(sizes)}", "sides must be even, tiles >= 1", ""
        )
    cells = divide_plane(even_cost(width, height) if cost is None else cost, sizes)
    return [
        Rect(
            GRID * left,
            GRID * top,
            min(GRID * right, width) - GRID * left,
            min(GRID * bottom, height) - GRID * top,
        )
        for left, top, right, bottom in sorted(cells, key=lambda cell: (cell[1], cell[0]))
    ]


def cells_of(rect: Rect) -> tuple[slice, slice]:
    """The cells (rows, columns) under a rectangle with edges on the grid, or the frame's."""
    return (
        slice(rect.y // GRID, -(-(rect.y + rect.height) // GRID)),
        slice(rect.x // GRID, -(-(rect.x + rect.width) // GRID)),
    )


class Tile(NamedTuple):
    """A rectangle, and what it is predicted to cost, in the cost map's units."""

    rect: Rect
    units: float


class Tiler:
    """Cuts one session's frames for the devices at hand, by what the last ones' regions cost."""

    def __init__(self, width: int, height: int, tile_units: float = 0.0) -> None:
        """width, height: pixels, even. tile_units: what any tile costs beside its cells."""
        self._size = width, height
        self._tile_units = tile_units
        columns, rows = grid_shape(width, height)
        self._field = CostField((rows, columns))

    def tiles(
        self, cost: NDArray[np.float64], hint: CutHint, kind: str, at_least: int = 1
    ) -> list[Tile]:
        """The next frame's tiles, top-left first, so sized that all devices finish together.

        cost: float64 (rows, columns), > 0: predicted from the content alone, in units.
        kind: of the pieces. at_least: how many tiles are wanted, 1 or more.
        """
        width, height = self._size
        self._field.relax()
        for region, factor in ((s.region, s.factor) for s in hint.surprises):
            self._field.learn(cells_of(Rect(*region)), factor)
        cost = cost * self._field.factors
        units = float(cost.sum())
        sizes = shares(
            hint,
            kind,
            units,
            piece_units=self._tile_units,
            bytes_per_unit=width * height * 1.5 / units,
            at_least=at_least,
        )
        return [
            Tile(rect, self._tile_units + float(cost[cells_of(rect)].sum()))
            for rect in cut(width, height, sizes, cost)
        ]
