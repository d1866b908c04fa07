"""Points carried to where they would have been measured at one moment of the sweep.

A motion is a table of segments, float32 (k, SEGMENT_FIELDS), in order of time. From its START on
the sensor moves with one constant twist: VX.. (m/s) and WX.. (rad/s), both in its own frame. ROTATE
and SHIFT then take what was measured at START to the moment that counts.
"""

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array, Float32

START, VX, VY, VZ, WX, WY, WZ, ROTATE = range(8)
SHIFT = ROTATE + 9
SEGMENT_FIELDS = SHIFT + 3

# sin(a)/a, (1 - cos a)/a^2 and (a - sin a)/a^3 as series in a^2: exact to float32 up to 1 rad.
ONE = np.float32(1)
MICROSECOND = np.float32(1e-6)
SINE = tuple(np.float32(c) for c in (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880))
COSINE = tuple(np.float32(c) for c in (1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800))
REST = tuple(np.float32(c) for c in (1 / 6, -1 / 120, 1 / 5040, -1 / 362880))


def segment_at(t: Float32, segments: Array) -> int:
    """The segment of time t: the last that has started, else the first."""
    k = 0
    while k + 1 < segments.shape[0] and t >= segments[k + 1, START]:
        k += 1
    return k


def carry_point(i: int, points: Array, times_us: Array, segments: Array, carried: Array) -> None:
    """Carry point i from its own time along the exponential of the sensor's twist.

    R = 1 + A [a] + B [a]^2 and V = 1 + B [a] + C [a]^2 with a = w t; p' = R p + V v t. After
    J. Blanco, "A tutorial on SE(3) transformation parameterizations", University of Malaga 2010.
    """
    t = np.float32(times_us[i]) * MICROSECOND
    k = segment_at(t, segments)
    t -= segments[k, START]
    ax, ay, az = segments[k, WX] * t, segments[k, WY] * t, segments[k, WZ] * t
    q = ax * ax + ay * ay + az * az
    a = ONE + q * (SINE[0] + q * (SINE[1] + q * (SINE[2] + q * SINE[3])))
    b = COSINE[0] + q * (COSINE[1] + q * (COSINE[2] + q * (COSINE[3] + q * COSINE[4])))
    c = REST[0] + q * (REST[1] + q * (REST[2] + q * REST[3]))
    # What is turned by A and B, and what by B and C: the point, and how far the sensor came.
    px, py, pz = points[i, 0], points[i, 1], points[i, 2]
    sx, sy, sz = segments[k, VX] * t, segments[k, VY] * t, segments[k, VZ] * t
    ux, uy, uz = a * px + b * sx, a * py + b * sy, a * pz + b * sz
    wx, wy, wz = b * px + c * sx, b * py + c * sy, b * pz + c * sz
    # [a] (u + [a] w), which spares a cross product.
    ux, uy, uz = ux + ay * wz - az * wy, uy + az * wx - ax * wz, uz + ax * wy - ay * wx
    x = px + sx + ay * uz - az * uy
    y = py + sy + az * ux - ax * uz
    z = pz + sz + ax * uy - ay * ux
    for row in range(3):
        at = ROTATE + 3 * row
        carried[i, row] = (
            segments[k, at] * x
            + segments[k, at + 1] * y
            + segments[k, at + 2] * z
            + segments[k, SHIFT + row]
        )
    carried[i, 3] = points[i, 3]
