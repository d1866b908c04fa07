"""What is known of objects at an instant, and what follows from it for any other. Pure.

Position and velocity are one Kalman filter per axis, all objects at once: motion of constant
velocity that white noise accelerates (Bar-Shalom, Li and Kirubarajan, "Estimation with Applications
to Tracking and Navigation", 2001, 6.2.2). Heading and size are filters of one number each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.track.overlap import BOX_FIELDS, LENGTH, YAW, X, Z

Floats = NDArray[np.float64]

PLACE = slice(X, Z + 1)
SIZE = slice(LENGTH, YAW)  # length, width, height
OTHERS = slice(LENGTH, BOX_FIELDS)  # and the heading


@dataclass(frozen=True, slots=True)
class Beliefs:
    """How objects move and how they are measured; standard deviations.

    acceleration: m/s^2 over one second, along each axis. drift: of size (m) and heading (rad), over
    the root of one second. place_m, size_m, yaw: of a measurement. speed: of what was never seen
    before, m/s.
    """

    acceleration: float = 4.0
    drift: tuple[float, float, float, float] = (0.05, 0.05, 0.05, 0.5)
    place_m: float = 0.25
    size_m: float = 0.3
    yaw: float = 0.2
    speed: float = 10.0

    def measured(self) -> Floats:
        """Variances of a measured box: float64 (7,)."""
        return np.array([*[self.place_m] * 3, *[self.size_m] * 3, self.yaw]) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Objects at `time_s`, in the frame of reference their boxes came in.

    ids: int64 (n,), never used again. boxes: float64 (n, 7), see `infer.track.overlap`. velocity:
    float64 (n, 3), m/s. scores: float64 (n,), of the last detection. Covariances: motion, float64
    (n, 3, 3) of each axis' position, of it with velocity, of velocity; others, (n, 4), of length,
    width, height and heading.
    """

    time_s: float
    ids: NDArray[np.int64]
    boxes: Floats
    velocity: Floats
    scores: Floats
    motion: Floats
    others: Floats

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, time_s: float, beliefs: Beliefs) -> Tracks:
        """The same objects at another time: what a late answer says of now.

        Later, or earlier: what is not seen grows more uncertain either way.
        """
        seconds = time_s - self.time_s
        gone, q = abs(seconds), beliefs.acceleration**2
        boxes = self.boxes.copy()
        boxes[:, PLACE] += self.velocity * seconds
        place, joint, speed = (self.motion[..., i] for i in range(3))
        moved = np.stack(
            [
                place + seconds * (2 * joint + seconds * speed) + q * gone**3 / 3,
                joint + seconds * speed + q * gone * seconds / 2,
                speed + q * gone,
            ],
            axis=-1,
        )
        others = self.others + np.array(beliefs.drift) ** 2 * gone
        return replace(self, time_s=time_s, boxes=boxes, motion=moved, others=others)

    def taken(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Tracks:
        """Some of them, by mask or index."""
        return Tracks(self.time_s, *(values[which] for values in self._values()))

    def _values(self) -> tuple[NDArray[Any], ...]:
        return self.ids, self.boxes, self.velocity, self.scores, self.motion, self.others

    def __add__(self, others: Tracks) -> Tracks:
        """Both, of one time."""
        pairs = zip(self._values(), others._values(), strict=True)
        return Tracks(self.time_s, *(np.concatenate(pair) for pair in pairs))


def nothing(time_s: float) -> Tracks:
    """No objects."""
    empty = np.zeros((0, 3))
    return Tracks(
        time_s, np.zeros(0, np.int64), np.zeros((0, BOX_FIELDS)), empty, np.zeros(0),
        np.zeros((0, 3, 3)), np.zeros((0, 4)),
    )  # fmt: skip


def born(
    time_s: float, ids: NDArray[np.int64], boxes: Floats, scores: Floats, beliefs: Beliefs
) -> Tracks:
    """Objects seen for the first time."""
    count, variances = len(ids), beliefs.measured()
    motion = np.zeros((count, 3, 3))
    motion[..., 0], motion[..., 2] = variances[PLACE], beliefs.speed**2
    others = np.tile(variances[OTHERS], (count, 1))
    return Tracks(time_s, ids, boxes.copy(), np.zeros((count, 3)), scores.copy(), motion, others)


def corrected(tracks: Tracks, seen: Floats, scores: Floats, beliefs: Beliefs) -> Tracks:
    """The tracks after each was seen as a box; seen: float64 (n, 7), scores: (n,)."""
    variances = beliefs.measured()
    boxes, seen = tracks.boxes.copy(), seen.copy()
    seen[:, YAW] = boxes[:, YAW] + _nearest_turn(seen[:, YAW] - boxes[:, YAW])
    place, joint, speed = (tracks.motion[..., i] for i in range(3))
    spread = place + variances[PLACE]
    gain, gain_v = place / spread, joint / spread
    missed = seen[:, PLACE] - boxes[:, PLACE]
    boxes[:, PLACE] += gain * missed
    velocity = tracks.velocity + gain_v * missed
    motion = np.stack([(1 - gain) * place, (1 - gain) * joint, speed - gain_v * joint], axis=-1)
    gain_others = tracks.others / (tracks.others + variances[OTHERS])
    boxes[:, OTHERS] += gain_others * (seen[:, OTHERS] - boxes[:, OTHERS])
    boxes[:, YAW] = _wrapped(boxes[:, YAW])
    others = (1 - gain_others) * tracks.others
    return replace(
        tracks, boxes=boxes, velocity=velocity, scores=scores.copy(), motion=motion, others=others
    )


def _wrapped(angle: Floats) -> Floats:
    """Into [-pi, pi)."""
    wrapped: Floats = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def _nearest_turn(angle: Floats) -> Floats:
    """The least turn, a detector being often wrong by half a turn about which end is the front."""
    turn = _wrapped(angle)
    opposite: Floats = np.where(np.abs(turn) > np.pi / 2, _wrapped(turn + np.pi), turn)
    return opposite
