"""Who is who, who came and who left."""

from __future__ import annotations

import numpy as np
import pytest

from infer.track.tracker import Rules, Tracker
from mesh.core.errors import Misuse

CAR = np.array([4.0, 1.8, 1.5, 0.0])


def at(*places: tuple[float, float]) -> np.ndarray:
    return np.array([[x, y, 0.75, *CAR] for x, y in places]).reshape(-1, 7)


def ones(boxes: np.ndarray) -> np.ndarray:
    return np.ones(len(boxes))


def test_two_that_pass_each_other_keep_their_names():
    tracker = Tracker()
    names = set()
    for k in range(30):
        boxes = at((1.2 * k, 0.0), (36 - 1.2 * k, 3.0))
        told = tracker.step(0.1 * k, boxes[:: (-1) ** k], ones(boxes))  # in either order
        near = told.boxes[:, 1] < 1.5
        names.add((int(told.ids[near][0]), int(told.ids[~near][0])))
    assert names == {(1, 2)}


def test_one_that_is_hidden_for_a_while_is_the_same_when_it_comes_back():
    tracker = Tracker()
    told = []
    for k in range(16):
        boxes = at((1.5 * k, 0.0)) if k not in {8, 9, 10} else at()
        told.append(tracker.step(0.1 * k, boxes, ones(boxes)).ids.tolist())
    assert told[7] == told[11] == [1]
    assert told[8] == told[10] == []


def test_one_that_is_gone_for_long_has_another_name():
    tracker = Tracker(Rules(missed=3))
    seen = {0, 1, 2, 3, 8, 9, 10}
    told = [
        tracker.step(0.1 * k, at((5.0, 0.0)) if k in seen else at(), np.ones(int(k in seen))).ids
        for k in range(11)
    ]
    assert told[3].tolist() == [1]
    assert told[10].tolist() == [2]


def test_one_is_told_of_when_it_was_seen_often_enough():
    tracker = Tracker(Rules(sightings=3))
    for k in range(5):
        tracker.step(0.1 * k, at(), np.zeros(0))
    counts = [len(tracker.step(0.5 + 0.1 * k, at((k, 0.0)), np.ones(1))) for k in range(4)]
    assert counts == [0, 0, 1, 1]


def test_each_object_names_the_box_it_was():
    tracker = Tracker()
    for k in range(3):
        boxes = at((9.0, 9.0), (0.5 * k, 0.0))
        told = tracker.step(0.1 * k, boxes, np.array([0.3, 0.8]))
    np.testing.assert_allclose(told.scores, np.array([0.3, 0.8])[tracker.sources])
    assert sorted(tracker.sources.tolist()) == [0, 1]


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        (np.zeros((2, 6)), np.ones(2)),
        (np.zeros((2, 7)), np.ones(3)),
        (np.full((1, 7), np.nan), np.ones(1)),
    ],
)
def test_what_is_no_box_is_refused(boxes: np.ndarray, scores: np.ndarray):
    with pytest.raises(Misuse, match="cannot be tracked"):
        Tracker().step(0.0, boxes, scores)


def test_time_goes_on():
    tracker = Tracker()
    tracker.step(1.0, at((0.0, 0.0)), np.ones(1))
    with pytest.raises(Misuse, match="in order of time"):
        tracker.step(0.5, at((0.0, 0.0)), np.ones(1))
