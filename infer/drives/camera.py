"""What a camera sees of a drive's actors, by rays through its pixels; no picture is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.drives.drive import Scene
from infer.drives.rays import COS, FAN_FIELDS, OX, OZ, SIN
from infer.drives.rig import CAMERA_PLACE, FOCAL_PX, PICTURE
from infer.drives.solids import Floats

REACH_M = 120.0
STEP_PX = 2  # of the pixels that are asked for, across and down


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Of n actors. boxes: float64 (n, 4), left, top, right, bottom of what shows of each, pixels to
    within a step; zeros for none. visible: float64 (n,), share of what would show in the picture if
    nothing hid it; 0 for none. pixels: int64 (n,), how many show.
    """

    boxes: Floats
    visible: Floats
    pixels: NDArray[np.int64]


def seen(scene: Scene, step_px: int = STEP_PX) -> Seen:
    """What the rig's camera sees at the scene's time."""
    owners, alone, across, down = pixel_owners(scene, step_px)
    count = len(alone)
    boxes = np.column_stack((np.full((count, 2), np.inf), np.full((count, 2), -np.inf)))
    column, row = np.nonzero(owners >= 0)
    of = owners[column, row]
    places = np.stack((across[column], down[row]), axis=1)
    np.minimum.at(boxes[:, :2], of, places - step_px / 2)
    np.maximum.at(boxes[:, 2:], of, places + step_px / 2)
    shown = np.bincount(of, minlength=count)
    boxes[shown == 0] = 0.0
    return Seen(boxes, shown / np.maximum(alone, 1), shown * step_px**2)


def pixel_owners(
    scene: Scene, step_px: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], Floats, Floats]:
    """The actor that each pixel shows (columns, rows), or NOBODY; `Hits.alone`; and where columns
    and rows are, pixels.
    """
    width, height = PICTURE
    across = np.arange((step_px - 1) / 2, width, step_px)
    down = np.arange((step_px - 1) / 2, height, step_px)
    left = ((width - 1) / 2 - across) / FOCAL_PX  # per metre ahead
    up = ((height - 1) / 2 - down) / FOCAL_PX
    ahead, aside = scene.ego.rotation[:2, 0], scene.ego.rotation[:2, 1]
    towards = ahead + left[:, None] * aside
    run = np.hypot(1.0, left)
    fans = np.zeros((len(across), FAN_FIELDS))
    fans[:, COS : SIN + 1] = towards / run[:, None]
    fans[:, OX : OZ + 1] = scene.ego.apply(np.array(CAMERA_PLACE))
    hits = scene.cast(fans, up[None] / run[:, None], REACH_M)
    return hits.owner, hits.alone, across, down
