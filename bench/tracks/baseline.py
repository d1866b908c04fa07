"""AB3DMOT, plainly: a Kalman filter of ten numbers per object, boxes matched by overlap.

Weng, Wang, Held and Kitani, "3D Multi-Object Tracking: A Baseline and New Evaluation Metrics", IROS
2020, with the constants it states: initial covariance 10, of velocities 10,000; process noise 1, of
velocities 0.01; measurement noise 1; three sightings before an object is told of, two frames
without one before it is gone. Matching is by GIoU of at least -0.2, as its later version has for
cars. Time is counted in frames. There is no compensation of the vehicle's own motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.tracks.kitti import Objects
from infer.track.assignment import assigned
from infer.track.overlap import overlaps

Floats = NDArray[np.float64]

SIGHTINGS, GONE = 3, 2
LEAST_GIOU = -0.2
_F = np.eye(10)
_F[0, 7] = _F[1, 8] = _F[2, 9] = 1
_H = np.eye(7, 10)
_YAW = 6


@dataclass(slots=True, eq=False)
class _Object:
    id: int
    x: Floats
    p: Floats
    score: float
    picture: Floats
    hits: int = 1
    unseen: int = 0


class Baseline:
    """One drive's tracker."""

    def __init__(self) -> None:
        self._objects: list[_Object] = []
        self._frames, self._next = 0, 1

    def step(self, found: Objects) -> Objects:
        """A frame's detections; returns what is believed to be there."""
        boxes, scores = found.boxes, found.scores
        self._frames += 1
        for each in self._objects:
            self._predict(each)
        at = self._matched(boxes)
        for each, i in zip(self._objects, at, strict=True):
            if i >= 0:
                self._update(each, boxes[i])
                each.score, each.picture = float(scores[i]), found.pictures[i]
        for i in sorted(set(range(len(boxes))) - set(at)):
            self._born(boxes[i], float(scores[i]), found.pictures[i])
        told = [
            each
            for each in self._objects
            if each.unseen < GONE and (each.hits >= SIGHTINGS or self._frames <= SIGHTINGS)
        ]
        self._objects = [each for each in self._objects if each.unseen < GONE]
        return Objects(
            np.array([each.x[:7] for each in told]).reshape(-1, 7),
            np.array([each.picture for each in told]).reshape(-1, 4),
            np.array([each.id for each in told], np.int64),
            np.array([each.score for each in told]),
        )

    def _predict(self, each: _Object) -> None:
        noise = np.eye(10)
        noise[7:, 7:] *= 0.01
        each.x, each.p = _F @ each.x, _F @ each.p @ _F.T + noise
        each.unseen += 1

    def _matched(self, boxes: Floats) -> list[int]:
        if not self._objects or not len(boxes):
            return [-1] * len(self._objects)
        near = overlaps(np.array([each.x[:7] for each in self._objects]), boxes, True)
        return [
            int(j) if j >= 0 and near[i, j] >= LEAST_GIOU else -1
            for i, j in enumerate(assigned(-near))
        ]

    def _update(self, each: _Object, box: Floats) -> None:
        seen = box.copy()
        turn = (seen[_YAW] - each.x[_YAW] + np.pi) % (2 * np.pi) - np.pi
        if abs(turn) > np.pi / 2:  # the other end is the front, as it seems
            each.x[_YAW] += np.pi
            turn = (seen[_YAW] - each.x[_YAW] + np.pi) % (2 * np.pi) - np.pi
        seen[_YAW] = each.x[_YAW] + turn
        spread = _H @ each.p @ _H.T + np.eye(7)
        gain = each.p @ _H.T @ np.linalg.inv(spread)
        each.x = each.x + gain @ (seen - _H @ each.x)
        each.p = (np.eye(10) - gain @ _H) @ each.p
        each.x[_YAW] = (each.x[_YAW] + np.pi) % (2 * np.pi) - np.pi
        each.unseen = 0
        each.hits += 1

    def _born(self, box: Floats, score: float, picture: Floats) -> None:
        covariance = 10.0 * np.eye(10)
        covariance[7:, 7:] *= 1000
        state = np.concatenate([box, np.zeros(3)])
        self._objects.append(_Object(self._next, state, covariance, score, picture))
        self._next += 1
