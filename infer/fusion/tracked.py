"""Fused objects of one moment after another, class by class: who is who, and how fast."""

from __future__ import annotations

import numpy as np

from infer.frames.pose import Pose
from infer.fusion.objects import CLASSES, OTHER, Floats, Objects
from infer.track.overlap import YAW, X, Z
from infer.track.tracker import Rules, Tracker
from infer.track.tracks import Beliefs, Tracks

BELIEVED = 0.5  # the least score of what is tracked


class ObjectTracker:
    """One tracker for each class, in the world's frame of reference.

    sources: by class, of each track told of last, which of the objects it was; -1 for none.
    """

    def __init__(self, rules: Rules | None = None, beliefs: Beliefs | None = None) -> None:
        kinds = [kind for kind in range(len(CLASSES)) if kind != OTHER]
        self._trackers = {kind: Tracker(rules, beliefs) for kind in kinds}
        self.sources = {kind: np.zeros(0, np.int64) for kind in kinds}

    def step(self, time_s: float, objects: Objects, world_from_objects: Pose) -> dict[int, Tracks]:
        """Take what was seen at a moment; returns what is believed of then, by class.

        time_s: later than the last. Raises Misuse as `Tracker.step` does.
        """
        boxes, told = in_world(objects.boxes, world_from_objects), {}
        for kind, tracker in self._trackers.items():
            own = np.flatnonzero((objects.kinds == kind) & (objects.scores >= BELIEVED))
            told[kind] = tracker.step(time_s, boxes[own], objects.scores[own])
            seen = tracker.sources >= 0
            self.sources[kind] = np.full(len(seen), -1)
            self.sources[kind][seen] = own[tracker.sources[seen]]
        return told


def in_world(boxes: Floats, world_from_objects: Pose) -> Floats:
    """Boxes (n, 7) in another frame of reference, upright in both."""
    moved = boxes.copy()
    moved[:, X : Z + 1] = world_from_objects.apply(boxes[:, X : Z + 1])
    turn = world_from_objects.rotation
    moved[:, YAW] += np.arctan2(turn[1, 0], turn[0, 0])
    return moved
