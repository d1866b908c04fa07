"""Overlaps of upright boxes, by hand and by what must hold of any."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.kernels.references.rotated_iou import iou as flat_iou
from infer.track.overlap import HEIGHT, LENGTH, WIDTH, YAW, X, Y, Z, overlaps

HERE = (0.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0)
boxes = st.tuples(
    st.floats(-5, 5), st.floats(-5, 5), st.floats(-1, 1),
    st.floats(0.5, 6), st.floats(0.5, 3), st.floats(0.5, 3), st.floats(-4, 4),
)  # fmt: skip


def of(box: tuple, other: tuple, *, generalised: bool = False) -> float:
    return float(overlaps(np.array([box]), np.array([other]), generalised)[0, 0])


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (HERE, 1.0),
        ((1.0, *HERE[1:]), 3 / 5),
        ((*HERE[:6], math.pi / 2), 4 / 12),
        ((0.0, 0.0, 0.75, *HERE[3:]), 0.75 / 2.25),
        ((10.0, *HERE[1:]), 0.0),
        ((0.0, 0.0, 2.0, *HERE[3:]), 0.0),
    ],
)
def test_what_boxes_share_over_what_they_fill(other: tuple, iou: float):
    assert of(HERE, other) == pytest.approx(iou, abs=1e-12)


def test_the_generalised_one_tells_how_far_apart_they_are():
    # Crossed: the hull is an octagon of 14 where they fill 12. Apart: of 14 metres they fill 8.
    assert of(HERE, (*HERE[:6], math.pi / 2), generalised=True) == pytest.approx(1 / 3 - 2 / 14)
    assert of(HERE, (10.0, *HERE[1:]), generalised=True) == pytest.approx(-6 / 14)
    further = of(HERE, (20.0, *HERE[1:]), generalised=True)
    assert -1 < further < -6 / 14


@given(boxes, boxes)
def test_it_is_the_references_share_of_the_ground_times_the_height_shared(box: tuple, other: tuple):
    one, two = ([each[k] for k in (X, Y, LENGTH, WIDTH, YAW)] for each in (box, other))
    flat = flat_iou(one, two)
    grounds = one[2] * one[3] + two[2] * two[3]
    tops, bottoms = ([b[Z] + side * b[HEIGHT] / 2 for b in (box, other)] for side in (1, -1))
    shared = flat / (1 + flat) * grounds * max(min(tops) - max(bottoms), 0)
    filled = sum(math.prod(each[LENGTH : HEIGHT + 1]) for each in (box, other)) - shared
    assert of(box, other) == pytest.approx(shared / filled, abs=1e-9)


@given(boxes, boxes, st.floats(-4, 4))
def test_it_is_the_same_from_either_side_and_however_the_world_is_turned(
    box: tuple, other: tuple, turn: float
):
    def turned(x: float, y: float, z: float, *rest: float) -> tuple:
        c, s = math.cos(turn), math.sin(turn)
        return (c * x - s * y, s * x + c * y, z, *rest[:3], rest[3] + turn)

    for generalised in (False, True):
        found = of(box, other, generalised=generalised)
        assert found == pytest.approx(of(other, box, generalised=generalised), abs=1e-9)
        again = of(turned(*box), turned(*other), generalised=generalised)
        assert found == pytest.approx(again, abs=1e-7)
        assert -1 < found <= 1 + 1e-9
    assert of(box, other, generalised=True) <= of(box, other) + 1e-9
