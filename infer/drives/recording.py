"""Drives as sensor frames with their truth, one after the other; the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infer.drives.camera import Seen, seen
from infer.drives.drive import Drive, Scene
from infer.drives.lidar import HDL64, Noise, Pattern, Sweep, sweep
from infer.drives.photographs import Photographer
from infer.drives.radar import Echoes, RadarNoise, echoes
from infer.drives.rig import LIDAR, calibration
from infer.drives.simulated_detector import SimulatedDetections, Skill, simulated
from infer.drives.solids import Floats
from infer.frames.bundle import SensorFrame
from infer.frames.measurements import EgoPose, LidarScan
from infer.frames.pose import Pose
from infer.fusion.objects import CYCLIST, PEDESTRIAN, VEHICLE, Whole
from infer.perception.motion import Motion, deskew

FIRST_US = 1_000_000  # of a drive: lanes have come to their gaps by then
PERIOD_US = 500_000
KINDS = {
    "car": VEHICLE, "van": VEHICLE, "truck": VEHICLE, "pedestrian": PEDESTRIAN, "cyclist": CYCLIST,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Everything within `infer.drives.drive.AROUND_M` at a frame's stamp, n things, LiDAR's frame.

    ids, classes: as `infer.drives.drive.Actors`. kinds: int64 (n,), classes of
    `infer.fusion.objects`. boxes: float64 (n, 7), see `infer.track.overlap`. velocity: float64
    (n, 2), over the ground along the frame's x and y. points: int64 (n,), the LiDAR's on each.
    occlusion: float64 (n,), share of the LiDAR's rays to each that something nearer took; 1 where
    none reaches it. picture: what the camera sees of each. detections: what a simulated detector
    made of that. echo_of: int64, the thing that each radar target is of, or
    `infer.drives.rays.NOBODY` for what stands, `infer.drives.radar.GHOST`.
    """

    ids: NDArray[np.int64]
    classes: NDArray[np.str_]
    kinds: Whole
    boxes: Floats
    velocity: Floats
    points: NDArray[np.int64]
    occlusion: Floats
    picture: Seen
    detections: SimulatedDetections
    echo_of: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sensors:
    """How well the sensors see, and whether points are carried to the stamp by the true motion."""

    pattern: Pattern = HDL64
    lidar: Noise = field(default_factory=Noise)
    radar: RadarNoise = field(default_factory=RadarNoise)
    camera: Skill = field(default_factory=Skill)
    deskewed: bool = True


def frames(
    seed: int,
    count: int,
    *,
    period_us: int = PERIOD_US,
    sensors: Sensors | None = None,
    photographer: Photographer | None = None,
) -> Iterator[tuple[SensorFrame, Truth]]:
    """A drive's frames, a period apart.

    With a photographer each has a picture; `Truth.detections` stands for a detector without one.
    Raises Misuse if the drive would be too long.
    """
    drive = Drive(seed, (FIRST_US + count * period_us) / 1e6)
    for number in range(count):
        time_us = FIRST_US + number * period_us
        yield frame_at(drive, time_us, sensors or Sensors(), photographer)


def frame_at(
    drive: Drive, time_us: int, sensors: Sensors, photographer: Photographer | None = None
) -> tuple[SensorFrame, Truth]:
    """One frame of a drive: what depends on chance depends on the drive's seed and the time."""
    scene = drive.at(time_us)
    lidar_rng, radar_rng, camera_rng = np.random.default_rng((drive.seed, time_us)).spawn(3)
    turn = sweep(drive, scene, sensors.pattern, sensors.lidar, lidar_rng)
    heard = echoes(scene, sensors.radar, radar_rng)
    picture = seen(scene)
    detections = simulated(picture, scene.actors.classes, camera_rng, sensors.camera)
    scan = _deskewed(drive, turn.scan, sensors.pattern) if sensors.deskewed else turn.scan
    frame = SensorFrame(
        time_us,
        calibration(),
        lidars=(scan,),
        cameras=() if photographer is None else (photographer.picture(drive, scene),),
        radars=(heard.targets,),
        ego=EgoPose("ego", time_us, scene.ego),
    )
    return frame, _truth(scene, turn, heard, picture, detections)


def _deskewed(drive: Drive, scan: LidarScan, pattern: Pattern) -> LidarScan:
    """Every point as if it were measured at the stamp; the ego's motion is taken out, no other's.
    No times are left, as nobody may take it out again.
    """
    assert scan.times_us is not None
    times = np.linspace(-0.5, 0.5, 5) * pattern.turn_us
    lidar = calibration().pose("ego", LIDAR)
    poses = [
        (drive.ego_pose(scan.stamp_us + int(time)) @ lidar).matrix() for time in times.tolist()
    ]
    now = (drive.ego_pose(scan.stamp_us) @ lidar).inverse().matrix()
    motion = Motion.between((times / 1e6).tolist(), np.array(poses), now)
    points = deskew(scan.points, scan.times_us, motion)
    return LidarScan(scan.sensor, scan.frame, scan.stamp_us, points, None, scan.rings)


def _truth(
    scene: Scene, turn: Sweep, heard: Echoes, picture: Seen, detections: SimulatedDetections
) -> Truth:
    lidar_from_world = (scene.ego @ calibration().pose("ego", LIDAR)).inverse()
    boxes = in_frame(scene.actors.boxes, lidar_from_world)
    hit = turn.owners[turn.owners >= 0]
    return Truth(
        scene.actors.ids,
        scene.actors.classes,
        np.array([KINDS[str(name)] for name in scene.actors.classes], np.int64),
        boxes,
        scene.actors.velocity @ lidar_from_world.rotation[:2, :2].T,
        np.bincount(hit, minlength=len(boxes)),
        1 - turn.met / np.maximum(turn.alone, 1),
        picture,
        detections,
        heard.owners,
    )


def in_frame(boxes: Floats, pose: Pose) -> Floats:
    """Boxes (n, 7) carried by a pose that turns about z only."""
    carried = boxes.copy()
    carried[:, :3] = pose.apply(boxes[:, :3])
    carried[:, 6] += np.arctan2(pose.rotation[1, 0], pose.rotation[0, 0])
    carried[:, 6] = (carried[:, 6] + np.pi) % (2 * np.pi) - np.pi
    return carried
