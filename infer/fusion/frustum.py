"""Boxes in space of what a camera saw, from the points in its part of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.fusion.footprints import (
    ANGLE,
    FLOOR,
    FOOTPRINT_FIELDS,
    POINTS,
    TOP,
    U_HIGH,
    U_LOW,
    V_HIGH,
    V_LOW,
)
from infer.fusion.lidar_objects import standing
from infer.fusion.objects import Floats
from infer.fusion.pictures import View, outlines, overlap
from infer.fusion.shapes import allowed, completed, extents, lorries

TURNS = np.radians(np.arange(0, 180, 4.0))
CLOSE_M = 0.1  # points nearer to a side than this speak for it alike
SHRUNK = 0.1  # of a detection's box at each side: what is seen past the thing is at the rim
LEAST_POINTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """Boxes of things that a camera saw, and a LiDAR that stands at `origin`."""

    view: View
    origin: tuple[float, float]

    def fitted(
        self,
        points: NDArray[np.float32],
        above: NDArray[np.float32],
        kind: int,
        picture: Floats,
        *,
        large: bool = False,
    ) -> Floats:
        """The box (7,) of a thing of which the LiDAR saw points (n, 4), and the camera all.

        Of all headings, each with the size of its class completed away from the LiDAR, the one
        whose outline is most like the camera's box `picture` (4,), and whose sides the points are
        closest to: the two together say what neither says alone of a thing of which only one side
        was seen. above: (n,), the points' heights above the ground. large: it is a
        lorry or a bus.
        """
        prints, closeness = turned(points[:, :2].astype(np.float64))
        prints[:, TOP], prints[:, FLOOR] = above.max(), (points[:, 2] - above).mean()
        kinds = np.full(len(prints), kind)
        things = lorries(len(prints)) if large else extents(kinds)
        flat = completed(prints, things, np.ones(len(prints), np.bool_), self.origin)
        boxes = standing(flat, kinds, prints)
        alike = overlap(outlines(boxes, self.view)[0], picture[None])[:, 0]
        fits = allowed(flat[:, 2], flat[:, 3], kind, large)
        best: Floats = boxes[int((alike * closeness * fits).argmax())]
        return best


def turned(places: Floats) -> tuple[Floats, Floats]:
    """Footprints of points (n, 2) at each of TURNS, and how close points are to their sides, 0 to 1
    (the criterion of `infer.fusion.footprints`).
    """
    c, s = np.cos(TURNS)[:, None], np.sin(TURNS)[:, None]
    u, v = c * places[:, 0] + s * places[:, 1], c * places[:, 1] - s * places[:, 0]
    prints = np.zeros((len(TURNS), FOOTPRINT_FIELDS))
    prints[:, ANGLE], prints[:, POINTS] = TURNS, len(places)
    prints[:, U_LOW], prints[:, U_HIGH] = u.min(axis=1), u.max(axis=1)
    prints[:, V_LOW], prints[:, V_HIGH] = v.min(axis=1), v.max(axis=1)
    low, high = prints[:, (U_LOW, V_LOW), None], prints[:, (U_HIGH, V_HIGH), None]
    both = np.stack((u, v), axis=1)
    near = np.minimum(both - low, high - both).min(axis=1)
    closeness = (CLOSE_M / np.maximum(near, CLOSE_M)).mean(axis=1)
    return prints, closeness


def nearest_thing(
    pixels: Floats, depths: Floats, picture: Floats, depth_m: float
) -> NDArray[np.intp]:
    """Which points a detection's box is of: those in it, of the nearest crowd of them in depth.

    pixels: (n, 2). depths: (n,), metres. depth_m: how deep such a
    thing is. What lies behind shows through windows and beside; what lies
    before it would hide it. The crowd is the most points within that depth, of equals the nearest.
    """
    rim = SHRUNK * (picture[2:] - picture[:2])
    inside = ((pixels >= picture[:2] + rim) & (pixels <= picture[2:] - rim)).all(axis=1)
    found = np.flatnonzero(inside)
    if len(found) < LEAST_POINTS:
        return found[:0]
    found = found[np.argsort(depths[found], kind="stable")]
    ordered = depths[found]
    until = np.searchsorted(ordered, ordered + depth_m, side="right")
    first = int((until - np.arange(len(ordered))).argmax())
    chosen = found[first : until[first]]
    return chosen if len(chosen) >= LEAST_POINTS else chosen[:0]
