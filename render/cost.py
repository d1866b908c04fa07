"""Where in a picture the work is, predicted from the scene's clusters and the camera. Pure.

The prediction decides where tiles are cut and how their costs relate; how long a unit takes on a
device is measured by the schedule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from render.camera import Matrix
from render.clusters import Boxes
from render.tiles import GRID, even_cost, grid_shape

# Relative costs, fitted to lavapipe on the courtyard and FlightHelmet (median error 14 %; area
# alone: 71 %). One unit is one pixel's clearing and conversion.
SHADED_PIXEL = 14.0
# A covered pixel's, by the width of the shadow map that is looked at for it.
SHADOWED_PIXEL = {0: 0.0, 1024: 50.0, 2048: 80.0}
UPSCALED_PIXEL = 2.0  # bringing a smaller picture to full size, and converting it
TRIANGLE_SHARE = 0.6  # of a triangle's cost that does not shrink with the picture
TRIANGLE = 80.0
PATH = 100.0  # one sample of the path tracer, beside drawing the same
TILE = 150_000.0  # recording, submission and waiting, whatever is drawn


@dataclass(frozen=True, slots=True, eq=False)
class FrameCost:
    """What a frame costs by what it is spent on: float64 (rows, columns) each, units, >= 0.

    area: each cell's pixels. pixels: of clearing, converting and shading them. triangles: the rest.
    """

    area: NDArray[np.float64]
    pixels: NDArray[np.float64]
    triangles: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """Of a frame drawn as it is shown; > 0."""
        return self.pixels + self.triangles

    @property
    def covered(self) -> NDArray[np.float64]:
        """Pixels where something is."""
        return (self.pixels - self.area) / SHADED_PIXEL

    def at(self, cells: tuple[NDArray[np.int64], ...]) -> FrameCost:
        """Of those cells, as numpy indexes them."""
        return FrameCost(self.area[cells], self.pixels[cells], self.triangles[cells])

    @staticmethod
    def beside(views: Iterable[FrameCost]) -> FrameCost:
        """Of views side by side, from the left."""
        parts = zip(*((view.area, view.pixels, view.triangles) for view in views), strict=True)
        return FrameCost(*(np.concatenate(part, axis=1) for part in parts))


def cost_map(
    boxes: Boxes,
    triangles: NDArray[np.int64],
    clip_from_world: Matrix,
    width: int,
    height: int,
) -> FrameCost:
    """Predicted cost per grid cell of a frame.

    boxes, triangles: the scene's clusters and how many triangles each has. A cluster's triangles
    are spread over the cells its box covers on the screen; a covered cell is shaded once.
    """
    base = even_cost(width, height)
    spans, on_screen = covered_cells(boxes, clip_from_world, width, height)
    spread = painted(spans, triangles[on_screen] / spans.cells, base.shape)
    covering = painted(spans, np.ones(len(spans.left)), base.shape)
    pixels = base * np.where(covering > 0.5, 1 + SHADED_PIXEL, 1.0)
    return FrameCost(base, pixels, TRIANGLE * np.maximum(spread, 0))


class Spans(NamedTuple):
    """Rectangles of grid cells, [left, right) by [top, bottom): int64 (n,) each."""

    left: NDArray[np.int64]
    top: NDArray[np.int64]
    right: NDArray[np.int64]
    bottom: NDArray[np.int64]

    @property
    def cells(self) -> NDArray[np.int64]:
        """How many each one covers."""
        return (self.right - self.left) * (self.bottom - self.top)


def painted(
    spans: Spans, values: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """The sum of what covers each cell: float64 of that shape (rows, columns).

    values: float64 (n,), added to each cell of its span.
    """
    # Adding a rectangle is adding its four corners to the map's second difference.
    rows, columns = shape
    left, top, right, bottom = spans
    stride = columns + 1
    corners = np.concatenate(
        [top * stride + left, bottom * stride + right, top * stride + right, bottom * stride + left]
    )
    signs = np.repeat([1.0, -1.0], 2 * len(values))
    steps = np.bincount(corners, signs * np.tile(values, 4), stride * (rows + 1))
    total: NDArray[np.float64] = steps.reshape(rows + 1, stride).cumsum(0).cumsum(1)
    return total[:rows, :columns]


def covered_cells(
    boxes: Boxes, clip_from_world: Matrix, width: int, height: int
) -> tuple[Spans, NDArray[np.bool_]]:
    """The cells that boxes cover on the screen, and which boxes (n,) are on it at all."""
    left, top, right, bottom = _covered_cells(boxes, clip_from_world, width, height)
    on_screen = (left < right) & (top < bottom)
    spans = Spans(left[on_screen], top[on_screen], right[on_screen], bottom[on_screen])
    return spans, on_screen


def _covered_cells(
    boxes: Boxes, clip_from_world: Matrix, width: int, height: int
) -> tuple[NDArray[np.int64], ...]:
    """left, top, right, bottom of each box on the screen, int64 (n,), in cells, clipped.

    To first order about the box's centre. Boxes that reach behind the camera count as covering
    everything; those behind it, nothing.
    """
    x, y, w = clip_from_world[[0, 1, 3]]
    centre_w = boxes.centre @ w[:3] + w[3]
    reach_w = boxes.half @ np.abs(w[:3])
    ahead, crossing = centre_w - reach_w > 0, np.abs(centre_w) <= reach_w
    divisor = np.where(ahead, centre_w, 1.0)
    columns, rows = grid_shape(width, height)

    def span(row: Matrix, side: int, cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        middle = (boxes.centre @ row[:3] + row[3]) / divisor
        slopes = np.abs(row[:3] - middle[:, None] * w[:3])
        reach = (boxes.half * slopes).sum(axis=1) / divisor
        low = (middle - reach + 1) * (side / 2) // GRID
        high = (middle + reach + 1) * (side / 2) // GRID + 1
        low = np.where(ahead, low, 0).clip(0, cells)
        high = np.where(ahead, high, np.where(crossing, cells, 0)).clip(0, cells)
        return low.astype(np.int64), high.astype(np.int64)

    left, right = span(x, width, columns)
    top, bottom = span(y, height, rows)
    return left, top, right, bottom
