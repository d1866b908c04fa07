"""Objects as cameras see them: boxes around boxes, and how well two agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from infer.frames.calibration import Camera
from infer.frames.pose import Pose
from infer.fusion.objects import CYCLIST, OTHER, PEDESTRIAN, VEHICLE, Floats, Whole
from infer.track.overlap import HEIGHT, LENGTH, YAW, X, Z

NEAREST_M = 0.3  # what is nearer to the camera's plane, or behind it, is cut off
_CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = np.array([(i, j) for i in range(8) for j in range(i) if bin(i ^ j).count("1") == 1])


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One camera's picture and what a detector found in it.

    from_objects: the camera's frame of reference from the objects'. boxes: float64 (k, 4), left,
    top, right, bottom, pixels. kinds: int64 (k,), classes of `infer.fusion.objects`. scores: (k,).
    large: bool (k,), lorries and buses.
    """

    camera: Camera
    from_objects: Pose
    boxes: Floats
    kinds: Whole
    scores: Floats
    large: NDArray[np.bool_]


def corners(boxes: Floats) -> Floats:
    """Of boxes (n, 7), see `infer.track.overlap`: (n, 8, 3)."""
    c, s = np.cos(boxes[:, YAW]), np.sin(boxes[:, YAW])
    along, across, up = np.moveaxis(_CORNERS * boxes[:, None, LENGTH : HEIGHT + 1], -1, 0)
    turned = (along * c[:, None] - across * s[:, None], along * s[:, None] + across * c[:, None])
    return np.stack((*turned, up), axis=-1) + boxes[:, None, X : Z + 1]


def outlines(boxes: Floats, view: View) -> tuple[Floats, NDArray[np.bool_]]:
    """What boxes (n, 7) fill of the picture, (n, 4) pixels, and which are in it at all, (n,).

    Boxes that reach behind the camera are cut off just ahead of it.
    """
    eight = view.from_objects.apply(corners(boxes))
    one, other = eight[:, _EDGES[:, 0]], eight[:, _EDGES[:, 1]]
    depths = one[..., 2], other[..., 2]
    crossing = (depths[0] < NEAREST_M) != (depths[1] < NEAREST_M)
    span = np.where(crossing, depths[1] - depths[0], 1.0)
    share = np.where(crossing, (NEAREST_M - depths[0]) / span, 0.0)
    points = np.concatenate((eight, one + share[..., None] * (other - one)), axis=1)
    ahead = np.concatenate((eight[..., 2] >= NEAREST_M, crossing), axis=1)
    pixels, _ = view.camera.project(points.reshape(-1, 3))
    return _around(pixels.reshape(*ahead.shape, 2), ahead, view.camera.size)


def _around(
    pixels: Floats, counted: NDArray[np.bool_], size: tuple[int, int]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Boxes around pixels (n, k, 2) as far as they are in a picture, and which are."""
    low = np.where(counted[..., None], pixels, np.inf).min(axis=1)
    high = np.where(counted[..., None], pixels, -np.inf).max(axis=1)
    edge = np.array(size, np.float64) - 1
    found = np.concatenate((np.clip(low, 0, edge), np.clip(high, 0, edge)), axis=1)
    seen = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    return np.where(seen[:, None], found, 0.0), seen


def areas(boxes: Floats) -> Floats:
    """Of (n, 4) left, top, right, bottom: (n,)."""
    found: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return found


def shared(boxes: Floats, others: Floats) -> Floats:
    """The area that each of (n, 4) has with each of (m, 4): (n, m)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    found: Floats = np.clip(high - low, 0, None).prod(axis=2)
    return found


def overlap(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of each of (n, 4) with each of (m, 4): (n, m)."""
    both = shared(boxes, others)
    either = areas(boxes)[:, None] + areas(others)[None] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


# What a detector of COCO's classes (T.-Y. Lin et al., ECCV 2014) calls them.
_KINDS = {
    "car": VEHICLE, "bus": VEHICLE, "truck": VEHICLE, "person": PEDESTRIAN,
    "bicycle": CYCLIST, "motorcycle": CYCLIST, "motorbike": CYCLIST,
}  # fmt: skip


class Detections(Protocol):
    """What a camera's detector finds: boxes (k, 4), left, top, right, bottom, pixels; scores (k,);
    labels, names of COCO's classes.
    """

    @property
    def boxes(self) -> NDArray[np.floating]:
        """Pixels."""

    @property
    def scores(self) -> NDArray[np.floating]:
        """0 to 1."""

    @property
    def labels(self) -> Sequence[str]:
        """Of each box."""


LARGE = ("bus", "truck")


def view_of(camera: Camera, from_objects: Pose, detections: Detections) -> View:
    """A camera's picture with what a detector of COCO's classes found of traffic in it."""
    kinds = np.array([_KINDS.get(name, OTHER) for name in detections.labels], np.int64)
    known, edge = kinds != OTHER, np.array(camera.size * 2) - 1
    boxes = np.clip(np.asarray(detections.boxes, np.float64)[known], 0, edge)
    scores = np.asarray(detections.scores, np.float64)[known]
    large = np.isin(np.array(detections.labels, np.str_)[known], LARGE)
    return View(camera, from_objects, boxes, kinds[known], scores, large)
