"""Tracks and free space of a drive whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.codec import Boxes
from infer.frames.pose import Pose
from infer.fusion.tracked import BELIEVED, in_world
from infer.pipeline.detection import MOST_TRACKED
from infer.pipeline.pipeline import Choices, Pipeline, _Votes
from infer.synthetic import STEP_M
from infer.track.overlap import YAW
from mesh.core.errors import ContentRefused, Misuse

SPEED = STEP_M / 0.1


def test_in_the_world_what_is_parked_stands_still_and_keeps_its_name(perceived_drive):
    last = perceived_drive[-1]
    assert last.place_from_sensor.target == "world"
    cars = (of(last, "car")) & (np.hypot(*_seen_from_sensor(last)) < 20)
    assert cars.sum() >= 4
    speeds = np.abs(last.tracks.velocity[cars, 0])
    assert np.median(speeds) < 0.3
    assert (speeds < 1).mean() > 0.8  # more and more is seen of some
    lasting = set.intersection(*(set(p.tracks.ids.tolist()) for p in perceived_drive[2:]))
    assert len(lasting & set(last.tracks.ids[cars].tolist())) >= 4


def test_what_keeps_up_moves_as_fast_as_the_vehicle(perceived_drive):
    last = perceived_drive[-1]
    x, y = _seen_from_sensor(last)
    behind = np.flatnonzero((np.abs(x + 17) < 5) & (np.abs(y - 1) < 2))
    assert behind.size == 1
    assert abs(last.tracks.velocity[behind[0], 0] - SPEED) < 1
    assert last.kinds[behind[0]] == "truck"


def of(perceived, kind: str) -> np.ndarray:
    return np.array([name == kind for name in perceived.kinds])


def _seen_from_sensor(perceived) -> tuple[np.ndarray, np.ndarray]:
    x, y, _ = perceived.place_from_sensor.inverse().apply(perceived.tracks.boxes[:, :3]).T
    return x, y


def test_the_lane_is_free_and_parked_cars_are_not(perceived_drive):
    last = perceived_drive[-1]
    here_x = last.place_from_sensor.translation[0]
    assert believed(last, here_x + np.arange(5, 12), np.zeros(7)).max() < 0
    cars = last.tracks.boxes[(of(last, "car")) & (last.tracks.boxes[:, 1] > 3)]
    near = cars[np.abs(cars[:, 0] - here_x) < 8]
    sides = near[:, 1] - near[:, 4] / 2 + 0.1  # what of them the vehicle sees
    assert len(near) >= 2
    assert believed(last, near[:, 0], sides).max() > 0
    assert last.occupancy.free_m2 > perceived_drive[0].occupancy.free_m2


def believed(perceived, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    occupancy = perceived.occupancy
    column = ((x - occupancy.corner[0]) / occupancy.cell_m).astype(int)
    row = ((y - occupancy.corner[1]) / occupancy.cell_m).astype(int)
    return occupancy.log_odds[row, column]


def test_without_poses_all_is_relative_and_occupancy_is_of_the_last_sweep(street_drive):
    pipeline, alone = Pipeline(), Pipeline()
    still = [(replace(s, world_from_sensor=None), boxes) for s, boxes in street_drive]
    told = [pipeline.perceive(s, s.stamp_us, boxes) for s, boxes in still]
    last = told[-1]
    assert last.place_from_sensor.target == last.scan.frame
    cars = (of(last, "car")) & (np.hypot(*last.tracks.boxes[:, :2].T) < 20)
    assert np.median(last.tracks.velocity[cars, 0]) < -SPEED / 2
    only = alone.perceive(still[-1][0], still[-1][0].stamp_us, still[-1][1])
    np.testing.assert_allclose(last.occupancy.log_odds, only.occupancy.log_odds, atol=1e-6)


def test_another_frame_of_reference_is_another_drive(street_drive):
    pipeline = Pipeline()
    (one, boxes), (two, more) = street_drive[:2]
    pipeline.perceive(one, one.stamp_us, boxes)
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    elsewhere = replace(two, world_from_sensor=Pose("map", "lidar", turned, np.zeros(3)))
    anew = pipeline.perceive(elsewhere, 0, more)  # its clock may be another too
    assert anew.tracks.ids.tolist() == list(range(1, len(more.yaws) + 1))
    np.testing.assert_allclose(anew.tracks.boxes[:, 0], -more.centres[:, 1], atol=1e-5)
    ahead = believed(anew, np.zeros(7), np.arange(5.0, 12))
    assert ahead.max() < 0, "the lane lies along the map's y"


def test_a_sweep_out_of_order_is_refused(street_drive):
    pipeline = Pipeline()
    (one, boxes), _ = street_drive[:2]
    pipeline.perceive(one, 1_000_000, boxes)
    with pytest.raises(Misuse, match="1 s came before"):
        pipeline.perceive(one, 900_000, boxes)


def test_objects_are_of_few_kinds_and_as_large_as_the_things(street_drive, perceived_drive):
    pipeline = Pipeline(Choices(way="objects"))
    told = [pipeline.perceive(s, s.stamp_us, boxes) for s, boxes in street_drive]
    last = told[-1]
    assert list(last.times_us) == ["objects", "tracks", "occupancy"]
    assert set(last.kinds) <= {"vehicle", "pedestrian", "cyclist"}
    assert last.tracks.scores.min() >= BELIEVED
    cars = of(last, "vehicle") & (np.hypot(*_seen_from_sensor(last)) < 15)
    assert cars.sum() >= 4
    truth, boxes = np.array([4.2, 1.8, 1.6]), of(perceived_drive[-1], "car")
    whole = np.abs(last.tracks.boxes[cars, 3:YAW] - truth).mean()
    assert whole < np.abs(perceived_drive[-1].tracks.boxes[boxes, 3:YAW] - truth).mean()
    assert last.occupancy.free_m2 > 200
    with pytest.raises(Misuse, match="no such way"):
        Pipeline(Choices(way="guessing"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("centres", np.nan), ("sizes", np.inf), ("sizes", -1), ("yaws", 1e30), ("scores", np.nan)],
)
def test_boxes_that_are_none_are_refused(street_drive, field, value):
    sighting, boxes = street_drive[0]
    spoilt = getattr(boxes, field).copy()
    spoilt.flat[-1] = value
    with pytest.raises(ContentRefused, match="boxes are refused"):
        Pipeline().perceive(sighting, 0, replace(boxes, **{field: spoilt}))


def test_of_very_many_boxes_the_surest_are_tracked(street_drive):
    sighting, boxes = street_drive[0]
    many = replace(
        boxes,
        **{name: np.concatenate([getattr(boxes, name)] * 30) for name in Boxes.__slots__},
    )
    told = Pipeline().perceive(sighting, 0, many)
    assert len(told.tracks) == MOST_TRACKED < len(many.scores)
    assert told.tracks.scores.min() >= np.sort(many.scores)[-MOST_TRACKED]


def test_each_stage_says_how_long_it_took(perceived_drive):
    for perceived in perceived_drive:
        assert list(perceived.times_us) == ["ground", "tracks", "occupancy"]
        assert min(perceived.times_us.values()) >= 0
        assert abs(perceived.ground.height_m + 1.73) < 0.05


@given(
    yaw=st.floats(-3.1, 3.1),
    turn=st.floats(-3.1, 3.1),
    place=st.tuples(*[st.floats(-1e3, 1e3)] * 3),
)
def test_a_carried_box_has_the_same_corners(yaw, turn, place):
    c, s = np.cos(turn), np.sin(turn)
    motion = Pose("b", "a", np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array(place))
    box = np.array([[7.0, -3, 1, 4, 2, 1.5, yaw]])
    moved = in_world(box, motion)
    np.testing.assert_allclose(front(moved), motion.apply(front(box)), atol=1e-9)
    np.testing.assert_array_equal(moved[:, 3:YAW], box[:, 3:YAW])


def front(boxes: np.ndarray) -> np.ndarray:
    yaw = boxes[:, YAW]
    ahead = np.column_stack((np.cos(yaw), np.sin(yaw), np.zeros(len(yaw))))
    return boxes[:, :3] + ahead * boxes[:, 3:4] / 2


def test_an_object_is_what_it_was_taken_for_most_often():
    votes, ids = _Votes(kept=2, kinds=5), np.array([4, 7])
    for taken_for in ((1, 0), (2, 0), (1, 3)):
        told = votes.add(ids, np.array(taken_for, np.uint8))
    assert told.tolist() == [1, 0]
    for _ in range(3):
        votes.add(ids[:0], np.zeros(0, np.uint8))
    assert votes.add(ids, np.array([2, 3], np.uint8)).tolist() == [2, 3]
