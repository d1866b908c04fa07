"""Argoverse 2 logs, against the log's own facts, and files that are none."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import feather

from infer.readers.av2 import Log, read_sweep
from infer.readers.columns import read_columns
from mesh.core.errors import ContentRefused


@pytest.fixture(scope="module")
def folder(data_dir):
    return data_dir / "av2" / "7fab2350"


@pytest.fixture(scope="module")
def log(folder):
    return Log(folder)


def test_frames_come_in_order_with_points_times_rings_and_pose(log):
    one, other = log.frames()
    assert (one.stamp_us, other.stamp_us) == (315966265259836, 315966265360032)
    scan = one.lidars[0]
    assert (len(scan.points), scan.frame, scan.valid.all()) == (99_229, "ego", True)
    assert scan.rings.max() == 63
    assert 0 <= scan.times_us.min() < 3000 < 100_000 < scan.times_us.max() < 110_000
    assert 0 <= scan.points[:, 3].min() < scan.points[:, 3].max() <= 1
    # The devkit's test data has the motion between the two, to the precision of a half float.
    motion = np.load(log.folder / "ego_motion.npz")["ego_motion"][0]
    between = other.ego.pose.inverse() @ one.ego.pose
    np.testing.assert_allclose(between.matrix(), motion, atol=2e-3)


def test_poses_are_interpolated_and_never_invented(log):
    stamps = [frame.stamp_us for frame in log.frames()]
    a, b = (log.ego(us).pose for us in stamps)
    middle = log.ego((stamps[0] + stamps[1]) // 2).pose
    assert np.linalg.norm(middle.translation - a.between(b, 0.5).translation) < 0.01
    assert log.ego(0) is None
    assert log.ego(stamps[0] * 2) is None


def test_annotations_stand_among_the_points(log):
    boxes = log.annotations()
    assert len(boxes) == 156
    frame = next(log.frames())
    mine = boxes[frame.stamp_us]
    assert len(mine.centres) == len(mine.yaws) == len(mine.tracks) == 81
    points = frame.lidars[0].points[:, :3].astype(np.float64)
    for pose, size, said in zip(mine.poses, mine.sizes, mine.points, strict=True):
        inside = (np.abs(pose.inverse().apply(points)) <= size / 2).all(axis=1).sum()
        assert abs(int(inside) - int(said)) <= max(3, 0.1 * said)  # points are half floats


def test_cameras_are_where_they_are_mounted(log):
    assert len(log.calibration.cameras) == 9
    front = log.calibration.pose("ring_front_center", "ego")
    ahead = front.apply(np.array([[20.0, 0, 1.4]]))
    pixels, seen = log.calibration.cameras["ring_front_center"].project(ahead)
    assert seen.all()
    assert abs(pixels[0] - [775, 1024]).max() < 60
    assert (
        not log.calibration.cameras["ring_rear_left"]
        .project(log.calibration.pose("ring_rear_left", "ego").apply(np.array([[20.0, 0, 1.4]])))[1]
        .any()
    )


def test_a_log_in_folders_is_read_with_its_pictures(folder, data_dir, tmp_path):
    stamp = 315966265259836000
    for name, place in (
        (f"{stamp}.feather", "sensors/lidar"),
        ("city_SE3_egovehicle.feather", "."),
        ("egovehicle_SE3_sensor.feather", "calibration"),
        ("intrinsics.feather", "calibration"),
    ):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, tmp_path / place)
    pictures = tmp_path / "sensors" / "cameras" / "ring_front_left"
    pictures.mkdir(parents=True)
    for offset, shade in ((-200_000_000, 10), (20_000_000, 200), (60_000_000, 100)):
        Image.new("RGB", (64, 48), (shade,) * 3).save(pictures / f"{stamp + offset}.jpg")
    [frame] = Log(tmp_path).frames()
    [picture] = frame.cameras
    assert (picture.sensor, picture.size) == ("ring_front_left", (64, 48))
    assert picture.stamp_us - frame.stamp_us == 20_000
    assert abs(int(picture.pixels()[5, 5, 0]) - 200) < 3


def written(path, **columns):
    feather.write_feather(pa.table(columns), path)
    return path


SOUND = {
    "x": np.zeros(3, np.float16), "y": np.zeros(3, np.float16), "z": np.zeros(3, np.float16),
    "intensity": np.zeros(3, np.uint8), "laser_number": np.zeros(3, np.uint8),
    "offset_ns": np.zeros(3, np.int32),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"x": None}, "it has no column x"),
        ({"x": np.zeros(3, np.int8)}, "column x is of int8"),
        ({"y": pa.array([1.0, None, 2.0])}, "column y has missing values"),
        (
            {name: np.repeat(column, 100_001) for name, column in SOUND.items()},
            "it has 300003 rows",
        ),
    ],
    ids=["gone", "kind", "null", "many"],
)
def test_columns_that_are_not_a_sweeps_are_refused(tmp_path, changed, why):
    columns = {name: column for name, column in (SOUND | changed).items() if column is not None}
    with pytest.raises(ContentRefused, match=why):
        read_sweep(written(tmp_path / "5.feather", **columns))


def test_files_that_are_none_are_refused(tmp_path, folder):
    assert read_sweep(written(tmp_path / "5000.feather", **SOUND)).stamp_us == 5
    garbage = tmp_path / "1.feather"
    for data in (b"", b"ARROW1", (folder / "intrinsics.feather").read_bytes()[:3000]):
        garbage.write_bytes(data)
        with pytest.raises(ContentRefused, match=r"1\.feather cannot be read"):
            read_sweep(garbage)
    with pytest.raises(ContentRefused, match="no stamp"):
        read_sweep(written(tmp_path / "x.feather", **SOUND))
    with pytest.raises(ContentRefused, match="cannot be read"):
        read_columns(tmp_path / "none.feather", {}, 1)
    with pytest.raises(ContentRefused, match="0 LiDAR sweeps"):
        Log(tmp_path / "nowhere")
