"""What is known of objects at an instant, and what follows from it for any other. Pure.

Position and velocity are one Kalman filter per axis: motion of constant velocity that white noise
accelerates. Heading and size are filters of one number each. See `infer.kernels.bodies.kalman`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.kalman import ACCELERATING, DRIFTING, NOISES, SLIDING, SWERVING
from infer.kernels.threads import kernels_for
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
    before, m/s. Of objects that turn (`infer.track.turning`) also swerve: of the turn rate, rad/s
    over the root of one second; slide: of place, m over the root of one second; turn_rate: of what
    was never seen before, rad/s. Their drift of heading is `steady`.
    """

    acceleration: float = 4.0
    drift: tuple[float, float, float, float] = (0.05, 0.05, 0.05, 0.5)
    place_m: float = 0.25
    size_m: float = 0.3
    yaw: float = 0.2
    speed: float = 10.0
    swerve: float = 0.5
    slide: float = 0.3
    turn_rate: float = 0.3
    steady: float = 0.1

    def measured(self) -> Floats:
        """Variances of a measured box: float64 (7,)."""
        return np.array([*[self.place_m] * 3, *[self.size_m] * 3, self.yaw]) ** 2

    def noises(self) -> Floats:
        """What kernels take: variances per second."""
        noises = np.empty(NOISES)
        noises[ACCELERATING], noises[SWERVING] = self.acceleration, self.swerve
        noises[DRIFTING : DRIFTING + len(self.drift)] = self.drift
        noises[SLIDING] = self.slide
        squared: Floats = noises**2
        return squared


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

    def at(self, time_s: float, beliefs: Beliefs) -> Self:
        """The same objects at another time: what a late answer says of now.

        Later, or earlier: what is not seen grows more uncertain either way.
        """
        changed = self.state()
        kernels_for(1).advance_tracks(time_s - self.time_s, beliefs.noises(), *changed.values(), 1)
        return replace(self, time_s=time_s, **changed)

    def corrected(self, seen: Floats, scores: Floats, beliefs: Beliefs) -> Self:
        """The objects after each was seen as a box; seen: float64 (n, 7), scores: (n,)."""
        changed = self.state()
        kernels_for(1).correct_tracks(self.faced(seen), beliefs.measured(), *changed.values(), 1)
        boxes = changed["boxes"]
        boxes[:, YAW] = wrapped(boxes[:, YAW])
        return replace(self, scores=scores.copy(), **changed)

    def faced(self, seen: Floats) -> Floats:
        """Boxes seen, each with its heading as the track's and the least turn."""
        yaws = self.boxes[:, YAW]
        faced = seen.copy()
        faced[:, YAW] = yaws + _nearest_turn(seen[:, YAW] - yaws)
        return faced

    def state(self) -> dict[str, Any]:
        """A copy of what time and sightings change, in the kernels' order."""
        return {
            name: getattr(self, name).copy() for name in ("boxes", "velocity", "motion", "others")
        }

    def taken(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """Some of them, by mask or index."""
        return replace(self, **{name: values[which] for name, values in self._values().items()})

    def _values(self) -> dict[str, Any]:
        """All that has a row for each object."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "time_s"
        }

    def __add__(self, others: Self) -> Self:
        """Both, of one time."""
        added = others._values()
        both: dict[str, Any] = {
            name: np.concatenate((own, added[name])) for name, own in self._values().items()
        }
        return replace(self, **both)


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


def wrapped(angle: Floats) -> Floats:
    """Into [-pi, pi)."""
    wrapped: Floats = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def _nearest_turn(angle: Floats) -> Floats:
    """The least turn, a detector being often wrong by half a turn about which end is the front."""
    turn = wrapped(angle)
    opposite: Floats = np.where(np.abs(turn) > np.pi / 2, wrapped(turn + np.pi), turn)
    return opposite
