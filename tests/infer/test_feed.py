"""What clients are told of sweeps and results, and that it needs no compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace as Message

import numpy as np
import pytest
from mcap_ros2.writer import Writer

from infer.codec import CLASSES, decode_result
from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration
from infer.frames.measurements import LidarScan
from infer.frames.merging import merged
from infer.frames.pose import Pose
from infer.readers.ros_definitions import DEFINITIONS, POINT_CLOUD
from infer.sweep import decode_sweep
from infer.uplink.packing import unpack_sweep
from infer.workload import FED_POINTS, create
from mesh.core.errors import ContentRefused, Misuse
from mesh.core.workload import Recording


def test_the_plugin_is_fed_and_read_without_a_compiler(tmp_path):
    code = """import sys
from mesh.core.plugins import create_workload
from mesh.core.workload import Feedable, Recording
plugin = create_workload("infer", {})
assert isinstance(plugin, Feedable)
assert len(next(plugin.read_inputs(Recording()))[1]) > 100_000
print(*[m for m in ("numba", "vulkan", "av", "render") if m in sys.modules])"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ""


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name in ("b", "a"):
        np.full((10, 4), ord(name), np.float32).tofile(tmp_path / f"{name}.bin")
    sweeps = [
        decode_sweep(stamp, data) for stamp, data in create({}).read_inputs(Recording(tmp_path))
    ]
    assert [(s.stamp_us, s.points[0, 0]) for s in sweeps] == [(0, 97), (100_000, 98)]


@pytest.mark.parametrize("size", [17, 16 * 300_001], ids=["cut", "large"])
def test_a_file_that_cannot_be_a_sweep_is_named_before_any_is_read(tmp_path, size):
    (tmp_path / "0.bin").write_bytes(bytes(160))
    with (tmp_path / "1.bin").open("wb") as file:
        file.truncate(size)
    with pytest.raises(ContentRefused, match=r"1\.bin"):
        create({}).read_inputs(Recording(tmp_path))


def test_made_up_sweeps_go_on_and_are_in_order():
    inputs = create({}).read_inputs(Recording())
    sweeps = [decode_sweep(*next(inputs)) for _ in range(3)]
    assert [sweep.stamp_us for sweep in sweeps] == [0, 100_000, 200_000]
    assert len({sweep.points.tobytes() for sweep in sweeps}) == 3


def test_a_result_is_explained_as_it_is(bench, clip):
    frame = bench.open(clip[0], 3)
    for index in (0, 2):
        frame.accept(index, memoryview(bench.answer(frame, index)))
    frame.fill(1)
    message = frame.finish()
    result = decode_result(message)
    told = json.loads(json.dumps(create({}).explain(message)))
    assert (told["sectors"], told["missing"]) == (3, [1])
    assert told["counts"]["points"] == len(clip[0])
    assert [box["class"] for box in told["boxes"]] == [CLASSES[c] for c in result.boxes.classes]
    centres = np.array([box["centre"] for box in told["boxes"]])
    np.testing.assert_allclose(centres, result.boxes.centres, atol=1e-3)
    assert any(box["cut"] for box in told["boxes"])
    cars = sum(box["class"] == "car" for box in told["boxes"])
    assert told["summary"].startswith(f"{len(told['boxes'])} boxes: {cars} car, ")
    with pytest.raises(ContentRefused):
        create({}).explain(message[:-1])


@pytest.fixture
def recordings(data_dir, tmp_path):
    """One of each format."""
    nuscenes = tmp_path / "nuscenes" / "LIDAR_TOP"
    nuscenes.mkdir(parents=True)
    np.full((10, 5), 7, np.float32).tofile(nuscenes / "n__LIDAR_TOP__5.pcd.bin")
    mcap = tmp_path / "drive.mcap"
    with mcap.open("wb") as file:
        writer = Writer(file)
        schema = writer.register_msgdef(POINT_CLOUD, DEFINITIONS[POINT_CLOUD])
        for k in range(2):
            stamp = Message(sec=5, nanosec=k * 100_000_000)
            fields = [
                Message(name=name, offset=4 * i, datatype=7, count=1)
                for i, name in enumerate("xyz")
            ]
            cloud = Message(
                header=Message(stamp=stamp, frame_id="lidar"), height=1, width=3, fields=fields,
                is_bigendian=False, point_step=12, row_step=36, data=np.ones(9, "<f4").tobytes(),
                is_dense=True,
            )  # fmt: skip
            writer.write_message("/points", schema, cloud, log_time=5_000_000_000 + k * 100_000_000)
        writer.finish()
    return {
        "kitti": (data_dir / "kitti_raw_clip", 8, 0),
        "av2": (data_dir / "av2" / "7fab2350", 2, 315966265259836),
        "nuscenes": (nuscenes.parent, 1, 5),
        "mcap": (mcap, 2, 5_000_000),
    }


@pytest.mark.parametrize("form", ["kitti", "av2", "nuscenes", "mcap"])
@pytest.mark.parametrize("said", [True, False])
def test_every_format_is_fed_whether_it_is_said_or_not(recordings, form, said):
    path, count, first_us = recordings[form]
    recording = Recording(path, form if said else "")
    sweeps = [decode_sweep(*item) for item in create({}).read_inputs(recording)]
    stamps = [sweep.stamp_us for sweep in sweeps]
    assert (len(sweeps), stamps[0], stamps == sorted(set(stamps))) == (count, first_us, True)
    options = create({}).options_for(recording, None)
    assert ("sensor_height_m" in options) == (form == "av2")
    assert "rate_hz" not in options


def test_argoverse_sweeps_are_seen_from_the_scanner(recordings):
    sweep = decode_sweep(*next(create({}).read_inputs(Recording(recordings["av2"][0]))))
    x, y, z = sweep.points[:, :3].T
    near = (np.hypot(x, y) > 4) & (np.hypot(x, y) < 12)
    height = create({}).options_for(Recording(recordings["av2"][0]), 5)["sensor_height_m"]
    level = np.median(z[near & (np.abs(z + height) < 0.3)])
    assert abs(level + height) < 0.1


def test_packed_recordings_are_those_of_their_own_session(recordings, clip):
    recording = Recording(recordings["kitti"][0], compress="delta")
    assert create({}).options_for(recording, 10) == {
        "rate_hz": 10, "points": FED_POINTS, "compress": "delta",
    }  # fmt: skip
    stamp_us, data = next(create({}).read_inputs(recording))
    assert len(data) < 0.12 * clip[0].nbytes
    assert len(unpack_sweep(stamp_us, data).points) == len(clip[0])
    made_up = next(create({}).read_inputs(Recording(compress="delta")))
    assert len(unpack_sweep(*made_up).points) > 10_000


@pytest.mark.parametrize(
    ("recording", "why"),
    [
        (Recording(Path("x"), "rosbag"), "no format 'rosbag'"),
        (Recording(Path("x"), compress="zip"), "not compressed by 'zip'"),
        (Recording(Path("nowhere"), "av2"), "0 LiDAR sweeps"),
        (Recording(Path("nowhere.mcap")), "cannot be read"),
    ],
)
def test_what_cannot_be_fed_is_said_at_once(recording, why):
    with pytest.raises(ContentRefused, match=why):
        create({}).read_inputs(recording)


def scan_of(sensor, frame, value, n=4, **more):
    points = np.full((n, 4), value, np.float32)
    return LidarScan(sensor, frame, 1_000, points, **more)


def test_scans_of_several_scanners_become_one_sweep():
    move = Pose("front", "rear", np.eye(3), np.array([-10.0, 0, 0]))
    rings, times = np.zeros(4, np.uint16), np.zeros(4, np.int32)
    known = {"rings": rings, "times_us": times}
    two = (scan_of("a", "front", 0.5, **known), scan_of("b", "rear", 0.25, **known))
    one = merged(SensorFrame(1_000, Calibration((move,)), two))
    assert one.points[:, 0].tolist() == [0.5] * 4 + [-9.75] * 4
    assert one.points[:, 3].tolist() == [0.5] * 4 + [0.25] * 4
    assert one.rings.tolist() == [0] * 4 + [1024] * 4
    assert one.times_us.tolist() == [0] * 8
    without = (two[0], scan_of("b", "rear", 0.25))
    assert merged(SensorFrame(1_000, Calibration((move,)), without)).rings is None
    with pytest.raises(Misuse, match="no way between"):
        merged(SensorFrame(1_000, Calibration(()), two))
    with pytest.raises(ContentRefused, match="no LiDAR"):
        merged(SensorFrame(1_000, Calibration(())))
    many = tuple(scan_of(name, "front", 0, 200_000) for name in "ab")
    with pytest.raises(ContentRefused, match="400000 points"):
        merged(SensorFrame(1_000, Calibration(()), many))
