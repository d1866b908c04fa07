"""Fused objects followed over time, from a vehicle that moves and turns."""

from __future__ import annotations

import numpy as np
import pytest

from infer.frames.pose import Pose
from infer.fusion.lidar_objects import seen_by_lidar
from infer.fusion.objects import PEDESTRIAN, VEHICLE
from infer.fusion.tracked import ObjectTracker

PERIOD_S = 0.1


def ego(index):
    turn = 0.03 * index
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    return Pose("world", "lidar", rotation, np.array([1.2 * index, 0.1 * index, 1.7]))


def seen(index, world_boxes, kinds, scores):
    """World boxes as a vehicle sees them."""
    boxes = np.array(world_boxes, np.float64)
    boxes[:, :3] = ego(index).inverse().apply(boxes[:, :3])
    boxes[:, 6] -= 0.03 * index
    return seen_by_lidar(boxes, np.array(kinds), np.array(scores), np.arange(len(boxes)))


def test_tracks_are_of_the_world_and_of_one_class():
    tracker = ObjectTracker()
    for index in range(12):
        car = (20 + 8 * PERIOD_S * index, 4, 0.8, 4.4, 1.8, 1.6, 0.0)
        walker = (10, 6 - 1.4 * PERIOD_S * index, 0.9, 0.7, 0.6, 1.7, 0.0)
        doubtful = (30, -9, 0.8, 4.4, 1.8, 1.6, 0.0)
        kinds, scores = (PEDESTRIAN, VEHICLE, VEHICLE), (0.8, 0.9, 0.2)
        objects = seen(index, (walker, car, doubtful), kinds, scores)
        told = tracker.step(index * PERIOD_S, objects, ego(index))
    assert [len(told[kind]) for kind in (VEHICLE, PEDESTRIAN)] == [1, 1]
    assert told[VEHICLE].velocity[0, :2] == pytest.approx((8, 0), abs=0.4)
    assert told[PEDESTRIAN].velocity[0, :2] == pytest.approx((0, -1.4), abs=0.3)
    assert told[VEHICLE].boxes[0] == pytest.approx(car, abs=0.15)
    assert (tracker.sources[VEHICLE].tolist(), tracker.sources[PEDESTRIAN].tolist()) == ([1], [0])
