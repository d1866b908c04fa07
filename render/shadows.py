"""Where the light of a sun falls: the view from which a shadow map is drawn. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from render.camera import Matrix
from render.clusters import Boxes

_ROOM = 1.02  # beyond the scene's boxes, so that no filter reaches over the map's edge
_LEAST = 1e-6  # of the scene's size: what is flat as seen from the sun has some depth all the same


class SunView(NamedTuple):
    """A parallel view along a sun's light that holds a whole scene.

    clip_from_world: float64 (4, 4), depth 1 at what is nearest to the sun. width: of what the map
    covers, a square, metres. depth: between its near and far plane, metres.
    """

    clip_from_world: Matrix
    width: float
    depth: float


def sun_view(boxes: Boxes, towards_sun: NDArray[np.floating]) -> SunView:
    """The view for all boxes, at least one. towards_sun: (3,), unit length, world frame.

    It depends on the whole scene and never on a tile, so that every tile sees the same shadows.
    """
    forward = np.asarray(towards_sun, np.float64)
    up = np.eye(3)[int(np.abs(forward).argmin())]
    right = np.cross(up, forward)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])
    centre, reach = boxes.centre @ axes.T, boxes.half @ np.abs(axes).T
    low, high = (centre - reach).min(axis=0), (centre + reach).max(axis=0)
    least = _LEAST * max(float((high - low).max()), 1e-9)
    width = _ROOM * max(float((high - low)[:2].max()), least)
    depth = _ROOM * max(float(high[2] - low[2]), least)
    scale = np.array([2 / width, 2 / width, 1 / depth])
    middle = (low + high) / 2
    clip = np.eye(4)
    clip[:3, :3] = scale[:, None] * axes
    clip[:3, 3] = -scale * middle + (0, 0, 0.5)
    return SunView(clip, width, depth)
