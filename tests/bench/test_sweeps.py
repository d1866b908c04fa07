"""When a result counts as right: the tolerances that the benchmark claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.sweeps import right
from infer.codec import Boxes, Counts, Result, StageTimes


@pytest.fixture
def alone() -> Result:
    boxes = Boxes(
        centres=np.array([[10, 2, -1], [5, -3, -1]], np.float32),
        sizes=np.array([[4, 2, 1.5], [0.6, 0.5, 1.7]], np.float32),
        yaws=np.radians(np.array([89.9, 10], np.float32)),
        scores=np.array([0.9, 0.5], np.float32),
        points=np.array([300, 32], np.uint32),
        classes=np.array([1, 3], np.uint8),
        flags=np.zeros(2, np.uint8),
    )
    return Result(0, 1, 0, Counts(), StageTimes(), boxes)


def changed(result: Result, **arrays: np.ndarray) -> Result:
    return replace(result, boxes=replace(result.boxes, **arrays))


def test_what_lies_within_the_tolerance_is_right(alone):
    near = alone.boxes.centres + np.float32([0.004, -0.004, 0.004])
    turned = np.radians(np.array([-89.8, 10.4], np.float32))  # over the end of the range: 0.3
    assert right(alone, alone)
    assert right(changed(alone, centres=near, yaws=turned), alone)


@pytest.mark.parametrize(
    "arrays",
    [
        {"centres": np.array([[10.011, 2, -1], [5, -3, -1]], np.float32)},
        {"yaws": np.radians(np.array([89.9, 10.6], np.float32))},
        {"classes": np.array([1, 4], np.uint8)},
    ],
    ids=lambda arrays: next(iter(arrays)),
)
def test_what_lies_outside_is_not(alone, arrays):
    assert not right(changed(alone, **arrays), alone)


def test_a_box_more_or_a_sector_less_is_not(alone):
    names = Boxes.__dataclass_fields__
    fewer = Boxes(**{name: getattr(alone.boxes, name)[:1] for name in names})
    assert not right(replace(alone, boxes=fewer), alone)
    assert not right(replace(alone, missing=1), alone)
