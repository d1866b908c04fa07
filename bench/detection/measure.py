"""What counts as found: hits, misses and false ones, by KITTI's rules of what need not be found.

A detection takes the best truth that nobody took before, best scored first. Truth that is not
counted (hidden, cut off, far, small) may be found or not; so may what lies where nothing was
labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infer.fusion.fuser import flat
from infer.fusion.objects import VEHICLE, Floats, Objects, Whole
from infer.fusion.pictures import View, outlines, overlap
from infer.perception.nms import iou

WITHIN_M = 50.0  # of the sensor: what must be found
LEAST_PIXELS = 25.0  # of height in the picture
BELIEVED = 0.5  # the least score; a camera's detector leaves out what it does not believe
MOST_APART_M, LEAST_IOU = 1.0, 0.3  # seen from above
LEAST_PICTURE_IOU = 0.5
FLOOR = 0.5  # precision

Same = Callable[[Floats, Floats, int], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What one sensor, or all, found in a frame: boxes (n, 7) or, of a camera, (n, 4) pixels.

    counted: bool (n,), which are errors if they are nobody's.
    """

    boxes: Floats
    kinds: Whole
    scores: Floats
    counted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is there, as `Found`. counted: which must be found."""

    boxes: Floats
    kinds: Whole
    counted: NDArray[np.bool_]


@dataclass(slots=True)
class Tally:
    """Over frames, of one class. scores: of each detection that counts, with whether it hit.

    false: each false one: its frame's name, its score and its box.
    """

    objects: int = 0
    scores: list[tuple[float, bool]] = field(default_factory=list)
    false: list[tuple[str, float, list[float]]] = field(default_factory=list)

    def at(self, least: float) -> Figures:
        """Of what scores at least so much."""
        hits = [hit for score, hit in self.scores if score >= least]
        return Figures(sum(hits), len(hits) - sum(hits), self.objects, least)

    def at_floor(self) -> Figures:
        """With the most hits of all scores from which on at least FLOOR of them are right."""
        every = [self.at(score) for score in sorted({score for score, _ in self.scores})]
        allowed = [each for each in every if each.precision >= FLOOR]
        none = Figures(0, 0, self.objects, 1.0)
        return max(allowed, key=lambda each: (each.hits, -each.false), default=none)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of detections that score at least `least`."""

    hits: int
    false: int
    objects: int
    least: float

    @property
    def precision(self) -> float:
        """Share of detections that are right; 1 where there are none."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else 1.0

    @property
    def recall(self) -> float:
        """Share of objects that were found; 1 where there are none."""
        return self.hits / self.objects if self.objects else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        errors = self.false + self.objects - self.hits
        return 2 * self.hits / (2 * self.hits + errors) if self.hits + errors else 1.0


def same_places(found: Floats, truth: Floats, kind: int) -> Floats:
    """How well boxes (n, 7) agree with (m, 7) seen from above, 0 where they are not the same.

    Middles less than MOST_APART_M apart and, for vehicles, an IoU of LEAST_IOU: smaller things are
    hardly larger than what their middles may be apart.
    """
    apart = np.hypot(found[:, None, 0] - truth[None, :, 0], found[:, None, 1] - truth[None, :, 1])
    agreement: Floats = np.where(apart < MOST_APART_M, 2 - apart, 0.0)
    if kind == VEHICLE:
        agreement[iou(flat(found), flat(truth)) < LEAST_IOU] = 0.0
    return agreement


def same_pictures(found: Floats, truth: Floats, _: int) -> Floats:
    """How well boxes (n, 4) in a picture agree with (m, 4), 0 where they are not the same."""
    agreement = overlap(found, truth)
    return np.where(agreement >= LEAST_PICTURE_IOU, agreement, 0.0)


def in_picture(objects: Objects, view: View) -> tuple[Found, Floats]:
    """Objects that are believed, and their outlines (n, 4). Those that are near and in the picture,
    and not small there, count.
    """
    believed = objects.taken(objects.scores >= BELIEVED)
    shown, inside = outlines(believed.boxes, view)
    near = np.hypot(*believed.boxes[:, :2].T) <= WITHIN_M
    counted = inside & near & (shown[:, 3] - shown[:, 1] >= LEAST_PIXELS)
    return Found(believed.boxes, believed.kinds, believed.scores, counted), shown


def tally(total: Tally, name: str, kind: int, found: Found, truth: Truth, same: Same) -> None:
    """Add a frame's objects of one class. same: (n, m), 0 where two are not the same."""
    mine, theirs = found.kinds == kind, truth.kinds == kind
    boxes, scores, counted = found.boxes[mine], found.scores[mine], found.counted[mine]
    needed = truth.counted[theirs]
    agreement = same(boxes, truth.boxes[theirs], kind)
    total.objects += int(needed.sum())
    for i in np.argsort(-scores, kind="stable").tolist():
        # What must be found comes first, so that what need not be takes no hit from it.
        at = _best(agreement[i], needed)
        if at >= 0:
            agreement[:, at] = 0.0
            if needed[at]:
                total.scores.append((float(scores[i]), True))
        elif counted[i]:
            total.scores.append((float(scores[i]), False))
            total.false.append((name, float(scores[i]), boxes[i].tolist()))


def _best(agreement: Floats, needed: NDArray[np.bool_]) -> int:
    """The truth that agrees best, of those needed if any does; -1 for none."""
    for which in (agreement * needed, agreement):
        if which.max(initial=0.0) > 0:
            return int(which.argmax())
    return -1
