"""Synthetic drives with exact truth: camera, LiDAR and radar, apart and together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.detection.measure import (
    LEAST_PIXELS,
    MOST_APART_M,
    WITHIN_M,
    Found,
    Tally,
    Truth,
    in_picture,
    same_pictures,
    same_places,
    tally,
)
from infer.drives.recording import Truth as DriveTruth
from infer.drives.recording import frames
from infer.drives.rig import CAMERA, LIDAR, RADAR
from infer.frames.bundle import SensorFrame
from infer.fusion.fuser import fuse
from infer.fusion.lidar_objects import LidarDetector
from infer.fusion.objects import CYCLIST, NONE, PEDESTRIAN, VEHICLE, Objects
from infer.fusion.own_motion import own_velocity
from infer.fusion.pictures import view_of
from infer.fusion.with_radar import RadarView
from infer.perception.radar import Radar

FRAMES_OF_A_DRIVE = 25
LEAST_VISIBLE, MOST_OCCLUDED = 0.3, 0.7  # of the camera's view, of the LiDAR's: else not counted
KINDS = (VEHICLE, PEDESTRIAN, CYCLIST)
SENSORS = ("camera", "lidar", "fused")
MOST_POINTS = 130_000
HALF_A_CAR_M = 2.0


@dataclass(slots=True)
class Speeds:
    """What the radar added. errors: of radial speeds, m/s. right: targets that were given to what
    they are of; given: all that were given to what is there.
    """

    errors: list[float] = field(default_factory=list)
    right: int = 0
    given: int = 0


@dataclass(slots=True)
class Statistics:
    """By sensor and class; and the radar's."""

    frames: int = 0
    tallies: dict[tuple[str, int], Tally] = field(
        default_factory=lambda: {(sensor, kind): Tally() for sensor in SENSORS for kind in KINDS}
    )
    speeds: Speeds = field(default_factory=Speeds)


def over_drives(count: int) -> Statistics:
    """Of so many frames, FRAMES_OF_A_DRIVE from each of as many drives as that takes."""
    total, detector = Statistics(), LidarDetector(MOST_POINTS)
    for seed in range(-(-count // FRAMES_OF_A_DRIVE)):
        for frame, truth in frames(seed, min(count - total.frames, FRAMES_OF_A_DRIVE)):
            _count(total, f"{seed}/{frame.stamp_us}", frame, truth, detector)
            total.frames += 1
    return total


def _count(
    total: Statistics, name: str, frame: SensorFrame, truth: DriveTruth, detector: LidarDetector
) -> None:
    points = frame.lidars[0].points
    view = view_of(
        frame.calibration.cameras[CAMERA],
        frame.calibration.pose(CAMERA, LIDAR),
        truth.detections,
    )
    radars = radar_of(frame)
    seen = detector.detect(points)
    alone, both = fuse(points, seen), fuse(points, seen, [view], radars)
    needed = must_be_found(truth)
    pictures = Truth(truth.picture.boxes, truth.kinds, needed)
    space = Truth(truth.boxes, truth.kinds, needed)
    large = view.boxes[:, 3] - view.boxes[:, 1] >= LEAST_PIXELS
    camera = Found(view.boxes, view.kinds, view.scores, large)
    for kind in KINDS:
        tally(total.tallies["camera", kind], name, kind, camera, pictures, same_pictures)
        for sensor, objects in (("lidar", alone), ("fused", both)):
            found, _ = in_picture(objects, view)
            tally(total.tallies[sensor, kind], name, kind, found, space, same_places)
    for radar in radars:
        _count_speeds(total.speeds, both, truth, radar)


def radar_of(frame: SensorFrame) -> list[RadarView]:
    """The frame's radar, if what it sees says how it moves itself."""
    [radar] = frame.radars
    targets = radar.targets[radar.valid]
    own = own_velocity(targets)
    if own is None:
        return []
    pose = frame.calibration.pose(RADAR, LIDAR)
    return [RadarView(targets, pose, Radar(own, range_m=HALF_A_CAR_M))]


def must_be_found(truth: DriveTruth) -> NDArray[np.bool_]:
    """Whether not to find each thing is a miss: near, and no sensor's view of it is cut off."""
    boxes = truth.picture.boxes
    needed: NDArray[np.bool_] = (
        (np.hypot(*truth.boxes[:, :2].T) <= WITHIN_M)
        & (truth.boxes[:, 0] > 0)
        & (boxes[:, 3] - boxes[:, 1] >= LEAST_PIXELS)
        & (truth.picture.visible >= LEAST_VISIBLE)
        & (truth.occlusion <= MOST_OCCLUDED)
    )
    return needed


def _count_speeds(total: Speeds, objects: Objects, truth: DriveTruth, radar: RadarView) -> None:
    """Of objects that a radar saw and that are there."""
    for i in np.flatnonzero(objects.targets != NONE).tolist():
        apart = np.hypot(*(truth.boxes[:, :2] - objects.boxes[i, :2]).T)
        at = int(apart.argmin())
        if apart[at] > MOST_APART_M:
            continue
        total.given += 1
        total.right += bool(truth.echo_of[objects.targets[i]] == at)
        beam = radar.from_objects.apply(truth.boxes[at, :3])[:2]
        beam = radar.from_objects.rotation[:2, :2].T @ beam / np.hypot(*beam)
        total.errors.append(float((objects.velocity[i] - truth.velocity[at]) @ beam))
