"""The middle of a street: straight pieces and arcs, and places along it and beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

STRAIGHT_M = (60.0, 180.0)
RADIUS_M = (70.0, 220.0)
TURN_RAD = (0.25, 0.9)
WINDING_RAD = 0.4  # beyond this heading the next arc turns back, so that no street crosses itself


@dataclass(frozen=True, slots=True, eq=False)
class Street:
    """Pieces (k,), each from `begins` metres along the street on: where, with what heading and
    with what curvature (1/m, to the left).
    """

    begins: Floats
    x: Floats
    y: Floats
    heading: Floats
    curvature: Floats

    def place(self, along: ArrayLike, aside: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """x, y and heading of places `along` the street's middle and `aside` of it to the left."""
        s, d = np.asarray(along, np.float64), np.asarray(aside, np.float64)
        piece = self._piece(s)
        far, k, before = s - self.begins[piece], self.curvature[piece], self.heading[piece]
        half = k * far / 2
        chord = far * np.sinc(half / np.pi)
        heading = before + 2 * half
        x = self.x[piece] + chord * np.cos(before + half) - d * np.sin(heading)
        y = self.y[piece] + chord * np.sin(before + half) + d * np.cos(heading)
        return x, y, heading

    def bend(self, along: ArrayLike) -> Floats:
        """The curvature there, 1/m, to the left."""
        bend: Floats = self.curvature[self._piece(np.asarray(along, np.float64))]
        return bend

    def _piece(self, along: Floats) -> NDArray[np.intp]:
        piece = np.searchsorted(self.begins, along, side="right") - 1
        return np.clip(piece, 0, len(self.begins) - 1)


def random_street(rng: np.random.Generator, begin: float, end: float) -> Street:
    """Straights and arcs in turn from `begin` to beyond `end`, which go on straight outside."""
    rows: list[tuple[float, ...]] = [(begin, 0.0, 0.0, 0.0, 0.0)]
    far = begin + float(rng.uniform(*STRAIGHT_M))
    while far < end:
        heading = _last(rows, far)[2]
        towards = -np.sign(heading) if abs(heading) > WINDING_RAD else rng.choice((-1.0, 1.0))
        radius = float(rng.uniform(*RADIUS_M))
        rows.append((far, *_last(rows, far), float(towards) / radius))
        far += radius * float(rng.uniform(*TURN_RAD))
        rows.append((far, *_last(rows, far), 0.0))
        far += float(rng.uniform(*STRAIGHT_M))
    return Street(*np.array(rows).T)


def _last(rows: list[tuple[float, ...]], far: float) -> tuple[float, float, float]:
    """x, y and heading where the last piece ends."""
    x, y, heading = Street(*np.array(rows[-1:]).T).place(far, 0.0)
    return float(x), float(y), float(heading)
