"""The points that people are shown: few, the sweep's own, and the same however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from infer.thinning import Thinner


@pytest.fixture(scope="module")
def thin(bench):
    """thin(points, most)"""
    grid = bench.session._spec.grid()
    return lambda points, most: Thinner(grid, most).thin(np.ascontiguousarray(points))


def shares(points):
    """Of (n, 3) points in metres: the share beyond 15 m, and the share above the ground."""
    far = np.hypot(points[:, 0], points[:, 1]) > 15
    return far.mean(), (points[:, 2] > -1.4).mean()


@pytest.mark.parametrize("most", [512, 4096, 8192])
def test_a_real_sweep_fills_what_was_asked_for_with_its_own_points_in_their_order(clip, thin, most):
    points = clip[0]
    cloud = thin(points, most)
    assert 0.95 * most <= len(cloud.intensities) <= most
    rounded = np.floor(points.astype(np.float64) * (100, 100, 100, 255) + 0.5).astype(int)
    row_of = {tuple(row): i for i, row in reversed(list(enumerate(rounded.tolist())))}
    shown = np.column_stack((cloud.positions, cloud.intensities)).tolist()
    rows = [row_of[tuple(point)] for point in shown]
    assert (np.diff(rows) > 0).mean() > 0.99  # a few of its points look alike when rounded


def test_what_is_far_or_stands_is_chosen_before_the_ground_nearby(clip, thin):
    far, standing = shares(clip[0])
    shown_far, shown_standing = shares(thin(clip[0], 4096).positions / 100)
    assert shown_far > 1.5 * far
    assert shown_standing > standing


def test_the_same_points_are_shown_however_the_sweep_is_cut(make_bench, clip):
    bench = make_bench(points=1000)
    whole = bench(clip[0])
    assert len(whole.cloud.intensities) > 900
    for sectors, without in ((1, ()), (2, ()), (7, ()), (3, (1,))):
        cloud = bench(clip[0], sectors, without).cloud
        np.testing.assert_array_equal(cloud.positions, whole.cloud.positions)
        np.testing.assert_array_equal(cloud.intensities, whole.cloud.intensities)


def test_boxes_are_the_same_with_points_and_without(bench, make_bench, clip, same):
    with_points, alone = make_bench(points=100)(clip[0]), bench(clip[0])
    assert alone.cloud is None
    assert 90 < len(with_points.cloud.intensities) <= 100
    same(with_points, alone)


def test_a_sweep_with_few_points_is_shown_whole_but_for_what_is_no_measurement(thin):
    points = np.array(
        [
            [1.004, -2.006, 0.5, 0.5],
            [np.nan, 0, 0, 0.5],
            [0, np.inf, 0, 0.5],
            [400, 0, 0, 0.5],
            [-326.9, 326.9, -3, np.nan],
            [0, 0, 0, 7],
            [0, 0, 0, -7],
        ],
        np.float32,
    )
    cloud = thin(points, 4096)
    assert cloud.positions.tolist() == [
        [100, -201, 50],
        [-32690, 32690, -300],
        [0, 0, 0],
        [0, 0, 0],
    ]
    assert cloud.intensities.tolist() == [128, 0, 255, 0]


def test_no_points_are_none(thin):
    assert thin(np.empty((0, 4), np.float32), 10).positions.shape == (0, 3)


@given(
    points=arrays.arrays(np.float32, st.tuples(st.integers(0, 200), st.just(4))),
    most=st.integers(1, 64),
)
def test_whatever_comes_there_are_never_more_than_asked_for(thin, points, most):
    cloud = thin(points, most)
    assert len(cloud.positions) == len(cloud.intensities) <= most
    shown = np.abs(points[:, :3]).max(axis=1, initial=0, where=~np.isnan(points[:, :3])) < 327
    assert len(cloud.positions) <= int((shown & np.isfinite(points[:, :3]).all(axis=1)).sum())
