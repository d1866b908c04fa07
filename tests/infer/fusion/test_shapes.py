"""Footprints of points on rectangles, and what they are completed to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.fusion.footprints import ANGLE, FOOTPRINT_FIELDS, POINTS, footprints, grouped
from infer.fusion.heights import heights
from infer.fusion.objects import VEHICLE
from infer.fusion.shapes import completed, extents, lengthwise, within
from infer.fusion.surroundings import BESIDE, OVERHEAD, surroundings

turns = st.floats(-np.pi, np.pi)


def car_sides(x, y, yaw, length=4.4, width=1.8):
    """Points (n, 4) along the two sides of a car that face the origin, and no others."""
    c, s = np.cos(yaw), np.sin(yaw)
    eye_u, eye_v = -(x * c + y * s), -(y * c - x * s)
    along, across = np.linspace(-0.5, 0.5, 80) * length, np.linspace(-0.5, 0.5, 40) * width
    u = np.concatenate((along, np.full(40, np.copysign(length / 2, eye_u))))
    v = np.concatenate((np.full(80, np.copysign(width / 2, eye_v)), across))
    points = np.zeros((len(u), 4), np.float32)
    points[:, 0], points[:, 1] = x + u * c - v * s, y + u * s + v * c
    return points


def footprint(points):
    n = len(points)
    begin, members = grouped(np.zeros(n, np.int32), 1)
    return footprints(points, np.linspace(0.3, 1.5, n, dtype=np.float32), begin, members)


@given(st.lists(st.integers(-1, 5), max_size=40))
def test_points_are_grouped_by_cluster(numbers):
    of_point = np.array(numbers, np.int32)
    begin, members = grouped(of_point, 6)
    for k in range(6):
        own = members[begin[k] : begin[k + 1]].tolist()
        assert own == np.flatnonzero(of_point == k).tolist()


@given(turns, st.floats(8, 40), turns)
@settings(max_examples=60, deadline=None)
def test_two_sides_of_a_car_are_completed_to_the_car(bearing, away, yaw):
    x, y = away * np.cos(bearing), away * np.sin(bearing)
    prints = footprint(car_sides(x, y, yaw))
    kinds = np.array([VEHICLE])
    [box] = completed(prints, extents(kinds), lengthwise(prints, kinds, (0.0, 0.0)), (0.0, 0.0))
    assert np.hypot(box[0] - x, box[1] - y) < 0.15
    np.testing.assert_allclose(box[2:4], (4.4, 1.8), atol=0.25)
    assert abs(np.sin(box[4] - yaw)) < 0.06
    assert prints[0, POINTS] == 120


@given(st.floats(8, 40))
@settings(max_examples=20, deadline=None)
def test_the_back_of_a_car_goes_on_ahead(away):
    points = car_sides(away, 0, 0)
    prints = footprint(points[np.abs(points[:, 0] - (away - 2.2)) < 0.01])
    kinds = np.array([VEHICLE])
    [box] = completed(prints, extents(kinds), lengthwise(prints, kinds, (0.0, 0.0)), (0.0, 0.0))
    np.testing.assert_allclose(box[:4], (away, 0, 4.4, 1.8), atol=0.05)
    assert abs(np.sin(box[4])) < 1e-6


def test_nothing_is_completed_to_nothing():
    prints = np.zeros((0, FOOTPRINT_FIELDS))
    kinds = np.zeros(0, np.int64)
    assert completed(
        prints, extents(kinds), lengthwise(prints, kinds, (0.0, 0.0)), (0.0, 0.0)
    ).shape == (
        0,
        5,
    )


def test_an_empty_cluster_has_an_empty_footprint():
    begin, members = grouped(np.array([1, 1, 1], np.int32), 2)
    prints = footprints(np.ones((3, 4), np.float32), np.ones(3, np.float32), begin, members)
    assert prints[:, POINTS].tolist() == [0, 3]
    assert (prints[0] == 0).all()


@pytest.mark.parametrize(("value", "graded"), [(0, 1), (1, 1), (1.5, 0.5), (2, 0), (9, 0)])
def test_a_bound_is_graded_between_its_ends(value, graded):
    assert within(np.array([value]), (1.0, 2.0)) == pytest.approx(graded)
    assert within(np.array([-value]), (-1.0, -2.0)) == pytest.approx(graded)


def test_heights_follow_ground_that_is_no_plane():
    rng = np.random.default_rng(1)
    xy = rng.uniform(-40, 40, (20_000, 2))
    rise = np.where(xy[:, 0] > 10, np.minimum((xy[:, 0] - 10) * 0.05, 1.0), 0.0)
    points = np.column_stack((xy, rise, np.zeros(len(xy)))).astype(np.float32)
    over = heights(points, 0.0, 0.0, 0.0)
    assert (np.abs(over) < 0.15).all()
    lifted = points[xy[:, 0] < 0] + np.array((0, 0, 1.2, 0), np.float32)
    mixed = np.concatenate((points, lifted))
    assert (np.abs(heights(mixed, 0.0, 0.0, 0.0)[len(points) :] - 1.2) < 0.05).all()


def test_what_is_above_and_beside_counts_by_share():
    xy = [(0.1, 0.1), (0.1, 0.5), (5.1, 5.1), (5.5, 5.1), (0.1, 0.1)]
    points = np.array([(*p, 0, 0) for p in xy], np.float32)
    above = np.array([1, 1, 1, 1, 2.5], np.float32)
    of_point = np.array([0, 0, 1, 2, -1], np.int32)
    shares = surroundings(points, above, of_point, 3, 51.2, 2.3, 2.9)
    assert shares[:, OVERHEAD].tolist() == [0.5, 0, 0]
    assert shares[:, BESIDE].tolist() == [0, 1, 1]


def test_an_angle_is_of_the_first_quarter():
    rng = np.random.default_rng(3)
    for yaw in rng.uniform(-3, 3, 10):
        assert 0 <= footprint(car_sides(10, 4, yaw))[0, ANGLE] < np.pi / 2
