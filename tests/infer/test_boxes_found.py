"""Known boxes in synthetic sweeps are found, where they are and as they are turned.

Tolerances, for noise of 1 cm and what a sensor sees from one side: centre 0.25 m, length and width
0.3 m, yaw 4 degrees; a thing seen from one side alone may seem thinner than it is.
"""

from __future__ import annotations

import numpy as np
import pytest

from infer.codec import CLASSES

CENTRE_M, SIZE_M, YAW_DEG = 0.25, 0.3, 4.0


def nearest(result, thing):
    away = np.hypot(*(result.boxes.centres[:, :2] - (thing.x, thing.y)).T)
    return int(away.argmin())


def yaw_error(result, index, thing):
    turn = np.degrees(result.boxes.yaws[index]) - thing.yaw
    return abs((turn + 90) % 180 - 90)


def seen_from_origin(thing):
    """The sensor's place in the thing's own frame: along its length, across."""
    turn = np.radians(thing.yaw)
    c, s = np.cos(turn), np.sin(turn)
    return abs(c * thing.x + s * thing.y), abs(c * thing.y - s * thing.x)


def shows_two_sides(thing):
    """Whether both sides are seen at more than a grazing angle."""
    along, across = seen_from_origin(thing)
    return along > thing.size[0] / 2 + 2.5 and across > thing.size[1] / 2 + 2.5


POSES = [
    (x, y, yaw)
    for x, y in ((9, 5), (-12, 7), (6, -13), (-14, -14))
    for yaw in (0, 17, 31, 45, 62, 77, 90, 108, 131, 150, 178)
]


@pytest.mark.parametrize("pose", POSES, ids=str)
def test_a_car_is_found_and_turned_right(bench, scene, thing, pose):
    car = thing("car", *pose)
    if not shows_two_sides(car):
        car = thing("car", *pose[:2], pose[2] + 45)
    result = bench(scene([car]))
    assert len(result.boxes.yaws) == 1
    np.testing.assert_allclose(result.boxes.centres[0, :2], pose[:2], atol=CENTRE_M)
    np.testing.assert_allclose(result.boxes.sizes[0], car.size, atol=SIZE_M)
    assert yaw_error(result, 0, car) <= YAW_DEG
    assert CLASSES[result.boxes.classes[0]] == "car"


def test_a_car_seen_from_behind_is_as_wide_as_it_is_and_where_it_begins(bench, scene, thing):
    """Its length does not show: one box, the near side in place, at right angles."""
    result = bench(scene([thing("car", 12, 0, 0)]))
    assert len(result.boxes.yaws) == 1
    [box] = result.boxes.sizes
    assert abs(box[0] - 1.8) < SIZE_M or abs(box[1] - 1.8) < SIZE_M
    assert abs(result.boxes.centres[0, 1]) < CENTRE_M
    turned = abs(np.degrees(result.boxes.yaws[0]))
    assert min(turned, 90 - turned) <= YAW_DEG


@pytest.mark.parametrize("sectors", [1, 2, 4, 8])
def test_a_truck_across_a_border_is_one_box(bench, scene, thing, sectors):
    """The first sector begins, and the last ends, along -x."""
    truck = thing("truck", -12.0, 2.0, 35)
    result = bench(scene([truck]), sectors)
    assert len(result.boxes.yaws) == 1
    np.testing.assert_allclose(result.boxes.centres[0, :2], (truck.x, truck.y), atol=CENTRE_M)
    # No beam reaches its top.
    np.testing.assert_allclose(result.boxes.sizes[0, :2], truck.size[:2], atol=SIZE_M)
    assert yaw_error(result, 0, truck) <= YAW_DEG
    assert CLASSES[result.boxes.classes[0]] == "truck"


def test_things_side_by_side_are_told_apart(bench, scene, thing):
    things = [
        thing("car", 10, 4, 70),
        thing("car", 14, -6, 15),
        thing("walker", 5, -7, 0),
        thing("walker", -6, 6, 30),
        thing("truck", -18, -8, 70),
    ]
    result = bench(scene(things))
    assert len(result.boxes.yaws) == len(things)
    found = [nearest(result, known) for known in things]
    assert sorted(found) == list(range(len(things)))
    names = [CLASSES[result.boxes.classes[index]] for index in found]
    assert names == ["car", "car", "pedestrian", "pedestrian", "truck"]


def test_flat_and_sloping_ground_hold_no_boxes(bench, scene):
    flat = scene([])
    assert len(bench(flat).boxes.yaws) == 0
    for slope in (0.03, -0.03):
        tilted = flat.copy()
        tilted[:, 2] += slope * tilted[:, 0]
        assert len(bench(tilted).boxes.yaws) == 0


def test_what_hangs_over_the_road_is_no_obstacle(bench, scene):
    x, y = np.meshgrid(np.arange(8, 12, 0.1), np.arange(-2, 2, 0.1))
    bridge = np.zeros((x.size, 4), np.float32)
    bridge[:, :3] = np.stack((x.ravel(), y.ravel(), np.full(x.size, 2.5))).T
    result = bench(np.concatenate((scene([]), bridge)))
    assert len(result.boxes.yaws) == 0


def test_the_vehicle_that_carries_the_sensor_is_left_out(bench, scene):
    roof = np.zeros((200, 4), np.float32)
    roof[:, 0], roof[:, 1] = np.linspace(-2.5, 2.5, 200), 0.3
    roof[:, 2] = -0.6
    result = bench(np.concatenate((scene([]), roof)))
    assert len(result.boxes.yaws) == 0
    assert result.counts.outside >= 200


def test_the_cars_of_a_real_street_are_found(bench, clip):
    """The clip's two nearest parked cars; where they stand was read off the points by eye."""
    result = bench(clip[7])
    for x, y in ((5.8, 3.3), (-7.3, 3.8)):
        away = np.hypot(*(result.boxes.centres[:, :2] - (x, y)).T)
        assert away.min() < 0.5
        assert CLASSES[result.boxes.classes[away.argmin()]] == "car"
