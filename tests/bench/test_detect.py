"""What counts as found, by cases worked out by hand; and labels where KITTI's devkit puts them."""

from __future__ import annotations

import numpy as np
import pytest

from bench.detection import av2, drives, kitti
from bench.detection.fastestdet import decoded
from bench.detection.measure import Found, Tally, Truth, same_places, tally
from infer.fusion.objects import CYCLIST, PEDESTRIAN, VEHICLE
from infer.fusion.pictures import View, outlines
from infer.perception.painting import PinholeView, project
from infer.readers.kitti_calibration import read_numbers
from infer.readers.kitti_labels import DONT_CARE, Label, read_labels

CAR = (0.0, 0.0, 0.8, 4.0, 2.0, 1.6, 0.0)


def cars(*xs):
    return np.array([(x, *CAR[1:]) for x in xs], np.float64).reshape(-1, 7)


def counted(found_xs, scores, truth_xs, needed, errors=None):
    total, n = Tally(), len(found_xs)
    allowed = np.ones(n, np.bool_) if errors is None else np.array(errors)
    found = Found(cars(*found_xs), np.full(n, VEHICLE), np.array(scores, np.float64), allowed)
    truth = Truth(cars(*truth_xs), np.full(len(truth_xs), VEHICLE), np.array(needed, np.bool_))
    tally(total, "frame", VEHICLE, found, truth, same_places)
    return total


def test_a_hit_a_miss_and_a_false_one():
    figures = counted([0.5, 20], [0.9, 0.8], [0, 40], [True, True]).at(0)
    assert (figures.hits, figures.false, figures.objects) == (1, 1, 2)
    assert figures.precision == figures.recall == figures.f1 == 0.5


def test_the_better_scored_takes_the_truth_and_the_other_is_false():
    total = counted([0.5, 0.1], [0.7, 0.8], [0], [True])
    assert sorted(total.scores) == [(0.7, False), (0.8, True)]
    assert total.false == [("frame", 0.7, [0.5, *CAR[1:]])]


def test_what_need_not_be_found_is_neither_hit_nor_miss():
    figures = counted([0.2], [0.9], [0, 40], [False, False]).at(0)
    assert (figures.hits, figures.false, figures.objects) == (0, 0, 0)


def test_what_must_be_found_is_taken_before_what_need_not():
    figures = counted([0.4], [0.9], [0, 0.9], [False, True]).at(0)
    assert (figures.hits, figures.objects) == (1, 1)


def test_what_lies_where_nothing_was_labelled_is_no_error():
    assert counted([20], [0.9], [], [], errors=[False]).at(0).false == 0


def test_middles_too_far_apart_and_too_little_overlap_are_not_the_same():
    assert same_places(cars(0), cars(1.1), VEHICLE) == 0
    turned = cars(0)
    turned[:, 6] = np.pi / 2
    assert same_places(cars(0.9), turned, VEHICLE) > 0
    thin = cars(0)
    thin[:, 4] = 0.4
    assert same_places(cars(0), thin, VEHICLE) == 0
    assert same_places(cars(0), thin, PEDESTRIAN) > 0


def test_the_floor_is_the_most_hits_of_which_half_are_right():
    total = Tally(objects=4)
    total.scores = [(0.9, True), (0.8, False), (0.7, True), (0.6, False), (0.5, False), (0.4, True)]
    floor = total.at_floor()
    assert (floor.least, floor.hits, floor.false) == (0.4, 3, 3)
    total.scores = [(0.9, False), (0.8, False), (0.7, True)]
    assert total.at_floor().hits == 0


def test_labels_fall_in_the_picture_where_the_devkit_puts_them(data_dir):
    """The devkit's computeBox3D and projectToImage, in its own frame of reference."""
    folder = data_dir / "kitti_object"
    checked = 0
    for frame in kitti.frames(folder):
        p2 = read_numbers(folder / "calib" / f"{frame.name}.txt")["P2"].reshape(3, 4)
        camera = frame.calibration.cameras[kitti.CAMERA]
        pose = frame.calibration.pose("rect", "lidar")
        pinhole = PinholeView(camera.projection @ pose.matrix(), *camera.size)
        view = View(
            camera, pose, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool)
        )
        found, _ = outlines(frame.space.boxes, view)
        labels = read_labels(folder / "label_2" / f"{frame.name}.txt")
        for shown, label in zip(found, (x for x in labels if x.category != DONT_CARE), strict=True):
            length, width, height = label.size
            c, s = np.cos(label.turn), np.sin(label.turn)
            x = np.array([1, 1, -1, -1] * 2) * length / 2
            y = np.array([0] * 4 + [-height] * 4)
            z = np.array([1, -1, -1, 1] * 2) * width / 2
            eight = np.stack((c * x + s * z, y, c * z - s * x), 1) + label.place
            rows = np.column_stack((eight, np.ones(8))) @ p2.T
            ahead = eight[:, 2] > 0.3
            devkits = (rows[:, :2] / rows[:, 2:])[ahead]
            placed = frame.calibration.pose("lidar", "rect").apply(eight)
            exact, _ = camera.project(pose.apply(placed))
            np.testing.assert_allclose(exact[ahead], devkits, atol=0.01)
            points = np.column_stack((placed, np.zeros(8))).astype(np.float32)
            np.testing.assert_allclose(project(points, pinhole)[ahead, :2], devkits, atol=1.0)
            checked += 1
            if label.place[2] > 10:  # boxes upright in the LiDAR's frame, which is a degree askew
                devkits = np.clip(devkits, 0, np.array(camera.size) - 1)
                np.testing.assert_allclose(shown, (*devkits.min(0), *devkits.max(0)), atol=2.0)
    assert checked == 10


def label(**changes):
    given = {"category": "Car", "box": (0, 0, 100, 50), "size": (4, 2, 1.5), "place": (0, 1, 20)}
    return Label(**{**given, "turn": 0, "truncated": 0, "occluded": 0, "alpha": 0, **changes})


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, True),
        ({"occluded": 2, "truncated": 0.5}, True),
        ({"occluded": 3}, False),
        ({"truncated": 0.6}, False),
        ({"box": (0, 0, 100, 24)}, False),
        ({"place": (30, 1, 45)}, False),
    ],
)
def test_what_kittis_hard_level_asks_for(changes, needed):
    assert kitti.must_be_found(label(**changes)) == needed


def test_detections_that_need_not_be_right(data_dir):
    frame = next(
        frame for frame in kitti.frames(data_dir / "kitti_object") if frame.name == "000008"
    )
    small, there, none = (0, 0, 90, 20), frame.regions[0] + (1, 1, -1, 5), (10, 10, 90, 90)
    assert frame.excused(np.array([small, there, none])).tolist() == [True, True, False]


def test_argoverses_annotations_are_truth(data_dir):
    [one, _] = av2.sweeps(data_dir / "av2" / "7fab2350")
    needed = one.truth.kinds[one.truth.counted]
    assert [(needed == kind).sum() for kind in (VEHICLE, PEDESTRIAN, CYCLIST)] == [18, 4, 10]
    assert one.origin[0] == pytest.approx(1.35, abs=0.01)


def test_of_a_network_s_cells_each_is_a_box_with_its_class():
    out = np.zeros((85, 2, 4))
    out[0, 1, 2], out[5 + 7, 1, 2] = 0.81, 0.49
    boxes, scores, classes = decoded(out, (400, 200))
    assert classes[6] == 7
    assert scores[6] == pytest.approx(0.81**0.6 * 0.49**0.4)
    assert boxes[6].tolist() == [100, 50, 300, 150]


def test_drives_count_what_shows_and_is_near():
    found = drives.over_drives(1)
    for kind in drives.KINDS:
        counts = {found.tallies[sensor, kind].objects for sensor in drives.SENSORS}
        assert len(counts) == 1
    vehicles = {sensor: found.tallies[sensor, VEHICLE].at(0) for sensor in drives.SENSORS}
    assert vehicles["fused"].hits >= 1
    assert vehicles["fused"].objects >= 5
    assert found.speeds.given >= 1


def test_drives_are_counted_where_the_radar_does_not_know_how_it_moves(monkeypatch):
    monkeypatch.setattr(drives, "own_velocity", lambda targets: None)
    found = drives.over_drives(1)
    assert found.speeds.given == 0
    assert found.tallies["fused", VEHICLE].at(0).hits >= 1
