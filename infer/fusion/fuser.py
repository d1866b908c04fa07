"""What LiDAR, cameras and radars each found at one moment becomes one list of objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infer.fusion.lidar_objects import Rules, Seen
from infer.fusion.objects import NONE, OTHER, VEHICLE, Floats, Objects
from infer.fusion.pictures import View
from infer.fusion.rules import FusionRules
from infer.fusion.with_camera import CameraFusion
from infer.fusion.with_radar import RadarView, with_radar
from infer.perception.nms import iou
from infer.track.overlap import LENGTH, WIDTH, YAW, X, Y

MOST_SILL = 0.25  # of a vehicle's height in the picture: whose feet are higher sits in it


def fuse(
    points: NDArray[np.float32],
    seen: Seen,
    views: Sequence[View] = (),
    radars: Sequence[RadarView] = (),
    *,
    rules: FusionRules | None = None,
    lidar: Rules | None = None,
) -> Objects:
    """Vehicles, pedestrians and cyclists in the frame of reference of `points`, best first.

    points: float32 (n, 4), the sweep that `seen` is of, while that is valid. lidar: the rules that
    `seen` was found by. Objects name their cameras by the place in `views`, and targets of the last
    radar that saw them. Motion between the sensors' stamps is not taken out.
    """
    rules, lidar = rules or FusionRules(), lidar or Rules()
    objects = seen.objects
    for number, view in enumerate(views):
        objects = CameraFusion(rules, lidar, points, seen, view, number).fused(objects)
    objects = once(objects.taken(objects.kinds != OTHER), rules.same, views)
    for radar in radars:
        objects = with_radar(objects, radar, rules)
    return objects.taken(np.argsort(-objects.scores, kind="stable"))


def once(objects: Objects, same: float, views: Sequence[View] = ()) -> Objects:
    """Without the less certain of any two that share, seen from above, more than `same` of the
    smaller's area: a bonnet apart from its car, or the same car fitted twice. What a camera saw as
    a vehicle and somebody beside it stays two things.
    """
    objects = objects.taken(np.argsort(-objects.scores, kind="stable"))
    overlaps = iou(flat(objects.boxes), flat(objects.boxes)).astype(np.float64)
    areas = objects.boxes[:, LENGTH] * objects.boxes[:, WIDTH]
    shared = overlaps / (1 + overlaps) * (areas[:, None] + areas[None])
    both = shared > same * np.minimum(areas[:, None], areas[None])
    for number, view in enumerate(views):
        both &= ~told_apart(objects, view, number)
    kept = np.ones(len(objects), np.bool_)
    for i in range(len(objects)):
        if kept[i]:
            kept[i + 1 :] &= ~both[i, i + 1 :]
    return objects.taken(kept)


def told_apart(objects: Objects, view: View, number: int) -> NDArray[np.bool_]:
    """Which of n objects camera `number` saw as a vehicle and as somebody beside it: (n, n).

    Who sits in it is seen above its doors.
    """
    apart = np.zeros((len(objects), len(objects)), np.bool_)
    seen = np.flatnonzero((objects.cameras == number) & (objects.pictures != NONE))
    if not len(seen):
        return apart
    foot, head = view.boxes[objects.pictures[seen]][:, (3, 1)].T
    vehicle = objects.kinds[seen] == VEHICLE
    beside = foot[None] > foot[:, None] - MOST_SILL * (foot - head)[:, None]
    pairs = vehicle[:, None] & ~vehicle[None] & beside
    apart[np.ix_(seen, seen)] = pairs | pairs.T
    return apart


def flat(boxes: Floats) -> NDArray[np.float32]:
    """Boxes (n, 7) as seen from above: x y length width yaw."""
    seen: NDArray[np.float32] = boxes[:, (X, Y, LENGTH, WIDTH, YAW)].astype(np.float32)
    return seen
