"""MCAP files written here of real content as ROS 2 messages, and files cut and spoilt."""

from __future__ import annotations

import itertools
import random
import struct
from types import SimpleNamespace as Message

import numpy as np
import pytest
from mcap.writer import CompressionType
from mcap_ros2.writer import Writer

from bench.fuzz.bytework import spoil
from infer.readers import ros_definitions as ros
from infer.readers.av2 import Log
from infer.readers.kitti_frames import read_frames as read_kitti
from infer.readers.mcap_frames import read_frames, survey
from infer.readers.mcap_messages import read_messages
from mesh.core.errors import ContentRefused

T0_US = 1_700_000_000_000_000
KINDS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def header(stamp_us, frame):
    sec, us = divmod(stamp_us, 1_000_000)
    return Message(stamp=Message(sec=sec, nanosec=us * 1000), frame_id=frame)


def cloud(stamp_us, frame, columns, *, order="<", padding=0, rows=1):
    """A PointCloud2 of named columns."""
    kinds = [(name, order + column.dtype.str[1:]) for name, column in columns.items()]
    dtype = np.dtype([*kinds, ("", f"V{padding}")] if padding else kinds)
    points = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, column in columns.items():
        points[name] = column
    fields = [
        Message(name=n, offset=dtype.fields[n][1], datatype=KINDS[k[1:]], count=1) for n, k in kinds
    ]
    step, width = dtype.itemsize, len(points) // rows
    return Message(
        header=header(stamp_us, frame), height=rows, width=width, fields=fields,
        is_bigendian=order == ">", point_step=step, row_step=step * width,
        data=points.tobytes(), is_dense=False,
    )  # fmt: skip


def placed(pose, stamp_us=0):
    w, x, y, z = pose.quaternion()
    place = dict(zip("xyz", pose.translation, strict=True))
    return Message(
        header=header(stamp_us, pose.target), child_frame_id=pose.source,
        transform=Message(translation=Message(**place), rotation=Message(w=w, x=x, y=y, z=z)),
    )  # fmt: skip


class Recorder:
    """Writes messages; log times are microseconds."""

    def __init__(self, path, compression=CompressionType.ZSTD):
        self.file = path.open("wb")
        self.writer = Writer(self.file, compression=compression)
        self.schemas = {n: self.writer.register_msgdef(n, t) for n, t in ros.DEFINITIONS.items()}

    def __call__(self, logged_us, topic, kind, message):
        self.writer.write_message(topic, self.schemas[kind], message, log_time=logged_us * 1000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.writer.finish()
        self.file.close()


def info(calibration, sensor, stamp_us):
    camera = calibration.cameras[sensor]
    roi = Message(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return Message(
        header=header(stamp_us, "rect"), width=camera.size[0], height=camera.size[1],
        distortion_model="plumb_bob", d=[0.0] * 5, k=[0.0] * 9, r=[0.0] * 9,
        p=camera.projection.reshape(-1).tolist(), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


@pytest.fixture(scope="module")
def kitti(data_dir):
    return list(itertools.islice(read_kitti(data_dir / "kitti_raw_clip"), 4))


def record_kitti(path, frames, compression=CompressionType.ZSTD):
    """Pictures are 20 ms early and arrive 70 ms late; the third frame has none."""
    with Recorder(path, compression) as record:
        calibration = frames[0].calibration
        static = Message(transforms=[placed(pose) for pose in calibration.poses])
        record(T0_US, "/tf_static", ros.TRANSFORMS, static)
        record(T0_US, "/cam/camera_info", ros.CAMERA_INFO, info(calibration, "image_02", T0_US))
        arriving = []
        for k, frame in enumerate(frames):
            us, points = T0_US + frame.stamp_us, frame.lidars[0].points
            columns = dict(zip(("x", "y", "z", "intensity"), points.T, strict=True))
            arriving.append((us + 30_000, "/lidar", ros.POINT_CLOUD, cloud(us, "lidar", columns)))
            turned = Message(w=1.0, x=0.0, y=0.0, z=0.0)
            here = Message(x=k * 1.0, y=0.0, z=0.0)
            moved = Message(translation=here, rotation=turned)
            ego = Message(header=header(us, "odom"), child_frame_id="lidar", transform=moved)
            arriving.append((us + 5_000, "/tf", ros.TRANSFORMS, Message(transforms=[ego])))
            zero, nine = Message(x=0.0, y=0.0, z=9.8), [0.0] * 9
            for j in range(3):
                felt = Message(
                    header=header(us + j * 10_000, "ego"), orientation=turned,
                    orientation_covariance=nine, angular_velocity=zero,
                    angular_velocity_covariance=nine, linear_acceleration=zero,
                    linear_acceleration_covariance=nine,
                )  # fmt: skip
                arriving.append((us + j * 10_000 + 1_000, "/imu", ros.IMU, felt))
            if k != 2:
                shown = frame.cameras[0].data
                picture = Message(header=header(us - 20_000, "rect"), format="png", data=shown)
                arriving.append((us + 50_000, "/cam", ros.COMPRESSED_IMAGE, picture))
        for entry in sorted(arriving, key=lambda entry: entry[0]):
            record(*entry)
    return path


@pytest.mark.parametrize("compression", list(CompressionType))
def test_what_kitti_measured_comes_back_frame_by_frame(tmp_path, kitti, compression):
    path = record_kitti(tmp_path / "k.mcap", kitti, compression)
    assert survey(path).awaited == ("lidar", "cam")
    assert survey(path).period_us == 100_000
    frames = list(read_frames(path))
    assert [f.stamp_us - T0_US for f in frames] == [k * 100_000 for k in range(4)]
    for mine, was in zip(frames, kitti, strict=True):
        np.testing.assert_array_equal(mine.lidars[0].points, was.lidars[0].points)
        assert mine.latency_us["lidar"] == 30_000
        assert mine.ego.pose.name == "odom_from_lidar"
        assert len(mine.imu) == 3
        assert mine.imu[0].acceleration[2] == 9.8
        for a, b in zip(mine.calibration.poses, was.calibration.poses, strict=True):
            np.testing.assert_allclose(a.matrix(), b.matrix(), atol=1e-5)  # from seven digits
    for k in (0, 1, 3):
        assert frames[k].cameras[0].data == kitti[k].cameras[0].data
        assert frames[k].latency_us["cam"] == 70_000
    assert [f.gaps for f in frames] == [{}, {}, {"cam": 1}, {}]
    [camera] = frames[-1].calibration.cameras.values()
    np.testing.assert_array_equal(
        camera.projection, kitti[0].calibration.cameras["image_02"].projection
    )


def test_argoverse_sweeps_keep_rings_and_times(tmp_path, data_dir):
    path, log = tmp_path / "a.mcap", Log(data_dir / "av2" / "7fab2350")
    sent = list(log.frames())
    with Recorder(path) as record:
        for frame in sent:
            scan = frame.lidars[0]
            columns = {
                **dict(zip(("x", "y", "z"), scan.points.T.astype("f4"), strict=False)),
                "intensity": np.rint(scan.points[:, 3] * 255).astype(np.uint8),
                "ring": scan.rings,
                "t": (scan.times_us * 1000).astype(np.uint32),
            }
            us = frame.stamp_us
            w, x, y, z = frame.ego.pose.quaternion()
            place = dict(zip("xyz", frame.ego.pose.translation, strict=True))
            still = Message(
                linear=Message(x=0.0, y=0.0, z=0.0), angular=Message(x=0.0, y=0.0, z=0.0)
            )
            pose = Message(position=Message(**place), orientation=Message(w=w, x=x, y=y, z=z))
            odometry = Message(
                header=header(us, "city"), child_frame_id="ego",
                pose=Message(pose=pose, covariance=[0.0] * 36),
                twist=Message(twist=still, covariance=[0.0] * 36),
            )  # fmt: skip
            record(us, "/odometry", ros.ODOMETRY, odometry)
            record(us, "/points", ros.POINT_CLOUD, cloud(us, "ego", columns, padding=5))
    for mine, was in zip(read_frames(path), sent, strict=True):
        scan, given = mine.lidars[0], was.lidars[0]
        assert (scan.stamp_us, scan.frame) == (given.stamp_us, "ego")
        for name in ("rings", "times_us"):
            np.testing.assert_array_equal(getattr(scan, name), getattr(given, name))
        np.testing.assert_allclose(scan.points, given.points, atol=1e-6)
        np.testing.assert_allclose(mine.ego.pose.matrix(), was.ego.pose.matrix(), atol=1e-9)


def write_one(path, kind, message, topic="/lidar"):
    with Recorder(path, CompressionType.NONE) as record:
        record(T0_US, topic, kind, message)
    return path


XYZ = {name: np.arange(6, dtype=np.float32) for name in "xyz"}


@pytest.mark.parametrize(
    ("columns", "how", "shades"),
    [
        ({"intensity": np.array([0, 51, 255, 0, 0, 0], "u1")}, {}, [0, 0.2, 1, 0, 0, 0]),
        ({"reflectivity": np.array([0, 0, 65535, 0, 0, 0], "u2")}, {"order": ">"},
         [0, 0, 1, 0, 0, 0]),
        ({"intensity": np.array([0, 0.5, 1, np.nan, 0, 0], "f4")}, {"rows": 2},
         [0, 0.5, 1, 0, 0, 0]),
        ({"intensity": np.array([0, 51, 300, 0, 0, 0], "f8")}, {}, [0, 0.2, 1, 0, 0, 0]),
        ({}, {}, [0] * 6),
    ],
)  # fmt: skip
def test_intensities_become_shares(tmp_path, columns, how, shades):
    message = cloud(T0_US, "lidar", {**XYZ, **columns}, **how)
    [frame] = read_frames(write_one(tmp_path / "one.mcap", ros.POINT_CLOUD, message))
    np.testing.assert_allclose(frame.lidars[0].points[:, 3], shades, atol=1e-6)
    np.testing.assert_array_equal(frame.lidars[0].points[:, 0], np.arange(6))


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"time": np.arange(6) / 1e4}, np.arange(6) * 100),
        ({"timestamp": T0_US / 1e6 + np.arange(6) / 1e4}, np.arange(6) * 100),
        ({"offset_time": np.arange(6, dtype=np.uint32) * 5000}, np.arange(6) * 5),
        ({"time": np.arange(6) * 1e3}, None),
        ({"time": np.full(6, np.nan)}, None),
    ],
)
def test_times_are_microseconds_from_the_stamp(tmp_path, column, told):
    message = cloud(T0_US, "lidar", {**XYZ, **column})
    [frame] = read_frames(write_one(tmp_path / "one.mcap", ros.POINT_CLOUD, message))
    times = frame.lidars[0].times_us
    assert (times is None) if told is None else np.abs(times - told).max() <= 1


def changed(**how):
    message = cloud(T0_US, "lidar", XYZ)
    vars(message).update(how)
    return message


def field(**how):
    return changed(fields=[Message(**{"name": "x", "offset": 0, "datatype": 7, "count": 1, **how})])


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (changed(width=300_001), "300001 points"),
        (changed(height=2**32 - 1, width=2**32 - 1), "points, and at most"),
        (changed(point_step=0), "points of 0 bytes"),
        (changed(row_step=11), "are not in"),
        (changed(row_step=2**32 - 1), "are not in"),
        (changed(fields=[]), "have no x, y, z"),
        (field(offset=9), "lies outside of a point"),
        (field(datatype=9), "lies outside of a point"),
    ],
)
def test_a_cloud_that_lies_is_refused(tmp_path, message, why):
    with pytest.raises(ContentRefused, match=why):
        list(read_frames(write_one(tmp_path / "one.mcap", ros.POINT_CLOUD, message)))


def test_pictures_that_are_not_packed_are_read_without_their_padding(tmp_path):
    path, rows = tmp_path / "p.mcap", np.arange(2 * 8, dtype=np.uint8).reshape(2, 8)
    shown = Message(
        header=header(T0_US, "cam"), height=2, width=2, encoding="bgr8", is_bigendian=0, step=8,
        data=rows.tobytes(),
    )  # fmt: skip
    with Recorder(path) as record:
        record(T0_US, "/lidar", ros.POINT_CLOUD, cloud(T0_US, "lidar", XYZ))
        record(T0_US, "/cam", ros.IMAGE, shown)
    [frame] = read_frames(path)
    assert frame.cameras[0].pixels().tolist() == rows[:, :6].reshape(2, 2, 3)[:, :, ::-1].tolist()


def test_a_recording_that_was_cut_off_is_read_up_to_there(tmp_path, kitti):
    whole = record_kitti(tmp_path / "k.mcap", kitti[:3]).read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole[: int(0.6 * len(whole))])
    assert 0 < len(list(read_frames(path))) < 3


def test_spoilt_recordings_are_read_or_refused(tmp_path):
    path = tmp_path / "one.mcap"
    with Recorder(path, CompressionType.NONE) as record:
        for k in range(3):
            message = cloud(T0_US + k * 100_000, "lidar", XYZ)
            record(T0_US + k * 100_000, "/lidar", ros.POINT_CLOUD, message)
    whole, rng, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(300):
        path.write_bytes(spoil(rng, whole))
        try:
            list(read_frames(path))
        except ContentRefused:
            refused += 1
    assert refused > 20


def test_a_chunk_that_says_more_than_it_has_is_refused_before_it_is_unpacked(tmp_path):
    path = write_one(tmp_path / "one.mcap", ros.POINT_CLOUD, cloud(T0_US, "lidar", XYZ))
    whole = bytearray(path.read_bytes())
    at = 8
    while whole[at] != 6:  # a chunk's opcode; then its length, two times, its size unpacked
        at += 9 + struct.unpack_from("<Q", whole, at + 1)[0]
    struct.pack_into("<Q", whole, at + 9 + 16, 1 << 40)
    path.write_bytes(whole)
    with pytest.raises(ContentRefused, match="1099511627776 bytes is not unpacked"):
        list(read_messages(path))


def test_what_is_no_recording_of_a_lidar_is_refused_at_once(tmp_path):
    path = tmp_path / "none.mcap"
    with pytest.raises(ContentRefused, match="cannot be read"):
        read_frames(path)
    path.write_bytes(b"rosbag")
    with pytest.raises(ContentRefused, match="does not begin as an MCAP file"):
        read_frames(path)
    write_one(path, ros.TRANSFORMS, Message(transforms=[]), "/tf")
    with pytest.raises(ContentRefused, match="no sensor_msgs/msg/PointCloud2"):
        read_frames(path)
