"""An old picture as it would be seen from a new place: what stands in for tiles that never came.

The camera's motion is known, and about how far away things are: the scene's clusters have boxes,
and of those that cover a grid cell the mean of their inverse distances is taken. So each corner of
a cell has a place in the old picture, and a pixel one between those of its cell's corners; it gets
the colour of the old pixel there (re-projection in reverse; for the other way, and what is not seen
from the old place, Mark, McMillan and Bishop, "Post-rendering 3D warping", I3D 1997). What moves by
itself is taken to stand still, and beyond the old picture's edge there is its edge.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from render.camera import Matrix
from render.clusters import Boxes
from render.cost import covered_cells, painted
from render.tiles import GRID, Rect, grid_shape

MOST_PIXELS = 3 << 16  # of a frame: less than 2 ms on the gateway's loop (bench.ladder)

FLAT = 0.1  # of a box's other sides: so thin is a plane
FRONT, FARTHEST = 8, 0.1  # weight falls with that power of the distance, down to its tenth
LEAST_WEIGHT = 1e-12  # above what is left of rounding where boxes end

Flow = NDArray[np.float32]


class Reprojection:
    """From one view of a scene to another; made when first asked for."""

    def __init__(self, boxes: Boxes, now: Matrix, then: Matrix, size: tuple[int, int]) -> None:
        """boxes: of the scene's clusters. now, then: clip_from_world, not parallel projections."""
        self._boxes, self._now, self._then, self._size = boxes, now, then, size
        self._flow: Flow | None = None
        self._left = MOST_PIXELS

    def take(self, rect: Rect) -> bool:
        """Whether there is time for one more tile in this frame; False as well if nothing moved."""
        if rect.area > self._left or np.array_equal(self._now, self._then):
            return False
        self._left -= rect.area
        return True

    def fill(
        self,
        planes: Sequence[NDArray[np.uint8]],
        previous: Sequence[NDArray[np.uint8]],
        rect: Rect,
    ) -> None:
        """Fill a tile of Y, U and V from those of the old picture; each a whole plane."""
        from render.warp import warp  # noqa: PLC0415  (Numba: a gateway loads it in good time)

        if self._flow is None:
            self._flow = flow(self._boxes, self._now, self._then, self._size)
        for plane, source in zip(planes, previous, strict=True):
            halving = self._size[0] // plane.shape[1]
            x, y, width, height = (side // halving for side in rect)
            part = plane[y : y + height, x : x + width]
            warp(source, part, self._flow, x, y, GRID // halving, 1.0 / halving)


def flow(boxes: Boxes, now: Matrix, then: Matrix, size: tuple[int, int]) -> Flow:
    """Where the old picture shows what is at each corner of a grid cell.

    Returns float32 (rows + 1, columns + 1, 2): x and y, pixels, anywhere.
    """
    width, height = size
    inverse = _at_corners(inverse_distances(boxes, now, size))
    rows, columns = inverse.shape
    x, y = np.meshgrid(GRID * np.arange(columns), GRID * np.arange(rows))
    # Distance is clip space's w; in a perspective view, z = slope * w + offset.
    ahead = now[3, :3]
    slope = (now[2, :3] @ ahead) / (ahead @ ahead)
    offset = now[2, 3] - slope * now[3, 3]
    clip = np.stack(
        [2 * x / width - 1, 2 * y / height - 1, slope + offset * inverse, np.ones_like(inverse)],
        axis=-1,
    )  # over w: what is at no distance that can be told is infinitely far away
    seen = clip @ (then @ np.linalg.inv(now)).T
    w = seen[..., 3]
    before = w > 1e-9  # the old camera has it before it
    divisor = np.where(before, w, 1.0)
    old_x = np.where(before, (seen[..., 0] / divisor + 1) * (width / 2), x)
    old_y = np.where(before, (seen[..., 1] / divisor + 1) * (height / 2), y)
    reach = 4 * max(size)  # further out it is all the same edge
    places = np.stack([old_x, old_y], axis=-1).clip(-reach, reach)
    return places.astype(np.float32)


def inverse_distances(
    boxes: Boxes, clip_from_world: Matrix, size: tuple[int, int]
) -> NDArray[np.float64]:
    """1 / distance along the view axis, per grid cell: float64 (rows, columns), 1 / metres.

    The mean over the boxes that cover the cell, near and small ones first, because they hide the
    others; not a number where there is none.
    """
    width, height = size
    columns, rows = grid_shape(width, height)
    spans, on_screen = covered_cells(boxes, clip_from_world, width, height)
    seen = Boxes(boxes.centre[on_screen], boxes.half[on_screen])
    distance = seen.centre @ clip_from_world[3, :3] + clip_from_world[3, 3]
    reach = seen.half @ np.abs(clip_from_world[3, :3])
    ahead = distance > reach
    nearest = distance[ahead].min(initial=np.inf)
    front = np.maximum(nearest / np.where(ahead, distance, 1.0), FARTHEST) ** FRONT
    weight = np.where(ahead, front / spans.cells, 0.0)
    slopes = weight[:, None] * _slopes(seen, distance, clip_from_world)
    across, down, level = (painted(spans, slopes[:, i], (rows, columns)) for i in range(3))
    weights = painted(spans, weight, (rows, columns))
    x = (2 * np.arange(columns) + 1) * GRID / width - 1
    y = (2 * np.arange(rows) + 1) * GRID / height - 1
    total = across * x + down * y[:, None] + level
    covered = weights > LEAST_WEIGHT
    inverse: NDArray[np.float64] = np.where(
        covered, np.maximum(total, 0.0) / np.where(covered, weights, 1.0), np.nan
    )
    return inverse


def _slopes(
    boxes: Boxes, distance: NDArray[np.float64], clip_from_world: Matrix
) -> NDArray[np.float64]:
    """1 / distance of boxes over the screen: a, b, c of a * x + b * y + c; float64 (n, 3).

    x, y: -1 to 1. distance: of their middles. A flat box is a plane (a floor comes nearer towards
    the lower edge), any other is as far away as its middle.
    """
    flat = boxes.half.argmin(axis=1)
    world_from_rays = np.linalg.inv(clip_from_world[[0, 1, 3], :3])
    eye = -world_from_rays @ clip_from_world[[0, 1, 3], 3]
    each = np.arange(len(flat))
    away = boxes.centre[each, flat] - eye[flat]
    thin = boxes.half[each, flat] < FLAT * np.minimum(np.median(boxes.half, axis=1), np.abs(away))
    facing = np.zeros((len(flat), 3))
    facing[:, 2] = 1.0 / np.where(distance > 0, distance, 1.0)
    planes = world_from_rays[flat] / np.where(thin, away, 1.0)[:, None]
    return np.where(thin[:, None], planes, facing)


def _at_corners(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the cells around each corner that have a value, else that of all cells; or 0."""
    known = np.isfinite(cells)
    beyond = float(cells[known].mean()) if known.any() else 0.0
    values, counts = (np.pad(part, 1) for part in (np.where(known, cells, 0.0), known * 1.0))
    sums, around = (
        part[:-1, :-1] + part[:-1, 1:] + part[1:, :-1] + part[1:, 1:] for part in (values, counts)
    )
    corners: NDArray[np.float64] = np.where(around > 0, sums / np.maximum(around, 1), beyond)
    return corners


def warm_up() -> None:
    """Compile what `Reprojection.fill` needs, or load it from the disk."""
    importlib.import_module("render.warp")
