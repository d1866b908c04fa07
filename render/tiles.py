"""Cutting a picture into tiles: rectangles of the whole frame on a 16-pixel grid. Pure.

Every edge lies on the grid or is the frame's own, so 2x2 pixel quads (derivatives), chroma pairs
and encoder blocks never straddle a cut, and the picture's bytes do not depend on the tiling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import Misuse
from mesh.core.workload import CutHint
from mesh.schedule.costfield import CostField
from mesh.schedule.cut import MAX_PIECES, divide_plane, shares

GRID = 16
_LITTLE = 0.2  # of a tile: what is not worth one of its own
# Where no tile's size or cost has changed by more, the last frame's cut is kept: cutting takes time
# before anything is sent, and a device that draws the same part again finds its caches warm.
_NEAR = 0.02


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
    """A rectangle of a view, and what it is predicted to cost, in the cost map's units.

    view, part: which of the frame's views, and of their parts, it lies in.
    """

    rect: Rect
    units: float
    view: int = 0
    part: int = 0


_Place: TypeAlias = tuple[int, int, Rect]  # view, part, and where in the view


class Tiler:
    """Cuts one session's frames for the devices at hand, by what the last ones' regions cost.

    A frame is one view, or several of one size side by side in the picture, from the left. Tiles
    lie in one part of one view each.
    """

    def __init__(
        self,
        width: int,
        height: int,
        tile_units: float = 0.0,
        *,
        parts: Sequence[Sequence[Rect]] = (),
    ) -> None:
        """width, height: of a view, pixels, even. tile_units: what any tile costs beside its cells.

        parts: for each view the rectangles that it consists of, on the grid; default: one view in
        one part.
        """
        self._size = width, height
        self._tile_units = tile_units
        self._parts = parts or [[Rect(0, 0, width, height)]]
        columns, rows = grid_shape(width, height)
        self._columns = columns
        self._field = CostField((rows, columns * len(self._parts)))
        self._cut_last: list[Tile] = []
        self._cut_to: list[float] = []  # the sizes wanted then

    def tiles(
        self, cost: NDArray[np.float64], hint: CutHint, kind: str, at_least: int = 1
    ) -> list[Tile]:
        """The next frame's tiles, top-left first, so sized that all devices finish together.

        cost: float64 (rows, columns), > 0: predicted from the content alone, in units; the views'
        cells side by side.
        kind: of the pieces. at_least: how many tiles are wanted, 1 or more.
        """
        width, height = self._size
        self._field.relax()
        for region, factor in ((s.region, s.factor) for s in hint.surprises):
            view, left = divmod(region[0], width)
            self._field.learn(self._cells(view, Rect(left, *region[1:])), factor)
        cost = cost * self._field.factors
        units = float(cost.sum())
        places = [
            (view, part, rect)
            for view, rects in enumerate(self._parts)
            for part, rect in enumerate(rects)
        ]
        most = MAX_PIECES + 1 - len(places)  # each but the first may cost one more
        sizes = shares(
            hint,
            kind,
            units,
            piece_units=self._tile_units,
            bytes_per_unit=len(self._parts) * width * height * 1.5 / units,
            at_least=min(at_least, most),
            most=most,
        )
        kept = [self._costing(tile, cost) for tile in self._cut_last]
        if not (_near(sizes, self._cut_to) and _near(_units(kept), _units(self._cut_last))):
            kept = [self._costing(tile, cost) for tile in self._cut(places, cost, sizes)]
            self._cut_last, self._cut_to = kept, sizes
        return kept

    def _cut(
        self, places: Sequence[_Place], cost: NDArray[np.float64], sizes: Sequence[float]
    ) -> Iterator[Tile]:
        """Tiles of such sizes, yet to be costed."""
        costs = [cost[self._cells(view, rect)] for view, _, rect in places]
        dealt = deal(sizes, [float(within.sum()) for within in costs])
        for (view, part, within), its_cost, its_sizes in zip(places, costs, dealt, strict=True):
            for rect in cut(within.width, within.height, its_sizes, its_cost):
                placed = rect._replace(x=rect.x + within.x, y=rect.y + within.y)
                yield Tile(placed, 0.0, view, part)

    def _costing(self, tile: Tile, cost: NDArray[np.float64]) -> Tile:
        cells = cost[self._cells(tile.view, tile.rect)]
        return tile._replace(units=self._tile_units + float(np.add.reduce(cells, axis=None)))

    def _cells(self, view: int, rect: Rect) -> tuple[slice, slice]:
        rows, columns = cells_of(rect)
        before = view * self._columns
        return rows, slice(before + columns.start, before + columns.stop)


def _units(tiles: Sequence[Tile]) -> list[float]:
    return [tile.units for tile in tiles]


def _near(values: Sequence[float], others: Sequence[float]) -> bool:
    """Whether values > 0 stand in about the same proportions as the others."""
    if len(values) != len(others):
        return False
    scale = sum(values) / sum(others) if others else 1.0
    return all(
        abs(value - scale * other) <= _NEAR * value
        for value, other in zip(values, others, strict=True)
    )


def deal(sizes: Sequence[float], costs: Sequence[float]) -> list[list[float]]:
    """Sizes of the tiles of each of several parts, at least one a part.

    sizes: of tiles as if there were one part alone, > 0. costs: of the parts, > 0. The sizes are
    laid end to end along the parts, and divided where a part ends; but where little would be cut
    off, the neighbours' border moves there instead.
    """
    if len(costs) == 1:
        return [list(sizes)]
    ends = list(accumulate(costs))
    scale = ends[-1] / sum(sizes)
    borders = []
    for (size, following), border in zip(pairwise(sizes), accumulate(sizes), strict=False):
        at = border * scale
        nearest = min(ends, key=lambda end: abs(end - at))
        little = _LITTLE * scale * min(size, following)
        borders.append(nearest if abs(nearest - at) < little else at)
    dealt = []
    for start, end in pairwise([0.0, *ends]):
        within = [start, *(at for at in borders if start < at < end), end]
        dealt.append([after - before for before, after in pairwise(within)])
    return dealt
