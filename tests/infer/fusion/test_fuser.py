"""What a camera and a radar add to what a LiDAR sees, in scenes where all is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.frames.calibration import Camera
from infer.frames.pose import Pose
from infer.fusion.fuser import flat, fuse, once
from infer.fusion.lidar_objects import LidarDetector, seen_by_lidar
from infer.fusion.objects import CYCLIST, NONE, OTHER, PEDESTRIAN, VEHICLE
from infer.fusion.pictures import View, corners, outlines, overlap, view_of
from infer.fusion.rules import FusionRules
from infer.fusion.with_radar import RadarView, with_radar
from infer.perception.nms import iou
from infer.perception.radar import Radar
from infer.synthetic import Thing, scan

CAMERA = Camera.pinhole((720, 720), (620, 180), (1240, 376))
AHEAD = Pose("camera", "lidar", np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.zeros(3))
LEVEL = Pose.identity("radar", "lidar")


def box(x, y, yaw=0.0, size=(4.4, 1.8, 1.6)):
    return [x, y, size[2] / 2 - 1.73, *size, yaw]


def view(*boxes, kind=VEHICLE, score=0.8, large=False):
    """What a camera would find of boxes, exactly."""
    shown, _ = outlines(np.array(boxes, np.float64).reshape(-1, 7), empty())
    kinds, scores = np.full(len(boxes), kind), np.full(len(boxes), score)
    return View(CAMERA, AHEAD, shown, kinds, scores, np.full(len(boxes), large))


def empty():
    return View(
        CAMERA, AHEAD, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool)
    )


def car(x, y, yaw=0.0):
    steps = ((4.4, 1.8, 0.9), (4.0, 1.7, 1.1), (3.6, 1.6, 1.35), (3.2, 1.5, 1.6))
    return [Thing(x, y, size, np.degrees(yaw)) for size in steps]


@pytest.fixture(scope="module")
def detector():
    return LidarDetector(130_000)


def fused(detector, things, *views, radars=()):
    points = scan(things)
    return fuse(points, detector.detect(points), views, radars)


def agreement(objects, *boxes):
    return iou(flat(np.array(boxes)), flat(objects.boxes))


def test_a_car_that_both_see_is_more_certain_and_says_who_saw_it(detector):
    alone = fused(detector, car(12, 3))
    both = fused(detector, car(12, 3), view(box(12, 3)))
    assert len(alone) == len(both) == 1
    assert both.scores[0] > max(alone.scores[0], 0.95)
    assert (both.clusters[0], both.pictures[0], both.cameras[0]) == (alone.clusters[0], 0, 0)
    assert both.targets[0] == NONE
    assert agreement(both, box(12, 3)).max() > 0.6


def test_what_a_camera_would_see_and_does_not_is_doubted(detector):
    things = [*car(12, 3), *car(-12, 3)]
    alone, both = fused(detector, things), fused(detector, things, empty())
    ahead = both.boxes[:, 0] > 0
    odds = [scores / (1 - scores) for scores in (both.scores[ahead], alone.scores[~ahead])]
    assert 0.03 < odds[0] / odds[1] < 0.2  # a camera finds nine in ten of what is so near
    assert both.scores[~ahead] == pytest.approx(alone.scores[alone.boxes[:, 0] < 0])


def test_the_camera_says_what_it_is(detector):
    found = fused(detector, car(12, 3), view(box(12, 3), kind=PEDESTRIAN, score=0.7))
    assert found.kinds.tolist() == [PEDESTRIAN]
    assert 0.7 < found.scores[0] < fused(detector, car(12, 3), view(box(12, 3))).scores[0]


@pytest.mark.parametrize("yaw", [-0.5, -0.25, 0.3, 0.6])
def test_of_a_car_of_which_only_the_back_was_seen_the_camera_knows_the_heading(detector, yaw):
    truth = box(30, -4, yaw)
    points = scan(car(30, -4, yaw))
    seen = detector.detect(points)
    near = np.hypot(*(points[:, :2] - (30, -4)).T) < 3
    along = points[:, 0] * np.cos(yaw) + points[:, 1] * np.sin(yaw)
    front = near & (seen.above > 0.1) & (along > along[near & (seen.above > 0.2)].min() + 0.7)
    thinned = points[~front]
    found = fuse(thinned, detector.detect(thinned), [view(truth)])
    assert agreement(found, truth).max() > 0.4


def test_points_that_are_no_cluster_are_a_car_where_the_camera_sees_one(detector):
    whole = scan(car(40, 3))
    near = np.abs(whole[:, :2] - (40, 3)).max(axis=1) < 3
    near &= whole[:, 2] > -1.4
    thinned = np.concatenate((whole[~near], whole[near][:4]))
    seen = detector.detect(thinned)
    assert not (seen.objects.boxes[:, 0] > 30).any()
    found = fuse(thinned, seen, [view(box(40, 3))])
    assert (found.clusters[0], found.pictures[0]) == (NONE, 0)
    assert np.hypot(*(found.boxes[0, :2] - (40, 3))) < 1.0


CYCLE = (1.75, 0.6, 1.75)


def views(*seen):
    """One camera's picture of several views' boxes."""
    fields = ("boxes", "kinds", "scores", "large")
    return View(CAMERA, AHEAD, *(np.concatenate([getattr(v, f) for v in seen]) for f in fields))


def test_a_cyclist_so_close_to_a_car_that_both_are_one_cluster_is_found_beside_it(detector):
    here, beside = box(12, 3), box(11.5, 1.5, size=CYCLE)
    points = scan([*car(12, 3), Thing(11.5, 1.5, CYCLE)])
    seen = detector.detect(points)
    near = np.abs(seen.objects.boxes[:, :2] - (12, 2.5)).max(axis=1) < 2.5
    assert near.sum() == 1, "the LiDAR takes both for one"
    found = fuse(points, seen, [views(view(here), view(beside, kind=CYCLIST))])
    assert sorted(found.kinds.tolist()) == [VEHICLE, CYCLIST]
    places = {int(kind): box for kind, box in zip(found.kinds, found.boxes, strict=True)}
    assert np.hypot(*(places[CYCLIST][:2] - beside[:2])) < 0.7
    assert agreement(found.of_kind(VEHICLE), here).max() > 0.6


def test_who_sits_in_a_car_is_part_of_it(detector):
    here = view(box(12, 0))
    left, top, right, bottom = here.boxes[0]
    middle, sill = (left + right) / 2, top + 0.55 * (bottom - top)
    driver = View(
        CAMERA, AHEAD, np.array([[middle - 8, top + 4, middle + 8, sill]]),
        np.array([PEDESTRIAN]), np.array([0.7]), np.zeros(1, bool),
    )  # fmt: skip
    found = fused(detector, car(12, 0), views(here, driver))
    assert found.kinds.tolist() == [VEHICLE]


def test_where_the_lidar_saw_nothing_there_is_nothing(detector):
    assert not len(fused(detector, [], view(box(20, 3))))


def test_two_cameras_that_see_one_car_see_one_car(detector):
    found = fused(detector, car(12, 3), view(box(12, 3)), view(box(12, 3), score=0.6))
    assert len(found) == 1
    assert found.cameras[0] == 0


def test_without_ground_nothing_is_fused(detector):
    points = np.zeros((0, 4), np.float32)
    assert not len(fuse(points, detector.detect(points), [view(box(12, 3))]))


@dataclass
class Found:
    boxes: np.ndarray
    scores: np.ndarray
    labels: list[str]


def test_only_traffic_is_taken_of_what_a_detector_of_many_classes_finds():
    boxes = np.array([[-5, 0, 50, 60], [1, 1, 5, 5], [600, 100, 2000, 200]], np.float32)
    found = Found(boxes, np.array([0.5, 0.6, 0.7], np.float32), ["person", "cat", "truck"])
    taken = view_of(CAMERA, AHEAD, found)
    assert taken.kinds.tolist() == [PEDESTRIAN, VEHICLE]
    assert taken.large.tolist() == [False, True]
    assert taken.boxes.tolist() == [[0, 0, 50, 60], [600, 100, 1239, 200]]
    np.testing.assert_allclose(taken.scores, [0.5, 0.7], atol=1e-6)


# --- outlines ---


@given(st.floats(6, 60), st.floats(-0.4, 0.4), st.floats(-4, 4))
@settings(max_examples=40, deadline=None)
def test_an_outline_holds_what_is_ahead_of_its_boxs_corners(away, side, yaw):
    boxes = np.array([box(away, away * side, yaw)])
    [shown], [inside] = outlines(boxes, empty())
    pixels, seen = CAMERA.project(AHEAD.apply(corners(boxes)[0]))
    assert inside
    clipped = np.clip(pixels, 0, np.array(CAMERA.size) - 1)
    np.testing.assert_allclose(shown, (*clipped.min(axis=0), *clipped.max(axis=0)), atol=1e-6)
    assert seen.any()


def test_a_box_that_reaches_behind_the_camera_is_cut_off_before_it():
    [shown, gone], [inside, seen] = outlines(np.array([box(1.5, 1.5), box(-20, 0)]), empty())
    assert inside
    assert not seen
    assert shown[0] == 0
    assert 0 < shown[2] < 620
    assert (gone == 0).all()


def test_overlaps_of_pictures():
    one = np.array([[0, 0, 10, 10], [5, 5, 5, 5.0]])
    other = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 5.0]])
    np.testing.assert_allclose(overlap(one, other)[0], [1, 1 / 3, 0, 0])
    assert (overlap(one, other)[1] == 0).all()


# --- what is one thing ---


def test_of_two_that_are_one_thing_the_more_certain_stays():
    boxes = np.array([box(10, 0), box(10.5, 0.2), box(30, 0)], np.float64)
    objects = seen_by_lidar(boxes, np.zeros(3, np.int64), np.array([0.4, 0.9, 0.5]), np.arange(3))
    kept = once(objects, 0.3)
    assert kept.clusters.tolist() == [1, 2]
    assert kept.scores.tolist() == [0.9, 0.5]


def test_what_is_no_thing_is_not_told_of(detector):
    points = scan([Thing(10, 6, (20, 0.3, 3))])
    seen = detector.detect(points)
    assert (seen.objects.kinds == OTHER).any()
    assert not len(fuse(points, seen))


# --- radar ---


def radar_of(objects, velocities, own=(0.0, 0.0), away=0.0):
    """A radar's exact targets of objects, `away` metres nearer than their middles."""
    places = objects.boxes[:, :2]
    reach, azimuth = np.hypot(*places.T), np.arctan2(places[:, 1], places[:, 0])
    beams = np.stack((np.cos(azimuth), np.sin(azimuth)), axis=1)
    speeds = ((np.array(velocities) - own) * beams).sum(axis=1)
    zeros = np.zeros_like(reach)
    targets = np.stack((reach - away, azimuth, zeros, speeds, zeros), axis=1)
    return RadarView(targets.astype(np.float32), LEVEL, Radar(own, range_m=2.0))


def two_cars():
    boxes = np.array([box(20, 0), box(25, 12)], np.float64)
    return seen_by_lidar(boxes, np.zeros(2, np.int64), np.array([0.5, 0.5]), np.arange(2))


def test_a_radar_tells_how_fast_things_come_and_that_what_moves_is_there():
    objects = two_cars()
    view = radar_of(objects, [(-8.0, 0.0), (0.0, 0.0)], own=(12.0, 0.0), away=1.5)
    told = with_radar(objects, view, FusionRules())
    assert told.targets.tolist() == [0, 1]
    np.testing.assert_allclose(told.velocity, [(-8, 0), (0, 0)], atol=0.05)
    assert told.scores[0] > told.scores[1] == 0.5
    np.testing.assert_array_equal(told.boxes, objects.boxes)


@pytest.mark.parametrize(("speed", "kind"), [(-1.5, PEDESTRIAN), (-4.0, CYCLIST)])
def test_who_comes_faster_than_anybody_walks_rides(speed, kind):
    boxes = np.array([box(20, 0, size=(0.7, 0.6, 1.7))], np.float64)
    walker = seen_by_lidar(boxes, np.array([PEDESTRIAN]), np.array([0.5]), np.arange(1))
    told = with_radar(walker, radar_of(walker, [(speed, 0.0)]), FusionRules())
    assert told.kinds.tolist() == [kind]


def test_a_radar_says_nothing_of_motion_across_its_beam():
    objects = two_cars()
    told = with_radar(objects, radar_of(objects, [(-8.0, 3.0), (0.0, 0.0)]), FusionRules())
    assert told.velocity[0] == pytest.approx((-8, 0), abs=0.05)
    assert told.covariance[0, 2, 2] < 0.05
    assert told.covariance[0, 3, 3] == pytest.approx(100)
    assert (np.linalg.eigvalsh(told.covariance) > 0).all()


def test_a_radar_that_is_turned_tells_the_same():
    objects = two_cars()
    turn = Pose("radar", "lidar", np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]), np.zeros(3))
    ahead = radar_of(objects, [(-8.0, 0.0), (2.0, 1.0)])
    targets = ahead.targets - np.array((0, np.pi / 2, 0, 0, 0), np.float32)
    turned = with_radar(objects, RadarView(targets, turn, ahead.radar), FusionRules())
    straight = with_radar(objects, ahead, FusionRules())
    np.testing.assert_allclose(turned.velocity, straight.velocity, atol=1e-3)
    np.testing.assert_allclose(turned.covariance, straight.covariance, atol=1e-3)


def test_a_target_far_from_all_is_nobodys():
    objects = two_cars()
    view = RadarView(np.array([[60, 0.5, 0, 3, 0]], np.float32), LEVEL, Radar())
    told = with_radar(objects, view, FusionRules())
    assert (told.targets == NONE).all()
    np.testing.assert_array_equal(told.velocity, objects.velocity)


def test_a_radar_in_the_fuser(detector):
    points = scan(car(12, 3))
    seen = detector.detect(points)
    ours = radar_of(fuse(points, seen), [(5.0, 0.7)])
    found = fuse(points, seen, (), [ours])
    assert found.targets.tolist() == [0]
    assert found.velocity[0, 0] == pytest.approx(5.0, abs=0.3)
