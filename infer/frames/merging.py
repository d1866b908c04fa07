"""All LiDAR scans of a cycle as one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.frames.bundle import SensorFrame
from infer.frames.measurements import LidarScan
from infer.sweep import MAX_POINTS
from mesh.core.errors import ContentRefused

RINGS_APART = 1024  # of one scan's from the next one's


def merged(frame: SensorFrame, place: str = "") -> LidarScan:
    """The scans in one frame of reference: `place`, or by default the first scan's.

    Points keep their measurements' places: nothing is moved for the vehicle's motion between scans.
    Rings tell the scanners apart; they and times are kept where every scan has them. Raises
    ContentRefused if there is no scan or too many points, Misuse if the calibration does not say
    where a scanner stands.
    """
    if not frame.lidars:
        raise _refused("no LiDAR measured anything in it")
    first = frame.lidars[0]
    place = place or first.frame
    if len(frame.lidars) == 1 and first.frame == place:
        return first
    if (total := sum(len(scan.points) for scan in frame.lidars)) > MAX_POINTS:
        raise _refused(f"its scans have {total} points, and at most {MAX_POINTS} are taken")
    points = [_moved(frame, scan, place) for scan in frame.lidars]
    rings = [
        scan.rings % RINGS_APART + np.uint16(RINGS_APART * number)
        for number, scan in enumerate(frame.lidars)
        if scan.rings is not None
    ]
    times = [
        scan.times_us + np.int32(scan.stamp_us - first.stamp_us)
        for scan in frame.lidars
        if scan.times_us is not None
    ]
    return LidarScan(
        first.sensor,
        place,
        first.stamp_us,
        np.concatenate(points),
        np.concatenate(times) if len(times) == len(points) else None,
        np.concatenate(rings) if len(rings) == len(points) else None,
    )


def _moved(frame: SensorFrame, scan: LidarScan, place: str) -> NDArray[np.float32]:
    if scan.frame == place:
        return scan.points
    moved = scan.points.copy()
    moved[:, :3] = frame.calibration.pose(place, scan.frame).apply(scan.points[:, :3])
    return moved


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="a sensor frame has no sweep", why=why, fix="Check the recording's LiDAR topics."
    )
