"""An MCAP recording of ROS 2 as sensor frames: what a vehicle would have sent, in the same order.

The first messages say which LiDARs and cameras there are; the LiDAR with the most of them leads.
Then messages go through the assembler with their own stamps, arriving when the recorder had them,
so that latencies and gaps are those of the vehicle. Static transforms and camera infos are taken as
they come: frames carry the calibration known by then.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from infer.frames.assembler import Assembler
from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration, Camera
from infer.frames.measurements import CameraImage, EgoPose, Measurement
from infer.frames.pose import Pose
from infer.readers import ros_sensors
from infer.readers.mcap_messages import RosMessage, read_messages
from infer.readers.refusal import read_from, unreadable
from infer.readers.ros_definitions import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    IMU,
    ODOMETRY,
    POINT_CLOUD,
    TRANSFORMS,
)

SURVEYED = 512  # messages
WAIT_PERIODS = 2
USUAL_PERIOD_US = 100_000
STATIC = "tf_static"
_AT_ONCE = {POINT_CLOUD, IMAGE, COMPRESSED_IMAGE}
_END_US = 1 << 62


@dataclass(frozen=True, slots=True)
class Survey:
    """awaited: sensors of LiDARs and cameras, the lead first. period_us: the lead's."""

    awaited: tuple[str, ...]
    period_us: int


@dataclass(slots=True)
class _Known:
    """The calibration as far as it was told."""

    poses: dict[str, Pose] = field(default_factory=dict)  # by the frame that is placed
    cameras: dict[str, Camera] = field(default_factory=dict)

    def tell(self, message: RosMessage) -> bool:
        """Whether it has changed the calibration."""
        if message.kind == CAMERA_INFO:
            sensor = _sensor(message.topic).rpartition("/")[0]
            first = sensor not in self.cameras
            self.cameras[sensor] = ros_sensors.camera(message.content)
            return first
        if message.kind == TRANSFORMS and _sensor(message.topic) == STATIC:
            for one in message.content.transforms:
                pose = ros_sensors.transform(one)
                self.poses[pose.source] = pose
            return True
        return False

    def calibration(self) -> Calibration:
        return Calibration(tuple(self.poses.values()), dict(self.cameras))


def read_frames(path: Path, *, cameras: bool = True) -> Iterator[SensorFrame]:
    """The frames of a file, in order, read as they are asked for; pictures if they are wanted.

    Raises ContentRefused, at once if the file begins with no LiDAR's messages.
    """
    found = survey(path, cameras=cameras)
    return _frames(path, found, read_messages(path))


def survey(path: Path, *, cameras: bool = True) -> Survey:
    """What the first messages tell. Raises ContentRefused."""
    counted: Counter[str] = Counter()
    stamps: dict[str, list[int]] = {}
    pictured = set()
    for message in itertools.islice(read_messages(path), SURVEYED):
        sensor = _sensor(message.topic)
        if message.kind == POINT_CLOUD:
            counted[sensor] += 1
            stamps.setdefault(sensor, []).append(ros_sensors.stamp(message.content.header))
        elif message.kind in _AT_ONCE:
            pictured.add(sensor)
    if not counted:
        raise unreadable(path, f"there is no {POINT_CLOUD} among its first {SURVEYED} messages")
    lead = min(counted, key=lambda sensor: (-counted[sensor], sensor))
    others = sorted((counted.keys() | (pictured if cameras else set())) - {lead})
    apart = [b - a for a, b in itertools.pairwise(sorted(stamps[lead])) if b > a]
    return Survey((lead, *others), int(median(apart)) if apart else USUAL_PERIOD_US)


def _frames(path: Path, found: Survey, messages: Iterator[RosMessage]) -> Iterator[SensorFrame]:
    known = _Known()
    joining = Assembler(
        known.calibration(),
        found.awaited,
        period_us=found.period_us,
        wait_us=WAIT_PERIODS * found.period_us,
    )
    for message in messages:
        yield from joining.poll(message.logged_us - 1)
        with read_from(path):
            if known.tell(message):
                joining.calibration = known.calibration()
            for measurement in _measurements(message, known.poses):
                if measurement.sensor in found.awaited or not isinstance(measurement, CameraImage):
                    joining.put(measurement, message.logged_us)
        yield from joining.poll(message.logged_us)
    yield from joining.poll(_END_US)


def _measurements(message: RosMessage, mounted: Mapping[str, Pose]) -> Iterator[Measurement]:
    sensor, content = _sensor(message.topic), message.content
    match message.kind:
        case kind if kind == POINT_CLOUD:
            yield ros_sensors.point_cloud(sensor, content)
        case kind if kind == IMAGE:
            yield ros_sensors.image(sensor, content)
        case kind if kind == COMPRESSED_IMAGE:
            yield ros_sensors.compressed_image(sensor, content)
        case kind if kind == IMU:
            yield ros_sensors.imu(sensor, content)
        case kind if kind == ODOMETRY:
            yield ros_sensors.odometry(sensor, content)
        case kind if kind == TRANSFORMS and sensor != STATIC:
            for one in content.transforms:
                pose = ros_sensors.transform(one)
                if _is_vehicle(pose, mounted):
                    yield EgoPose(sensor, ros_sensors.stamp(one.header), pose)


def _is_vehicle(pose: Pose, mounted: Mapping[str, Pose]) -> bool:
    """Whether a moving transform places the frame that sensors are mounted on (REP 105)."""
    return any(fixed.target == pose.source for fixed in mounted.values())


def _sensor(topic: str) -> str:
    return topic.strip("/")
