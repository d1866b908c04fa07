"""Pictures drawn wider than they are looked at, for whoever shows them from elsewhere. Pure.

A client that shows a picture from where its camera is *now* (a late warp) looks past an edge of
what was drawn for where the camera *was*. So every view is drawn with a margin around it: its
sides grow, in pixels and in tangents alike, and what is looked at stays pixel for pixel in its
middle. Sides grow to the tiles' grid, so the two factors may differ a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from render.camera import View
from render.tiles import GRID


@dataclass(frozen=True, slots=True)
class Overscan:
    """looked_at, drawn: width and height of one view, pixels, even."""

    looked_at: tuple[int, int]
    drawn: tuple[int, int]

    @staticmethod
    def of(width: int, height: int, factor: float) -> Overscan:
        """width, height: as looked at. factor: of a side, >= 1; 1 draws nothing more."""
        if factor <= 1:
            return Overscan((width, height), (width, height))
        across, down = (GRID * math.ceil(side * factor / GRID) for side in (width, height))
        return Overscan((width, height), (across, down))

    @property
    def factors(self) -> tuple[float, float]:
        """What is drawn to what is looked at, across and down."""
        (width, height), (across, down) = self.looked_at, self.drawn
        return across / width, down / height

    def widen(self, view: View) -> View:
        """A view as looked at, as it is drawn."""
        if self.drawn == self.looked_at:
            return view
        across, down = self.factors
        matrix = np.diag([1 / across, 1 / down, 1.0, 1.0]) @ view.clip_from_world
        return replace(view, clip_from_world=matrix)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place lies in what is drawn; both as shares of the sides, from the top left."""
        across, down = self.factors
        return 0.5 + (x - 0.5) / across, 0.5 + (y - 0.5) / down
