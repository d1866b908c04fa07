"""What is known of a tracked object as time goes by and when it is seen: a Kalman filter per axis.

boxes: (n, 7), centre x y z, length, width, height, yaw. velocity: (n, 3). motion: (n, 3, 3), of
each axis the variance of position, its covariance with velocity, the variance of velocity. others:
(n, 4), variances of length, width, height, yaw. noises: see below, per second. seconds: may be
negative. Arrays are of float32 or float64, all of one; constants are exact in both.

White noise accelerates motion of constant velocity (Y. Bar-Shalom, X. Li and T. Kirubarajan,
"Estimation with Applications to Tracking and Navigation", 2001, 6.2.2).
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array, Float32

PLACES, OTHERS, BOX = 3, 4, 7  # fields of a box: its place, its size and yaw, both
VAR_PLACE, JOINT, VAR_SPEED = range(3)
# Of noises: of acceleration, of size and yaw (4), of swerving, of sliding (see `turning`).
ACCELERATING, DRIFTING, SWERVING, SLIDING = 0, 1, 5, 6
NOISES = 7

UNIT, PAIR, TRIPLE = np.float32(1), np.float32(2), np.float32(3)


def advance_axis(
    i: int, axis: int, seconds: Float32, noises: Array, boxes: Array, velocity: Array, motion: Array
) -> None:
    """Carry track i along one axis."""
    gone, noise = abs(seconds), noises[ACCELERATING]
    joint, speed = motion[i, axis, JOINT], motion[i, axis, VAR_SPEED]
    boxes[i, axis] += velocity[i, axis] * seconds
    motion[i, axis, VAR_PLACE] += seconds * (PAIR * joint + seconds * speed)
    motion[i, axis, VAR_PLACE] += noise * gone * gone * gone / TRIPLE
    motion[i, axis, JOINT] += seconds * (speed + noise * gone / PAIR)
    motion[i, axis, VAR_SPEED] += noise * gone


def drift_others(i: int, count: int, seconds: Float32, noises: Array, others: Array) -> None:
    """The first `count` of size and yaw of track i become less certain."""
    for k in range(count):
        others[i, k] += noises[DRIFTING + k] * abs(seconds)


def advance_track(
    i: int,
    seconds: Float32,
    noises: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
) -> None:
    """Carry track i straight on."""
    for axis in range(PLACES):
        advance_axis(i, axis, seconds, noises, boxes, velocity, motion)
    drift_others(i, OTHERS, seconds, noises, others)


def correct_axis(
    i: int,
    axis: int,
    seen: Array,
    variances: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
) -> None:
    """Track i was seen at a place."""
    place, joint = motion[i, axis, VAR_PLACE], motion[i, axis, JOINT]
    spread = place + variances[axis]
    gain, gain_of_speed = place / spread, joint / spread
    off = seen[i, axis] - boxes[i, axis]
    boxes[i, axis] += gain * off
    velocity[i, axis] += gain_of_speed * off
    motion[i, axis, VAR_PLACE] = (UNIT - gain) * place
    motion[i, axis, JOINT] = (UNIT - gain) * joint
    motion[i, axis, VAR_SPEED] -= gain_of_speed * joint


def correct_others(
    i: int, count: int, seen: Array, variances: Array, boxes: Array, others: Array
) -> None:
    """The first `count` of size and yaw of track i were seen."""
    for k in range(count):
        field = PLACES + k
        gain = others[i, k] / (others[i, k] + variances[field])
        boxes[i, field] += gain * (seen[i, field] - boxes[i, field])
        others[i, k] *= UNIT - gain


def correct_track(
    i: int,
    seen: Array,
    variances: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
) -> None:
    """Track i was seen as a box; seen: (n, 7), each yaw within half a turn of the track's."""
    for axis in range(PLACES):
        correct_axis(i, axis, seen, variances, boxes, velocity, motion)
    correct_others(i, OTHERS, seen, variances, boxes, others)
