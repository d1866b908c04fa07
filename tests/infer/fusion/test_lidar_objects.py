"""Objects found in synthetic sweeps, where all is known, and in KITTI's."""

from __future__ import annotations

import numpy as np
import pytest

from infer.fusion.lidar_objects import LidarDetector, Rules
from infer.fusion.objects import CYCLIST, PEDESTRIAN, VEHICLE
from infer.perception.nms import iou
from infer.synthetic import Thing, scan

BELIEVED = 0.5


@pytest.fixture(scope="module")
def detector():
    return LidarDetector(130_000)


def believed(seen):
    return seen.objects.taken(seen.objects.scores > BELIEVED)


def car(x, y, yaw=0.0):
    """4.4 by 1.8 m, 1.6 m high; its windows lean back by 0.6 m, in three steps."""
    steps = ((4.4, 1.8, 0.9), (4.0, 1.7, 1.1), (3.6, 1.6, 1.35), (3.2, 1.5, 1.6))
    return [Thing(x, y, size, yaw) for size in steps]


def flat(boxes):
    return np.array(boxes, np.float32)[:, [0, 1, 3, 4, 6]]


CARS = [(12, 3, 5), (25, -4, 90), (-15, 6, 30), (0, -8, 0), (8, 12, -60), (-30, -6, 3)]


def test_cars_all_around_are_found_whole(detector):
    things = [thing for place in CARS for thing in car(*place)]
    found = believed(detector.detect(scan(things)))
    assert (found.kinds == VEHICLE).all()
    truth = np.array([(x, y, 4.4, 1.8, np.radians(yaw)) for x, y, yaw in CARS], np.float32)
    overlaps = iou(truth, flat(found.boxes))
    assert (overlaps.max(axis=1) > 0.5).all()
    assert len(found) == len(CARS)
    np.testing.assert_allclose(found.boxes[:, 2], -1.73 + 0.8, atol=0.2)


def test_a_car_that_is_half_hidden_goes_on_behind_what_hides_it(detector):
    # Straight ahead and seen from behind; a van in front leaves a part of its back to be seen.
    things = [*car(20, 0), Thing(10, 1.4, (4.4, 1.8, 1.9))]
    found = believed(detector.detect(scan(things)))
    truth = np.array([(20, 0, 4.4, 1.8, 0)], np.float32)
    assert iou(truth, flat(found.boxes)).max() > 0.3


@pytest.mark.parametrize(
    ("size", "kind"), [((0.6, 0.5, 1.75), PEDESTRIAN), ((1.8, 0.4, 1.6), CYCLIST)]
)
def test_walkers_and_cyclists_are_told_apart(detector, size, kind):
    found = believed(detector.detect(scan([Thing(10, 2, size, 20)])))
    assert found.kinds.tolist() == [kind]
    assert np.hypot(*(found.boxes[0, :2] - (10, 2))) < 0.3


@pytest.mark.parametrize(
    "thing", [Thing(10, 4, (20, 0.3, 3)), Thing(14, 2, (0.3, 0.3, 6)), Thing(12, 0, (3, 0.05, 1.5))]
)
def test_walls_and_posts_are_none_of_these(detector, thing):
    assert not len(believed(detector.detect(scan([thing]))))


def test_every_object_names_its_cluster(detector):
    seen = detector.detect(scan(car(12, 3)))
    [cluster] = believed(seen).clusters
    near = scan(car(12, 3))[seen.of_point == cluster]
    assert len(near) > 100
    assert np.abs(near[:, :2] - (12, 3)).max() < 2.5
    assert (believed(seen).pictures == -1).all()


def test_what_stands_elsewhere_than_in_the_origin_is_completed_away_from_there():
    things = car(20, 0)
    points = scan(things) + np.array((1.5, 0, 0, 0), np.float32)
    found = believed(LidarDetector(130_000, Rules(origin=(1.5, 0))).detect(points))
    assert np.abs(found.boxes[0, :2] - (21.5, 0)).max() < 0.3


def test_nothing_is_found_where_there_is_no_ground(detector):
    seen = detector.detect(np.zeros((0, 4), np.float32))
    assert not len(seen.objects)
    assert seen.ground is None


def test_no_measurement_is_no_object(detector):
    points = scan(car(12, 3))
    lost = np.concatenate((points, np.full((50, 4), np.nan, np.float32)))
    assert len(believed(detector.detect(lost))) == 1


def test_parked_cars_of_kitti_are_found(clip, detector):
    # A street with cars on both sides, seen by eye in the pictures: no labels.
    found = [believed(detector.detect(points)).of_kind(VEHICLE) for points in clip[:2]]
    assert all(5 <= len(each) <= 40 for each in found)
    sizes = np.concatenate([each.boxes[:, 3:5] for each in found])
    assert (sizes[:, 0] > 3).all()
    assert (sizes[:, 1] < 2.7).all()
