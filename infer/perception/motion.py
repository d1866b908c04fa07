"""De-skew: a spinning sensor's points, each taken at its own time, as if all were taken at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infer.kernels.bodies.motion import ROTATE, SEGMENT_FIELDS, SHIFT, START, VX, WX
from infer.kernels.threads import kernels_for
from infer.perception import se3
from infer.perception.clouds import checked
from mesh.core.errors import ContentRefused, Misuse

Floats = NDArray[np.float64]

MOST_TURN = 1.0  # radians within one segment: what the kernel's series reach


@dataclass(frozen=True, slots=True)
class Motion:
    """How the sensor moves during a sweep: constant twists between known poses.

    segments: float64 (k, SEGMENT_FIELDS), see `infer.kernels.bodies.motion`. Times count in seconds
    from the sweep's stamp.
    """

    segments: Floats

    @classmethod
    def constant(cls, velocity: ArrayLike, turn_rate: ArrayLike) -> Motion:
        """velocity: m/s, turn_rate: rad/s, in the sensor's own frame; points go to time 0."""
        segments = np.zeros((1, SEGMENT_FIELDS))
        segments[0, VX : VX + 3], segments[0, WX : WX + 3] = velocity, turn_rate
        segments[0, ROTATE:SHIFT] = np.eye(3).ravel()
        return cls(segments)

    @classmethod
    def between(
        cls, times_s: Sequence[float], world_from_sensor: Floats, target_from_world: Floats
    ) -> Motion:
        """Between poses (k, 4, 4) at growing times, k >= 2; points go to the target's frame.

        That is usually the sensor at the time that counts, or a frame of the world's directions.
        Raises Misuse for fewer poses or times that do not grow.
        """
        times = np.asarray(times_s, np.float64)
        if len(times) < 2 or len(times) != len(world_from_sensor) or not (np.diff(times) > 0).all():
            raise Misuse(
                what="this is no motion",
                why=f"{len(world_from_sensor)} poses come with {len(times)} times, not all growing",
                fix="Give at least two poses, each with a later time.",
            )
        segments = np.zeros((len(times) - 1, SEGMENT_FIELDS))
        for k, row in enumerate(segments):
            pose, after = world_from_sensor[k], world_from_sensor[k + 1]
            row[START] = times[k]
            row[VX : VX + 6] = se3.log(se3.inverse(pose) @ after) / (times[k + 1] - times[k])
            there = target_from_world @ pose
            row[ROTATE:SHIFT], row[SHIFT:] = there[:3, :3].ravel(), there[:3, 3]
        return cls(segments)


def deskew(
    points: NDArray[np.float32],
    times_us: NDArray[np.int32],
    motion: Motion,
    *,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Points float32 (n, 4), each carried from its own time to the motion's target; (n, 4).

    times_us: int32 (n,), from the sweep's stamp to each (`LidarScan.times_us`). Before the first
    pose and after the last the nearest twist goes on. Raises Misuse for other shapes,
    ContentRefused where the sensor turns more than a radian within a segment or anything is not
    finite.
    """
    points = checked(points, len(points))
    if times_us.shape != (len(points),) or times_us.dtype != np.int32:
        raise Misuse(
            what="these are no times of these points",
            why=f"they are {times_us.dtype} {times_us.shape} for {len(points)} points",
            fix="Give an int32 for each point.",
        )
    carried = np.empty(points.shape, np.float32)
    if len(points):
        _check(motion.segments, times_us.min() / 1e6, times_us.max() / 1e6)
        times = np.ascontiguousarray(times_us).view()
        times.flags.writeable = False
        segments = motion.segments.astype(np.float32)
        kernels_for(threads).carry_points(points, times, segments, carried, threads)
    return carried


def _check(segments: Floats, first: float, last: float) -> None:
    """Raises ContentRefused where the kernel's series would not reach, or nothing is to be said."""
    begins = segments[:, START].copy()
    ends = np.append(begins[1:], max(last, begins[-1]))
    begins[0] = min(begins[0], first)
    longest = np.maximum(ends - segments[:, START], segments[:, START] - begins)
    turned = np.linalg.norm(segments[:, WX : WX + 3], axis=1) * longest
    if not (np.isfinite(segments).all() and (turned <= MOST_TURN).all()):
        raise ContentRefused(
            what="the sweep cannot be de-skewed",
            why=f"its motion is not finite, or turns by {turned.max():.3g} rad between two poses",
            fix=f"Give poses at most {MOST_TURN} rad and times within the sweep apart.",
        )
