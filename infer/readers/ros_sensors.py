"""ROS 2 messages as measurements. Frames of reference keep their names from ROS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.frames.calibration import Camera
from infer.frames.measurements import CameraImage, EgoPose, Encoding, ImuSample, LidarScan
from infer.frames.pose import Pose
from infer.sweep import MAX_POINTS
from infer.uplink.form import MAX_TIME_US
from mesh.core.errors import ContentRefused

MAX_FIELDS = 64
MAX_STEP_BYTES = 1024
# sensor_msgs/PointField's datatypes, from INT8 = 1 on.
_KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
# Drivers' names for a point's time, and how many microseconds its unit is (Ouster, Velodyne and
# Hesai, Livox, RoboSense).
_TIMES = {"t": 1e-3, "time": 1e6, "offset_time": 1e-3, "timestamp": 1e6, "time_stamp": 1e-3}
_READ = {"x", "y", "z", "intensity", "reflectivity", "ring", "channel", *_TIMES}
_ENCODINGS: dict[str, Encoding] = {
    "rgb8": "rgb8", "bgr8": "bgr8", "mono8": "mono8", "8UC3": "bgr8", "8UC1": "mono8",
}  # fmt: skip


def point_cloud(sensor: str, message: Any) -> LidarScan:
    """A sensor_msgs/PointCloud2 with fields x, y, z. Raises ContentRefused.

    Intensity of whole numbers is a share of their greatest; of floats it is 0..1, or 0..255 if any
    is above 1. Times of each point are taken from the usual fields, as seconds or nanoseconds from
    the stamp or as seconds since the epoch.
    """
    rows = _rows(sensor, message)
    names = rows.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise _refused(sensor, f"its points have no x, y, z, but {', '.join(names) or 'nothing'}")
    points = np.zeros((len(rows), 4), np.float32)
    for axis, name in enumerate(("x", "y", "z")):
        points[:, axis] = rows[name]
    for name in ("intensity", "reflectivity"):
        if name in names:
            points[:, 3] = _shares(rows[name])
            break
    ring = next((rows[name] for name in ("ring", "channel") if name in names), None)
    rings = None if ring is None or ring.dtype.kind not in "iu" else ring.astype(np.uint16)
    stamp_us = stamp(message.header)
    times = next((_times(rows[n], _TIMES[n], stamp_us) for n in _TIMES if n in names), None)
    return LidarScan(sensor, message.header.frame_id, stamp_us, points, times, rings)


def image(sensor: str, message: Any) -> CameraImage:
    """A sensor_msgs/Image of 8 bits a channel, colour or grey. Raises ContentRefused."""
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise _refused(sensor, f"pictures of {message.encoding[:40]!r} are not taken")
    width, height, channels = message.width, message.height, 1 if encoding == "mono8" else 3
    if message.step < width * channels or message.step * height != len(message.data):
        raise _refused(sensor, f"{width} by {height} pixels do not have {len(message.data)} bytes")
    rows = np.frombuffer(message.data, np.uint8).reshape(height, message.step)
    data = rows[:, : width * channels].tobytes()
    header = message.header
    return CameraImage(sensor, header.frame_id, stamp(header), (width, height), encoding, data)


def compressed_image(sensor: str, message: Any) -> CameraImage:
    """A sensor_msgs/CompressedImage, PNG or JPEG. Raises ContentRefused."""
    header = message.header
    return CameraImage.encoded(sensor, header.frame_id, stamp(header), bytes(message.data))


def camera(message: Any) -> Camera:
    """A sensor_msgs/CameraInfo: as of `p` where pictures are rectified, else of `k` and `d`."""
    distortion = [*message.d, 0, 0, 0, 0, 0][:5]
    if any(distortion) and message.distortion_model == "plumb_bob":
        rows = np.zeros((3, 4))
        rows[:, :3] = np.reshape(message.k, (3, 3))
        radial = (float(distortion[0]), float(distortion[1]), float(distortion[4]))
    else:
        rows, radial = np.reshape(message.p, (3, 4)).astype(np.float64), (0.0, 0.0, 0.0)
    return Camera(rows, (message.width, message.height), radial)


def imu(sensor: str, message: Any) -> ImuSample:
    """A sensor_msgs/Imu; its orientation is left out."""
    a, w = message.linear_acceleration, message.angular_velocity
    header = message.header
    return ImuSample(sensor, header.frame_id, stamp(header), (a.x, a.y, a.z), (w.x, w.y, w.z))


def odometry(sensor: str, message: Any) -> EgoPose:
    """A nav_msgs/Odometry: the pose of its child frame. Raises ContentRefused, Misuse."""
    pose = message.pose.pose
    made = _pose(message.header.frame_id, message.child_frame_id, pose.position, pose.orientation)
    return EgoPose(sensor, stamp(message.header), made)


def transform(message: Any) -> Pose:
    """A geometry_msgs/TransformStamped: header.frame_id from child_frame_id. Raises Misuse."""
    moved = message.transform
    return _pose(message.header.frame_id, message.child_frame_id, moved.translation, moved.rotation)


def stamp(header: Any) -> int:
    """Microseconds."""
    us: int = header.stamp.sec * 1_000_000 + header.stamp.nanosec // 1000
    return us


def _pose(target: str, source: str, place: Any, turn: Any) -> Pose:
    quaternion = (turn.w, turn.x, turn.y, turn.z)
    return Pose.from_quaternion(target, source, quaternion, (place.x, place.y, place.z))


def _rows(sensor: str, message: Any) -> NDArray[np.void]:
    """The points as a structured array over the message's bytes. Raises ContentRefused."""
    count, step = message.width * message.height, message.point_step
    if count > MAX_POINTS:
        raise _refused(sensor, f"it has {count} points, and at most {MAX_POINTS} are taken")
    if not 0 < step <= MAX_STEP_BYTES or len(message.fields) > MAX_FIELDS:
        why = f"points of {step} bytes with {len(message.fields)} fields are not taken"
        raise _refused(sensor, why)
    order = ">" if message.is_bigendian else "<"
    fields = {}
    for f in (field for field in message.fields if field.name in _READ):
        if not 1 <= f.datatype <= len(_KINDS) or f.offset + int(_KINDS[f.datatype - 1][1]) > step:
            raise _refused(sensor, f"its field {f.name[:40]!r} lies outside of a point")
        fields[f.name] = (order + _KINDS[f.datatype - 1], f.offset)
    dtype = np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": step,
        }
    )
    if count == 0:
        return np.empty(0, dtype)
    row_bytes = message.width * step
    if message.row_step < row_bytes or len(message.data) < message.row_step * message.height:
        raise _refused(sensor, f"{count} points of {step} bytes are not in {len(message.data)}")
    rows = np.frombuffer(message.data, np.uint8, message.row_step * message.height)
    packed = rows.reshape(message.height, message.row_step)[:, :row_bytes]
    return np.frombuffer(packed.tobytes(), dtype)


def _shares(values: NDArray[Any]) -> NDArray[np.float32]:
    """Intensities as 0..1."""
    if values.dtype.kind in "iu":
        return (values / np.iinfo(values.dtype).max).astype(np.float32)
    whole = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    return np.clip(whole / 255 if whole.max(initial=0) > 1 else whole, 0, 1)


def _times(values: NDArray[Any], unit_us: float, stamp_us: int) -> NDArray[np.int32] | None:
    """Microseconds from the stamp; None where they make no sense."""
    us = values.astype(np.float64) * unit_us
    if len(us) and np.isfinite(us).all():
        if abs(us[0]) > 1e12:  # since the epoch
            us -= stamp_us
        if np.abs(us).max() <= MAX_TIME_US:
            return np.rint(us).astype(np.int32)
    return None


def _refused(sensor: str, why: str) -> ContentRefused:
    return ContentRefused(
        what=f"what {sensor} measured is refused", why=why, fix="Check the recording or the driver."
    )
