"""Squeezed edges: a picture whose middle is whole and whose edges are drawn smaller. Pure.

A fixed foveated picture is axis-aligned: columns and rows are squeezed apart from each other, as in
Oculus' AADT (axis-aligned distorted transfer). Along an axis the middle is drawn pixel for pixel;
what is left of it and right of it each in fewer pixels, evenly. So the map is a polygon through
a few *knots*, pairs of a place in the picture as looked at (`full`) and in the one sent
(`squeezed`), both in pixels from the left or top, and its inverse is the same polygon read the
other way:

    full = f[i] + (squeezed - s[i]) * (f[i+1] - f[i]) / (s[i+1] - s[i])    s[i] <= squeezed < s[i+1]

Nothing is drawn large first: between knots the map is affine, in clip space too, so each of up to
nine parts is drawn straight into its place with a projection of its own, and its edges are shaded
at the rate at which they are sent. Knots of what is sent lie on the tiles' grid; no tile crosses
one (`render.tiles.Tiler`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from render.camera import Matrix
from render.tiles import GRID, Rect


@dataclass(frozen=True, slots=True)
class Axis:
    """The knots along one axis: from 0 to the picture's side, rising; pixels."""

    full: tuple[int, ...]
    squeezed: tuple[int, ...]

    @staticmethod
    def squeeze(side: int, centre: float, ratio: float, middle: float = 0.5) -> Axis:
        """side: pixels, even. centre: the share of it that stays whole, 0 to 1, to the grid.

        ratio: how many pixels of an edge become one, >= 1, to the grid. middle: where the centre
        lies, 0 to 1; it keeps a cell away from the side's ends unless it reaches them. What is
        sent is as long for every `middle`.
        """
        whole = GRID * max(round(centre * side / GRID), 1)
        edges = side - whole
        fewer = max(GRID * math.ceil(edges / ratio / GRID), 2 * GRID)
        if fewer >= edges:  # there is too little to squeeze
            return Axis((0, side), (0, side))
        before = GRID * round((middle * side - whole / 2) / GRID)
        before = min(max(before, GRID), GRID * (edges // GRID - 1))
        less = GRID * round(before * fewer / edges / GRID)
        less = min(max(less, GRID), fewer - GRID)
        return Axis((0, before, before + whole, side), (0, less, less + whole, fewer + whole))

    @property
    def whole(self) -> slice:
        """The pixels as looked at that are sent as they are."""
        squeezed = len(self.full) == 4
        return slice(*self.full[1:3]) if squeezed else slice(*self.full)

    def expand(self, squeezed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places in the picture sent, as places in the picture as looked at; pixels."""
        return np.interp(squeezed, self.squeezed, self.full)

    def shrink(self, full: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `expand`."""
        return np.interp(full, self.full, self.squeezed)

    def parts(self) -> list[tuple[int, int, float, float]]:
        """Between each two knots: start and length in what is sent; and what turns its clip
        coordinate into the sent picture's: x' = factor * x + shift * w."""
        made = []
        side, sent = self.full[-1], self.squeezed[-1]
        for i in range(len(self.full) - 1):
            start, length = self.squeezed[i], self.squeezed[i + 1] - self.squeezed[i]
            rate = length / (self.full[i + 1] - self.full[i])
            factor = rate * side / sent
            shift = 2 * (start - self.full[i] * rate) / sent + factor - 1
            made.append((start, length, factor, shift))
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A rectangle of the picture sent, drawn with a projection of its own.

    sent_from_clip: float64 (4, 4), to be put before clip_from_world.
    """

    rect: Rect
    sent_from_clip: Matrix


@dataclass(frozen=True, slots=True)
class Fovea:
    """How one view is squeezed, across and down."""

    x: Axis
    y: Axis

    @staticmethod
    def none(width: int, height: int) -> Fovea:
        """What is sent is what is looked at."""
        return Fovea(Axis((0, width), (0, width)), Axis((0, height), (0, height)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the view as looked at, pixels."""
        return self.x.full[-1], self.y.full[-1]

    @property
    def sent(self) -> tuple[int, int]:
        """Width and height of the view as sent, pixels."""
        return self.x.squeezed[-1], self.y.squeezed[-1]

    def parts(self) -> list[Part]:
        """The rectangles that make up the view as sent, top-left first."""
        made = []
        for top, height, factor_y, shift_y in self.y.parts():
            for left, width, factor_x, shift_x in self.x.parts():
                matrix = np.diag([factor_x, factor_y, 1.0, 1.0])
                matrix[0, 3], matrix[1, 3] = shift_x, shift_y
                made.append(Part(Rect(left, top, width, height), matrix))
        return made

    def cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which grid cell (rows, columns) as looked at each one as sent shows the middle of."""
        return _cells(self.y), _cells(self.x)

    def unsqueeze(self, sent: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture as looked at, uint8 (height, width, n), of one as sent.

        The middle is copied; edges are interpolated linearly, each part for itself. What a client
        does on its GPU, for tests and stills.
        """
        rows, columns = _taps(self.y), _taps(self.x)
        tall = _blend(sent.astype(np.float32), *rows)
        wide = _blend(tall.swapaxes(0, 1), *columns).swapaxes(0, 1)
        return np.rint(wide).astype(np.uint8)


def _cells(axis: Axis) -> NDArray[np.int64]:
    side = axis.squeezed[-1]
    starts = GRID * np.arange(-(-side // GRID))
    middles = (starts + np.minimum(starts + GRID, side)) / 2
    return (axis.expand(middles) // GRID).astype(np.int64)


def _taps(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each pixel as looked at the two as sent that it lies between, and how near the second."""
    centres = np.arange(0.5, axis.full[-1])
    part = np.searchsorted(axis.full, centres) - 1
    first, last = np.array(axis.squeezed)[part], np.array(axis.squeezed)[part + 1] - 1
    at = (axis.shrink(centres) - 0.5).clip(first, last)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, last), (at - low).astype(np.float32)


def _blend(
    picture: NDArray[np.float32],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    weight: NDArray[np.float32],
) -> NDArray[np.float32]:
    weights = weight[:, None, None]
    return picture[low] * (1 - weights) + picture[high] * weights
