"""What is done to a sensor frame before its sweep goes up: one scan of it, its skew taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infer.frames.bundle import SensorFrame
from infer.frames.measurements import LidarScan
from infer.frames.merging import merged
from infer.frames.pose import Pose
from infer.perception import se3
from infer.perception.motion import Motion, deskew
from mesh.core.errors import Misuse
from mesh.core.loop import monotonic_us

LONGEST_S = 1.0  # between two poses: over a longer gap the motion is not known
FASTEST = 100.0  # m/s, and
FASTEST_TURN = 5.0  # rad/s: poses that far apart are not of one drive


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A sweep, and where its sensor was.

    scan: of all LiDARs, as at one moment where `deskewed`. world_from_sensor: None where the
    recording does not say. deskew_us: what taking the skew out took, 0 where there was none to do.
    """

    stamp_us: int
    scan: LidarScan
    world_from_sensor: Pose | None
    deskewed: bool
    deskew_us: int


class Preparation:
    """Makes sightings of a drive's frames, in order; it remembers where the sensor was last.

    place: the frame of reference that sweeps are wanted in, "" for the first scan's. compensated:
    whether the recording's points are of one moment already.
    """

    def __init__(self, place: str = "", *, compensated: bool = False) -> None:
        self._place, self._compensated = place, compensated
        self._before: tuple[int, Pose] | None = None

    def prepare(self, frame: SensorFrame) -> Sighting | None:
        """Of a frame; None where no LiDAR measured anything. Raises ContentRefused, Misuse.

        Each point is carried to the stamp by the motion between the last pose and this one, which
        is taken to go on. So the first sweep keeps its skew, and one without poses or times.
        """
        if not frame.lidars:
            return None
        scan = merged(frame, self._place)
        pose = sensor_pose(frame, scan.frame)
        motion = self._motion(frame.stamp_us, pose)
        if motion is None or self._compensated or scan.times_us is None:
            return Sighting(frame.stamp_us, scan, pose, False, 0)
        began_us = monotonic_us()
        still = replace(scan, points=deskew(scan.points, scan.times_us, motion))
        return Sighting(frame.stamp_us, still, pose, True, monotonic_us() - began_us)

    def _motion(self, stamp_us: int, pose: Pose | None) -> Motion | None:
        """The sensor's, from its last pose to this; None where that says nothing."""
        before, self._before = self._before, None if pose is None else (stamp_us, pose)
        if before is None or pose is None or before[1].target != pose.target:
            return None
        seconds = (stamp_us - before[0]) / 1e6
        if not 0 < seconds <= LONGEST_S:
            return None
        twist: NDArray[np.float64] = se3.log((before[1].inverse() @ pose).matrix()) / seconds
        if np.linalg.norm(twist[:3]) > FASTEST or np.linalg.norm(twist[3:]) > FASTEST_TURN:
            return None
        return Motion.constant(twist[:3], twist[3:])


def sensor_pose(frame: SensorFrame, sensor: str) -> Pose | None:
    """world_from_sensor at the frame's stamp; None where poses or calibration do not say."""
    if frame.ego is None:
        return None
    try:
        return frame.ego.pose @ frame.calibration.pose(frame.ego.pose.source, sensor)
    except Misuse:  # the vehicle's pose is of a part that the sensor is not known to be on
        return None
