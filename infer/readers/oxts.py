"""KITTI's inertial unit: one line of 30 numbers a sweep (OXTS RT 3003).

A line holds latitude, longitude (degrees), altitude (m), roll, pitch, yaw (rad), and further down
accelerations (m/s2) and turn rates (rad/s) about x, y, z. Positions are projected as the raw data's
development kit does: Mercator, scaled by the cosine of the first latitude.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from infer.frames.measurements import EgoPose, ImuSample
from infer.frames.pose import Pose
from mesh.core.errors import ContentRefused

FIELDS = 30
_EARTH_M = 6378137.0
_ACCELERATION, _TURN_RATE = 11, 17


def parse_line(text: str) -> tuple[float, ...]:
    """The numbers of a line. Raises ContentRefused."""
    try:
        numbers = tuple(float(word) for word in text.split(maxsplit=FIELDS))[:FIELDS]
    except ValueError:
        numbers = ()
    if len(numbers) < FIELDS or not all(map(math.isfinite, numbers)) or not _on_earth(numbers):
        raise ContentRefused(
            what="an inertial measurement is refused",
            why=f"{text[:60]!r} does not begin with {FIELDS} numbers, a latitude first",
            fix="Check the recording's oxts files.",
        )
    return numbers


def pose(line: Sequence[float], first: Sequence[float], stamp_us: int) -> EgoPose:
    """world_from_ego; the world's origin is where the recording's first line was."""
    scale = math.cos(math.radians(first[0]))
    place = np.subtract(_mercator(line, scale), _mercator(first, scale))
    roll, pitch, yaw = line[3:6]
    cr, sr, cp, sp = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    rotation = np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
    return EgoPose("oxts", stamp_us, Pose("world", "ego", rotation, place))


def imu(line: Sequence[float], stamp_us: int) -> ImuSample:
    """Accelerations and turn rates, ego frame."""
    a, w = line[_ACCELERATION : _ACCELERATION + 3], line[_TURN_RATE : _TURN_RATE + 3]
    return ImuSample("oxts", "ego", stamp_us, (a[0], a[1], a[2]), (w[0], w[1], w[2]))


def _mercator(line: Sequence[float], scale: float) -> tuple[float, float, float]:
    latitude, longitude, altitude = line[:3]
    return (
        scale * math.radians(longitude) * _EARTH_M,
        scale * _EARTH_M * math.log(math.tan(math.radians(90 + latitude) / 2)),
        altitude,
    )


def _on_earth(numbers: Sequence[float]) -> bool:
    return abs(numbers[0]) < 89 and abs(numbers[1]) <= 360
