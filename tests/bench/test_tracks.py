"""The measure of tracking, by cases counted by hand; the baseline on a simple drive."""

from __future__ import annotations

import numpy as np
import pytest

from bench.tracks.baseline import Baseline
from bench.tracks.kitti import Drive, Objects, Truth
from bench.tracks.measure import count, measured, thresholds

SEEN = [0.0, 0.0, 100.0, 100.0]  # a box of the picture, large enough


def objects(*given: tuple[int, float], score: float = 1.0) -> Objects:
    """Cars by (name, metres ahead)."""
    boxes = np.array([[x, 0, 0, 4, 2, 1.5, 0] for _, x in given], float).reshape(-1, 7)
    pictures = np.array([SEEN] * len(given)).reshape(-1, 4)
    names = np.array([name for name, _ in given], np.int64)
    return Objects(boxes, pictures, names, np.full(len(given), score))


def drive(*frames: Objects, ignored: int = -1, regions: list | None = None) -> Drive:
    truth = [
        Truth(each, each.ids != ignored, np.array(regions or []).reshape(-1, 4)) for each in frames
    ]
    return Drive("made up", truth, list(frames))


def test_all_right_is_one():
    made = drive(*[objects((1, 10.0), (2, 30.0))] * 20)
    score = measured([made], [[objects((7, 10.0), (8, 30.0))] * 20])
    assert (score.mota, score.switches) == (1.0, 0)
    # Of 40 objects each is a step, and the first step is of no recall: 39 are left.
    assert score.samota == pytest.approx(39 / 40)
    assert score.amota == pytest.approx(39 / 40)  # all score alike: every step takes all


def test_what_is_missed_false_or_changes_its_name_is_counted():
    made = drive(*[objects((1, 10.0), (2, 30.0))] * 4)
    told = [
        objects((7, 10.0), (8, 30.0)),
        objects((7, 10.0)),  # one missed
        objects((7, 10.0), (8, 30.0), (9, 50.0)),  # one false
        objects((8, 10.0), (7, 30.0)),  # both are others
    ]
    found = count([made], [told], -np.inf)
    assert (found.objects, found.missed, found.false, found.switches) == (8, 1, 1, 2)
    assert found.mota == pytest.approx(1 - 4 / 8)
    assert found.scaled_mota(0.75) == pytest.approx(1 - (4 - 2) / 6)


def test_a_name_that_changes_while_it_was_lost_is_no_switch():
    made = drive(*[objects((1, 10.0))] * 3)
    found = count([made], [[objects((7, 10.0)), objects(), objects((8, 10.0))]], -np.inf)
    assert (found.missed, found.switches) == (1, 0)


def test_what_need_not_be_found_is_neither_missed_nor_false():
    made = drive(*[objects((1, 10.0), (2, 30.0))] * 2, ignored=2)
    found = count([made], [[objects((7, 10.0), (8, 30.0)), objects((7, 10.0))]], -np.inf)
    assert (found.objects, found.missed, found.false) == (2, 0, 0)
    assert len(found.scores) == 3  # also of what need not be found, as it is published


@pytest.mark.parametrize(("regions", "false"), [([], 1), ([[0, 0, 60, 100]], 0)])
def test_where_nothing_was_labelled_nothing_is_false(regions: list, false: int):
    made = drive(objects((1, 10.0)), regions=regions)
    assert count([made], [[objects((7, 10.0), (8, 50.0))]], -np.inf).false == false


def test_what_overlaps_too_little_is_another():
    made = drive(objects((1, 10.0)))
    for ahead, missed in ((12.3, 0), (12.5, 1)):  # 1.7 of 6.3 metres, 1.5 of 6.5
        assert count([made], [[objects((7, ahead))]], -np.inf).missed == missed


def test_thresholds_are_a_fortieth_of_the_objects_apart():
    found = thresholds([1.0 - k / 100 for k in range(80)], 100)
    recalls = [recall for _, recall in found]
    assert recalls == pytest.approx([k / 40 for k in range(1, len(found) + 1)])
    assert len(found) == 32
    assert [score for score, _ in found] == sorted((s for s, _ in found), reverse=True)


def test_the_baseline_follows_what_drives_by():
    baseline = Baseline()
    told = [baseline.step(objects((0, 5.0 + 0.8 * k), (0, 40.0))) for k in range(10)]
    assert all(each.ids.tolist() == [1, 2] for each in told)
    assert told[-1].boxes[0, 0] == pytest.approx(5.0 + 0.8 * 9, abs=0.2)
    gone = [baseline.step(objects((0, 5.0 + 0.8 * k))) for k in range(10, 13)]
    assert [each.ids.tolist() for each in gone] == [[1, 2], [1], [1]]
