"""Boxes around clusters beside the NumPy reference, and around shapes that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.references.rectangles import fitted, scored
from infer.perception.rectangles import STEPS, fit_boxes, fit_rectangles, grouped_by, turns

CLUSTERS = 6


def corner(x: float, y: float, yaw: float) -> np.ndarray:
    """The flank and the front of a car, 4.4 m by 1.8, as a sensor sees them: (120, 4)."""
    random = np.random.default_rng(1)
    along = np.column_stack((np.linspace(-2.2, 2.2, 80), np.full(80, -0.9)))
    across = np.column_stack((np.full(40, 2.2), np.linspace(-0.9, 0.9, 40)))
    local = np.concatenate((along, across)) + random.normal(scale=0.01, size=(120, 2))
    c, s = np.cos(yaw), np.sin(yaw)
    points = np.zeros((120, 4), np.float32)
    points[:, :2] = local @ np.array(((c, s), (-s, c))) + (x, y)
    points[:, 2] = np.linspace(-1.5, 0, 120)
    return points


@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.floats(0.1, 20), st.integers(1, 2))
@settings(max_examples=20)
def test_rectangles_of_any_clusters_are_the_references(
    seed: int, count: int, spread: float, threads: int
):
    random = np.random.default_rng(seed)
    points = random.normal(0, spread, (count, 4)).astype(np.float32)
    of_point = random.integers(-1, CLUSTERS, count).astype(np.int32)
    first, members = grouped_by(of_point, CLUSTERS)
    found = fit_rectangles(points, first, members, threads=threads)
    for k in range(CLUSTERS):
        xy = points[of_point == k, :2].astype(np.float64)
        if not len(xy):
            assert not found.sides[k].any()
            continue
        step = round(found.angles[k] / (np.pi / 2 / STEPS))
        best, sides = fitted(xy, turns())
        if step != best:  # two angles may be as good as each other
            scores = scored(xy, turns())
            assert scores[step] == pytest.approx(scores[best], rel=1e-9)
        else:
            np.testing.assert_allclose(found.sides[k], sides, atol=1e-9)


@pytest.mark.parametrize("yaw_deg", [0, 20, 44, 46, 88, 100, 178])
def test_a_car_of_which_two_sides_are_seen(yaw_deg: float):
    points = np.concatenate((corner(15, -4, np.radians(yaw_deg)), corner(-9, 2, 0)))
    of_point = np.repeat(np.array((2, 0), np.int32), 120)
    of_point[5] = -1
    boxes = fit_boxes(points, of_point, 3)
    np.testing.assert_allclose(
        boxes[2], (15, -4, -0.75, 4.4, 1.8, 1.5, np.radians(yaw_deg)), atol=0.08
    )
    np.testing.assert_allclose(boxes[0], (-9, 2, -0.75, 4.4, 1.8, 1.5, 0), atol=0.08)
    assert not boxes[1].any()


def test_no_points_have_no_boxes():
    none = np.zeros((0, 4), np.float32)
    assert fit_boxes(none, np.zeros(0, np.int32), 0).shape == (0, 7)
