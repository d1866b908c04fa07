"""What is known of objects from answers in any order is what it would be from answers in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.codec import CLASSES, Boxes
from infer.frames.pose import Pose
from infer.offload.situation import KEPT, Situation

CAR, OTHER = CLASSES.index("car"), 0
PERIOD_US = 100_000
LOCAL, REMOTE = 0, 1


def seen(number: int, off_m: float = 0.0) -> Boxes:
    """A car that drives at 10 m/s along x, and a pole, at instant `number`."""
    centres = np.array([[number * 1.0 + off_m, 4.0, 0.8], [6.0, -3.0, 2.0]], np.float32)
    sizes = np.array([[4.2, 1.8, 1.6], [0.2, 0.2, 4.0]], np.float32)
    return Boxes(
        centres, sizes, np.zeros(2, np.float32), np.full(2, 0.9, np.float32),
        np.full(2, 100, np.uint32), np.array([CAR, OTHER], np.uint8), np.zeros(2, np.uint8),
    )  # fmt: skip


def learnt(numbers: list[int]) -> Situation:
    situation = Situation()
    for number in numbers:
        situation.learn(number * PERIOD_US, seen(number), REMOTE)
    return situation


def test_nothing_is_known_before_the_first_answer():
    objects = Situation().at(5)
    assert (len(objects), objects.seen_us) == (0, None)


def test_a_car_is_where_it_should_be_by_now_and_that_is_less_certain():
    situation = learnt(list(range(8)))
    then, now = situation.at(7 * PERIOD_US), situation.at(10 * PERIOD_US)
    assert now.classes.tolist() == [CAR, OTHER]
    assert now.seen_us == 7 * PERIOD_US
    assert now.tracks.boxes[0, 0] == pytest.approx(10.0, abs=0.3)
    assert now.tracks.boxes[1, 0] == pytest.approx(6.0)
    assert (now.tracks.motion[:, 0, 0] > then.tracks.motion[:, 0, 0]).all()


def test_what_stands_still_stays_where_it_is_when_the_vehicle_drives_and_turns():
    """A vehicle goes round a curve; the pole and the parked car are seen from where it is."""
    world = np.array([[12.0, 3.0, 0.8], [6.0, -3.0, 2.0]])

    def pose(number: int) -> Pose:
        c, s = np.cos(0.05 * number), np.sin(0.05 * number)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        return Pose("world", "sensor", turn, np.array([0.8 * number, 0.02 * number**2, 0]))

    situation = Situation()
    for number in range(6):
        seen_from = pose(number).inverse()
        boxes = seen(0)
        at = replace(
            boxes,
            centres=seen_from.apply(world).astype(np.float32),
            yaws=np.full(2, -0.05 * number, np.float32),
        )
        situation.learn(number * PERIOD_US, at, REMOTE, pose(number))
    now = situation.at(9 * PERIOD_US, pose(9)).tracks
    np.testing.assert_allclose(now.boxes[:, :3], pose(9).inverse().apply(world), atol=0.02)
    assert now.boxes[0, 6] == pytest.approx(-0.45, abs=0.02)
    assert np.abs(now.velocity).max() < 0.1


@given(st.permutations(range(KEPT)))
def test_the_order_of_few_answers_makes_no_difference(order):
    first, *others = range(KEPT + 1)
    mixed = [first, *(others[i] for i in order)]
    one, other = learnt([first, *others]), learnt(mixed)
    a, b = one.at(6 * PERIOD_US), other.at(6 * PERIOD_US)
    np.testing.assert_array_equal(a.tracks.ids, b.tracks.ids)
    np.testing.assert_allclose(a.tracks.boxes, b.tracks.boxes)
    np.testing.assert_allclose(a.tracks.motion, b.tracks.motion)


def test_a_late_remote_answer_takes_the_place_of_the_local_one():
    situation = learnt([0, 1, 2])
    assert situation.learn(3 * PERIOD_US, seen(3, off_m=1.0), LOCAL)
    coarse = situation.at(4 * PERIOD_US).tracks.boxes[0, 0]
    assert situation.learn(3 * PERIOD_US, seen(3), REMOTE)
    better = situation.at(4 * PERIOD_US).tracks.boxes[0, 0]
    assert abs(better - 4.0) < abs(coarse - 4.0)
    assert not situation.learn(3 * PERIOD_US, seen(3, off_m=1.0), LOCAL)
    assert situation.at(4 * PERIOD_US).tracks.boxes[0, 0] == better


def test_an_answer_that_comes_too_late_is_left_out():
    situation = learnt(list(range(1, KEPT + 3)))
    assert not situation.learn(0, seen(0), REMOTE)
    assert len(situation.at(0)) == 2
