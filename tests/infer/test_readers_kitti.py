"""KITTI's layouts as sensor frames: real files where they are given, written ones for the rest."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from PIL import Image

from infer.readers import nuscenes, oxts
from infer.readers.kitti_calibration import read_calibration, read_numbers
from infer.readers.kitti_frames import read_frames
from infer.readers.kitti_labels import DONT_CARE, read_labels
from mesh.core.errors import ContentRefused


def test_a_clip_has_sweeps_pictures_and_calibration(data_dir, clip):
    frames = list(read_frames(data_dir / "kitti_raw_clip"))
    assert [frame.stamp_us for frame in frames] == [k * 100_000 for k in range(8)]
    for frame, points in zip(frames, clip, strict=True):
        np.testing.assert_array_equal(frame.lidars[0].points, points)
        [picture] = frame.cameras
        assert (picture.sensor, picture.frame, picture.size) == ("image_02", "rect", (1242, 375))
    assert frames[0].cameras[0].pixels().shape == (375, 1242, 3)


def test_points_are_projected_as_the_development_kit_does(data_dir, clip):
    """P2 R0_rect Tr_velo_to_cam of homogeneous points, with R0 and Tr filled up to 4 x 4."""
    path = data_dir / "kitti_raw_clip" / "calib_2011_09_26.txt"
    calibration, numbers = read_calibration(path), read_numbers(path)
    rect, lidar = np.eye(4), np.eye(4)
    rect[:3, :3] = numbers["R0_rect"].reshape(3, 3)
    lidar[:3] = numbers["Tr_velo_to_cam"].reshape(3, 4)
    ahead = clip[0][clip[0][:, 0] > 3, :3].astype(np.float64)
    rows = (
        np.column_stack((ahead, np.ones(len(ahead))))
        @ (numbers["P2"].reshape(3, 4) @ rect @ lidar).T
    )
    pixels, seen = calibration.cameras["image_02"].project(
        calibration.pose("rect", "lidar").apply(ahead)
    )
    assert 10_000 < seen.sum() < len(ahead)
    np.testing.assert_allclose(pixels[seen], (rows[:, :2] / rows[:, 2:])[seen], atol=1e-6)


def test_labels_stand_among_the_points_and_in_the_picture(data_dir):
    folder = data_dir / "kitti_object"
    [_, frame] = read_frames(folder)
    lidar_from_rect = frame.calibration.pose("lidar", "rect")
    labels = [x for x in read_labels(folder / "label_2" / "000001.txt") if x.category != DONT_CARE]
    assert {label.category for label in labels} == {"Truck", "Car", "Cyclist"}
    camera = frame.calibration.cameras["image_02"]
    for label in labels:
        middle = np.array([label.place]) - [0, label.size[2] / 2, 0]
        pixels, seen = camera.project(middle)
        left, top, right, bottom = label.box
        assert seen.all()
        assert left <= pixels[0, 0] <= right
        assert top <= pixels[0, 1] <= bottom
        near = np.linalg.norm(frame.lidars[0].points[:, :3] - lidar_from_rect.apply(middle), axis=1)
        assert (near < max(label.size) / 2 + 0.3).sum() > 3


def test_the_object_benchmarks_frames_have_each_their_calibration(data_dir):
    one, other = read_frames(data_dir / "kitti_object")
    sizes = [frame.cameras[0].size for frame in (one, other)]
    assert sizes == [(1224, 370), (1242, 375)]
    assert [frame.calibration.cameras["image_02"].size for frame in (one, other)] == sizes
    assert (one.calibration.pose("lidar", "rect").translation
            != other.calibration.pose("lidar", "rect").translation).any()  # fmt: skip


def test_a_calibration_cut_down_to_one_camera_is_that_of_one_camera(data_dir):
    calibration = read_calibration(data_dir / "kitti_object" / "calib" / "000008.txt")
    assert list(calibration.cameras) == ["image_02"]
    assert calibration.frames == {"lidar", "camera", "rect"}


def test_labels_and_results_of_the_tracking_benchmark(data_dir):
    folder = data_dir / "kitti_tracking"
    labels = read_labels(folder / "label_02" / "0006.txt")
    assert len(labels) == 1446
    car = next(label for label in labels if label.category == "Car")
    assert (car.frame, car.track, car.occluded, car.score) == (0, 0, 1, 1.0)
    assert car.size == (3.5201, 1.474971, 1.416544)


# --- written --------------------------------------------------------------------------------------

LINE = [49.0, 8.4, 110.0, 0.02, -0.01, 0.5, *range(24)]


def write_line(path, **changed):
    numbers = list(LINE)
    for name, value in changed.items():
        numbers[["lat", "lon", "alt", "roll", "pitch", "yaw"].index(name)] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(map(str, numbers)))


def write_sweep(path, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.full((count, 4), 0.5, np.float32).tofile(path)


def write_picture(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


@pytest.fixture
def drive(tmp_path, data_dir):
    """A raw drive of three sweeps; a picture is missing, as they are at a drive's ends."""
    day = tmp_path / "2011_09_26"
    numbers = read_numbers(data_dir / "kitti_raw_clip" / "calib_2011_09_26.txt")
    drive = day / "2011_09_26_drive_0001_sync"
    for k in range(3):
        write_sweep(drive / "velodyne_points" / "data" / f"{k:010}.bin", 5 + k)
        write_line(drive / "oxts" / "data" / f"{k:010}.txt", lat=49 + k * 1e-5, yaw=0.5 + k / 10)
    for k in (0, 2):
        write_picture(drive / "image_02" / "data" / f"{k:010}.png")
    for name, part in (("velodyne_points", "250000000"), ("image_02", "260000999")):
        stamps = [f"2011-09-26 13:02:0{k}.{part}\n" for k in range(3)]
        (drive / name / "timestamps.txt").write_text("".join(stamps))

    def motion(key):
        rows = numbers[key].reshape(3, 4)
        turn, place = (" ".join(map(str, part.reshape(-1))) for part in (rows[:, :3], rows[:, 3]))
        return f"calib_time: 15-Mar-2012 11:37:16\nR: {turn}\nT: {place}\n"

    (day / "calib_velo_to_cam.txt").write_text(motion("Tr_velo_to_cam"))
    (day / "calib_imu_to_velo.txt").write_text(motion("Tr_imu_to_velo"))
    lines = [f"P_rect_0{i}: {' '.join(map(str, numbers[f'P{i}']))}" for i in range(4)]
    lines += [f"R_rect_00: {' '.join(map(str, numbers['R0_rect']))}", "S_rect_02: 40 30"]
    (day / "calib_cam_to_cam.txt").write_text("\n".join(lines))
    return drive


def test_a_raw_drive_has_stamps_pictures_poses_and_imu(drive, data_dir):
    frames = list(read_frames(drive))
    second = 1317042120 * 1_000_000  # 2011-09-26 13:02:00 UTC
    assert [f.stamp_us - second for f in frames] == [k * 1_000_000 + 250_000 for k in range(3)]
    assert [len(f.lidars[0].points) for f in frames] == [5, 6, 7]
    assert [[c.stamp_us - f.stamp_us for c in f.cameras] for f in frames] == [
        [10_000],
        [],
        [10_000],
    ]
    assert frames[0].imu[0].acceleration == (5, 6, 7)
    assert frames[0].imu[0].turn_rate == (11, 12, 13)
    a, _, c = (f.ego.pose for f in frames)
    assert np.linalg.norm(a.translation) == 0
    moved = math.radians(2e-5) * 6378137
    np.testing.assert_allclose(c.translation, [0, moved, 0], atol=0.01)
    whole = read_calibration(data_dir / "kitti_raw_clip" / "calib_2011_09_26.txt")
    made = frames[0].calibration
    np.testing.assert_allclose(
        made.pose("rect", "ego").matrix(), whole.pose("rect", "ego").matrix(), atol=1e-9
    )
    assert made.cameras["image_02"].size == (40, 30)


def test_roll_pitch_and_yaw_are_about_x_y_and_z():
    line = [0.0, 0, 0, 0.1, 0.2, 0.3, *[0] * 24]
    rotation = oxts.pose(line, line, 0).pose.rotation
    parts = [
        np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        for c, s in [(math.cos(a), math.sin(a)) for a in (0.1, 0.2, 0.3)]
    ]
    about_y, about_z = np.roll(parts[1], (1, 1), (0, 1)), np.roll(parts[2], (2, 2), (0, 1))
    np.testing.assert_allclose(rotation, about_z @ about_y @ parts[0], atol=1e-12)


def test_tracking_sequences_follow_one_another(tmp_path, data_dir):
    for sequence, count in (("0001", 2), ("0006", 1)):
        for k in range(count):
            write_sweep(tmp_path / "velodyne" / sequence / f"{k:06}.bin", 3)
            write_picture(tmp_path / "image_02" / sequence / f"{k:06}.png")
        (tmp_path / "calib").mkdir(exist_ok=True)
        shutil.copy(data_dir / "kitti_tracking" / "calib" / f"{sequence}.txt", tmp_path / "calib")
    write_line(tmp_path / "oxts" / "0006.txt")
    frames = list(read_frames(tmp_path))
    assert [frame.stamp_us for frame in frames] == [0, 100_000, 10_100_000]
    assert [frame.ego is not None for frame in frames] == [False, False, True]
    assert frames[0].calibration.cameras["image_02"].size == (40, 30)


def break_stamps(drive):
    (drive / "velodyne_points" / "timestamps.txt").write_text("2011-09-26 13:02:00.1\n")


def break_time(drive):
    (drive / "velodyne_points" / "timestamps.txt").write_text("yesterday\n" * 3)


def break_oxts(drive):
    write_line(drive / "oxts" / "data" / "0000000000.txt", lat=90)


def break_calibration(drive):
    (drive.parent / "calib_velo_to_cam.txt").write_text("R: 1 2 3\nT: 1 2 3")


def break_rotation(drive):
    (drive.parent / "calib_velo_to_cam.txt").write_text("R: 2 0 0 0 1 0 0 0 1\nT: 1 2 3")


def break_name(drive):
    (drive / "velodyne_points" / "data" / "x.bin").write_bytes(bytes(16))


def break_sweep(drive):
    (drive / "velodyne_points" / "data" / "0000000001.bin").write_bytes(bytes(17))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (break_stamps, "it has 1 stamps, and none for number 1"),
        (break_time, "'yesterday' is no time"),
        (break_oxts, "does not begin with 30 numbers"),
        (break_calibration, "no R of nine numbers"),
        (break_rotation, "no rigid motion"),
        (break_name, "its name is no number"),
        (break_sweep, "no whole number of points"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_broken_is_named_before_any_sweep_is_read(drive, broken, why):
    broken(drive)
    with pytest.raises(ContentRefused, match=why):
        read_frames(drive)


@pytest.mark.parametrize("line", ["Car 1 2", "Car " + "x " * 14, "Car " + "nan " * 14, "a " * 40])
def test_what_is_no_label_is_refused_by_its_line(tmp_path, line):
    path = tmp_path / "l.txt"
    path.write_text(f"Car {'1 ' * 14}\n\n{line}\n")
    with pytest.raises(ContentRefused, match="line 3 is no label"):
        read_labels(path)


# --- nuScenes-style -------------------------------------------------------------------------------


def test_nuscenes_sweeps_come_with_rings_and_their_nearest_pictures(tmp_path, clip):
    rows = np.column_stack((clip[0][:500, :3], clip[0][:500, 3] * 255, np.arange(500) % 32))
    for k, kind in ((0, "samples"), (50_000, "sweeps")):
        place = tmp_path / kind / "LIDAR_TOP"
        place.mkdir(parents=True)
        name = f"n015-2018-07-24-11-22-45+0800__LIDAR_TOP__{1532402927647951 + k}.pcd.bin"
        rows.astype(np.float32).tofile(place / name)
    pictures = tmp_path / "samples" / "CAM_FRONT"
    pictures.mkdir()
    for k in (-90_000, 10_000, 49_000):
        name = f"n015-2018-07-24-11-22-45+0800__CAM_FRONT__{1532402927647951 + k}.jpg"
        Image.new("RGB", (32, 16)).save(pictures / name)
    frames = list(nuscenes.read_frames(tmp_path))
    assert [f.stamp_us - 1532402927647951 for f in frames] == [0, 50_000]
    assert [f.cameras[0].stamp_us - f.stamp_us for f in frames] == [10_000, -1_000]
    np.testing.assert_allclose(frames[0].lidars[0].points, clip[0][:500], atol=1e-5)
    assert frames[0].lidars[0].rings.tolist() == (np.arange(500) % 32).tolist()
    assert len(list(nuscenes.read_frames(tmp_path / "sweeps" / "LIDAR_TOP"))) == 1

    (tmp_path / "sweeps" / "LIDAR_TOP" / "a__LIDAR_TOP__1.pcd.bin").write_bytes(bytes(21))
    with pytest.raises(ContentRefused, match="21 bytes are no sweep"):
        nuscenes.read_frames(tmp_path)
    with pytest.raises(ContentRefused, match="holds no LIDAR_TOP"):
        nuscenes.read_frames(tmp_path / "none")
