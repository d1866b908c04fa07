"""Radar targets and the objects they may come from: gated and nearest by Mahalanobis distance.

targets: float32 (n, 4): range along the ground, cosine and sine of the azimuth, radial speed.
objects: float32 (m, 4), x y vx vy in the radar's frame over the ground, with their
covariances, float32 (m, 16), row by row. `radar` is float32: the radar's own velocity (x, y), the
variances of range, azimuth and speed, and the gate, a squared distance.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array, Float32, lower

OWN_VX, OWN_VY, VAR_RANGE, VAR_AZIMUTH, VAR_SPEED, GATE = range(6)
RADAR_FIELDS = 6

# One number holds distance and index of an object's nearest target: the distance decides.
FINENESS = np.float32(1024)
TARGET_SHIFT = 32
NO_TARGET = (1 << 62) - 1
NO_OBJECT = -1


def squared_distance(
    i: int, j: int, targets: Array, objects: Array, covariances: Array, radar: Array
) -> Float32:
    """Of target i from object j, over place and radial speed together.

    The measurement is (x, y, speed along the beam), its noise that of range and azimuth turned to x
    and y. S = H P H' + R is 3 x 3; its inverse is written out.
    """
    away, c, s = targets[i, 0], targets[i, 1], targets[i, 2]
    dx, dy = away * c - objects[j, 0], away * s - objects[j, 1]
    vx, vy = objects[j, 2] - radar[OWN_VX], objects[j, 3] - radar[OWN_VY]
    dv = targets[i, 3] - (vx * c + vy * s)
    p, along, across = covariances, radar[VAR_RANGE], away * away * radar[VAR_AZIMUTH]
    sxx = p[j, 0] + along * c * c + across * s * s
    sxy = p[j, 1] + (along - across) * c * s
    syy = p[j, 5] + along * s * s + across * c * c
    sxv = p[j, 2] * c + p[j, 3] * s
    syv = p[j, 6] * c + p[j, 7] * s
    svv = p[j, 10] * c * c + (p[j, 11] + p[j, 14]) * c * s + p[j, 15] * s * s + radar[VAR_SPEED]
    axx, axy, axv = syy * svv - syv * syv, sxv * syv - sxy * svv, sxy * syv - sxv * syy
    ayy, ayv, avv = sxx * svv - sxv * sxv, sxy * sxv - sxx * syv, sxx * syy - sxy * sxy
    determinant = sxx * axx + sxy * axy + sxv * axv
    form = dx * dx * axx + dy * dy * ayy + dv * dv * avv
    mixed = dx * dy * axy + dx * dv * axv + dy * dv * ayv
    return (form + mixed + mixed) / determinant


def associate_target(
    i: int,
    targets: Array,
    objects: Array,
    covariances: Array,
    radar: Array,
    object_of: Array,
    distances: Array,
) -> None:
    """The nearest object within the gate, NO_OBJECT for none; of equals the first."""
    object_of[i], distances[i] = NO_OBJECT, radar[GATE]
    for j in range(objects.shape[0]):
        squared = squared_distance(i, j, targets, objects, covariances, radar)
        if squared >= np.float32(0) and squared < distances[i]:
            object_of[i], distances[i] = j, squared


def note_nearest(i: int, object_of: Array, distances: Array, nearest: Array) -> None:
    """Target i may be its object's nearest; of equals the first."""
    if object_of[i] != NO_OBJECT:
        lower(nearest, object_of[i], (int(distances[i] * FINENESS) << TARGET_SHIFT) + i)
