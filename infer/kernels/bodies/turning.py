"""Tracked objects that turn as they go: constant turn rate and velocity (CTRV), extended Kalman.

course: (n, 2), speed along the heading (m/s, backwards below 0) and turn rate (rad/s). joint:
(n, 5, 5), covariance of x, y, yaw, speed and turn rate. turns: (n, 2), cosine and sine of each yaw.
Height and sizes are as in `kalman`, and so is what is not explained here.

R. Schubert, E. Richter and G. Wanielik, "Comparison and Evaluation of Advanced Motion Models for
Vehicle Tracking", FUSION 2008. Their displacement is written as a chord: along the heading of half
the turn h, of length v t sin(h) / h, which needs no case for going straight on.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.kalman import (
    ACCELERATING,
    DRIFTING,
    JOINT,
    OTHERS,
    PAIR,
    PLACES,
    SLIDING,
    SWERVING,
    TRIPLE,
    UNIT,
    VAR_PLACE,
    VAR_SPEED,
    advance_axis,
    correct_axis,
    correct_others,
    drift_others,
)
from infer.kernels.bodies.shared import Array, Float32

AT_X, AT_Y, HEADING, SPEED, TURN_RATE = range(5)
COURSE_FIELDS = 5
SIZES = OTHERS - 1
YAW_FIELD = PLACES + SIZES  # of a box
UP = 2  # the axis that stays as it was

MOST_HALF_TURN = np.float32(1)  # radians: nobody can tell of a turn that goes on for longer
# sin(h) / h, its derivative over h, and cos(h), in h^2, up to MOST_HALF_TURN.
CHORD = tuple(np.float32(c) for c in (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880))
CHORD_SLOPE = tuple(np.float32(c) for c in (-1 / 3, 1 / 30, -1 / 840, 1 / 45360))
HALF_COSINE = tuple(np.float32(c) for c in (-1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800))


def shear(i: int, to: int, source: int, factor: Float32, joint: Array) -> None:
    """Add to one row of the covariance another times `factor`, and so for the columns."""
    for k in range(COURSE_FIELDS):
        joint[i, to, k] += factor * joint[i, source, k]
    for k in range(COURSE_FIELDS):
        joint[i, k, to] += factor * joint[i, k, source]


def advance_turning(
    i: int,
    seconds: Float32,
    noises: Array,
    turns: Array,
    boxes: Array,
    course: Array,
    joint: Array,
) -> None:
    """Carry track i around its turn, over the ground."""
    speed, half = course[i, 0], course[i, 1] * seconds / PAIR
    turning = abs(half) < MOST_HALF_TURN
    half = max(min(half, MOST_HALF_TURN), -MOST_HALF_TURN)
    q = half * half
    a, b, d = CHORD, CHORD_SLOPE, HALF_COSINE
    chord = UNIT + q * (a[0] + q * (a[1] + q * (a[2] + q * a[3])))
    slope = half * (b[0] + q * (b[1] + q * (b[2] + q * b[3])))
    cosine = UNIT + q * (d[0] + q * (d[1] + q * (d[2] + q * (d[3] + q * d[4]))))
    sine = half * chord
    c = turns[i, 0] * cosine - turns[i, 1] * sine
    s = turns[i, 1] * cosine + turns[i, 0] * sine
    way = speed * seconds
    boxes[i, AT_X] += way * chord * c
    boxes[i, AT_Y] += way * chord * s
    boxes[i, YAW_FIELD] += PAIR * half
    # F P F': F differs from the unit matrix in these rows alone, one after another.
    shear(i, AT_X, HEADING, -way * chord * s, joint)
    shear(i, AT_Y, HEADING, way * chord * c, joint)
    shear(i, AT_X, SPEED, seconds * chord * c, joint)
    shear(i, AT_Y, SPEED, seconds * chord * s, joint)
    if turning:
        reach = way * seconds / PAIR
        shear(i, AT_X, TURN_RATE, reach * (slope * c - chord * s), joint)
        shear(i, AT_Y, TURN_RATE, reach * (slope * s + chord * c), joint)
        shear(i, HEADING, TURN_RATE, seconds, joint)
    add_noise(i, seconds, c, s, noises, joint)


def add_noise(
    i: int, seconds: Float32, c: Float32, s: Float32, noises: Array, joint: Array
) -> None:
    """What accelerates along (c, s), swerves and slides meanwhile."""
    gone, accelerating, swerving = abs(seconds), noises[ACCELERATING], noises[SWERVING]
    cubed = gone * gone * gone / TRIPLE
    along, sliding = accelerating * cubed, noises[SLIDING] * gone
    joint[i, AT_X, AT_X] += along * c * c + sliding
    joint[i, AT_Y, AT_Y] += along * s * s + sliding
    joint[i, AT_X, AT_Y] += along * c * s
    joint[i, AT_Y, AT_X] += along * c * s
    along = accelerating * gone * seconds / PAIR
    joint[i, AT_X, SPEED] += along * c
    joint[i, SPEED, AT_X] += along * c
    joint[i, AT_Y, SPEED] += along * s
    joint[i, SPEED, AT_Y] += along * s
    joint[i, SPEED, SPEED] += accelerating * gone
    joint[i, HEADING, HEADING] += swerving * cubed + noises[DRIFTING + SIZES] * gone
    joint[i, HEADING, TURN_RATE] += swerving * gone * seconds / PAIR
    joint[i, TURN_RATE, HEADING] += swerving * gone * seconds / PAIR
    joint[i, TURN_RATE, TURN_RATE] += swerving * gone


def correct_field(
    i: int, field: int, off: Float32, variance: Float32, boxes: Array, course: Array, joint: Array
) -> None:
    """One of x, y and yaw of track i was seen `off` from where it was believed.

    Noises of the three are independent, so one after another is as all at once, and no matrix is
    inverted.
    """
    share = off / (joint[i, field, field] + variance)
    boxes[i, AT_X] += joint[i, AT_X, field] * share
    boxes[i, AT_Y] += joint[i, AT_Y, field] * share
    boxes[i, YAW_FIELD] += joint[i, HEADING, field] * share
    course[i, 0] += joint[i, SPEED, field] * share
    course[i, 1] += joint[i, TURN_RATE, field] * share
    known = UNIT / (joint[i, field, field] + variance)
    for row in range(COURSE_FIELDS):
        for column in range(COURSE_FIELDS):
            if field not in (row, column):
                less = joint[i, row, field] * joint[i, field, column] * known
                joint[i, row, column] -= less
    for k in range(COURSE_FIELDS):
        if k != field:
            joint[i, k, field] *= variance * known
            joint[i, field, k] *= variance * known
    joint[i, field, field] *= variance * known


def advance_turning_track(
    i: int,
    seconds: Float32,
    noises: Array,
    turns: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
    course: Array,
    joint: Array,
) -> None:
    """Carry track i around its turn, its height straight on."""
    advance_turning(i, seconds, noises, turns, boxes, course, joint)
    advance_axis(i, UP, seconds, noises, boxes, velocity, motion)
    drift_others(i, SIZES, seconds, noises, others)


def correct_turning_track(
    i: int,
    seen: Array,
    variances: Array,
    boxes: Array,
    velocity: Array,
    motion: Array,
    others: Array,
    course: Array,
    joint: Array,
) -> None:
    """Track i was seen as a box; see `correct_track`."""
    for field in (AT_X, AT_Y):
        off = seen[i, field] - boxes[i, field]
        correct_field(i, field, off, variances[field], boxes, course, joint)
    off = seen[i, YAW_FIELD] - boxes[i, YAW_FIELD]
    correct_field(i, HEADING, off, variances[YAW_FIELD], boxes, course, joint)
    correct_axis(i, UP, seen, variances, boxes, velocity, motion)
    correct_others(i, SIZES, seen, variances, boxes, others)


def tell_turning(
    i: int, turns: Array, velocity: Array, motion: Array, others: Array, course: Array, joint: Array
) -> None:
    """What is known of track i's motion as `kalman` has it; turns: of the yaws that are now."""
    for axis in range(UP):
        # Of speed times (cosine, sine): along the heading, and by what turning it changes.
        along = turns[i, axis]
        turned = -course[i, 0] * turns[i, 1] if axis == AT_X else course[i, 0] * turns[i, 0]
        velocity[i, axis] = course[i, 0] * along
        motion[i, axis, VAR_PLACE] = joint[i, axis, axis]
        motion[i, axis, JOINT] = along * joint[i, axis, SPEED] + turned * joint[i, axis, HEADING]
        motion[i, axis, VAR_SPEED] = (
            along * along * joint[i, SPEED, SPEED]
            + PAIR * along * turned * joint[i, SPEED, HEADING]
            + turned * turned * joint[i, HEADING, HEADING]
        )
    others[i, SIZES] = joint[i, HEADING, HEADING]
