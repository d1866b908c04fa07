"""Projection beside KITTI's devkit's formula in float64, and painting by known pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.kernels.references.painting import project as reference
from infer.perception.painting import PinholeView, paint, project
from mesh.core.errors import Misuse

AHEAD = np.array([[0, -1.0, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])
MATRIX = np.array([[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1]]) @ AHEAD
CAMERA = PinholeView(MATRIX, 1242, 375)


def where(width, height):
    """A picture that says of each pixel where it is."""
    v, u = np.mgrid[:height, :width]
    return np.stack((u, v), axis=-1).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_real_sweep_lands_where_the_devkit_says(clip, threads):
    pixels = project(clip[0], CAMERA, threads=threads)
    known = reference(clip[0], MATRIX)
    ahead = known[:, 2] >= 0.1
    np.testing.assert_allclose(pixels[:, 2], known[:, 2], atol=1e-4)
    inside = ahead & (np.abs(known[:, :2]) < 3000).all(axis=1)
    assert np.abs(pixels[inside] - known[inside]).max() < 0.01
    assert not pixels[~ahead, :2].any()
    painted = paint(clip[0], [(CAMERA, where(1242, 375))], threads=threads)
    seen = painted.seen_by == 0
    assert 10_000 < seen.sum() < inside.sum()
    assert np.abs(painted.channels[seen] - known[seen, :2]).max() <= 0.51
    assert not painted.channels[~seen].any()


@given(seed=st.integers(0, 2**32 - 1), points=st.integers(0, 100))
def test_any_point_lands_where_the_formula_says(seed, points):
    rng = np.random.default_rng(seed)
    cloud = rng.normal(0, 20, (points, 4)).astype(np.float32)
    matrix = rng.normal(0, 1, (3, 4))
    pixels = project(cloud, PinholeView(matrix, 100, 100, least_depth_m=0.5), threads=2)
    known = reference(cloud, matrix)
    ahead = known[:, 2] > 0.51
    np.testing.assert_allclose(pixels[ahead], known[ahead], atol=1e-3, rtol=1e-3)


def test_the_first_camera_that_sees_a_point_paints_it():
    points = np.array([[10, 0, 0, 0], [-10, 0, 0, 0], [0, 10, 0, 0], [np.nan, 0, 0, 0]], np.float32)
    back = PinholeView(MATRIX * (1, 1, 1, 1) @ np.diag((-1, -1, 1, 1)), 1242, 375)
    one, other = (np.full((375, 1242, 1), value, np.float32) for value in (1, 2))
    painted = paint(points, [(CAMERA, one), (CAMERA, other), (back, other)])
    np.testing.assert_array_equal(painted.seen_by, (0, 2, -1, -1))
    np.testing.assert_array_equal(painted.channels[:, 0], (1, 2, 0, 0))
    assert paint(points, []).channels.shape == (4, 0)


def test_pictures_and_cameras_of_other_shapes_are_refused():
    points = np.zeros((1, 4), np.float32)
    with pytest.raises(Misuse, match="375, 1242"):
        paint(points, [(CAMERA, where(10, 10))])
    with pytest.raises(Misuse, match="no camera"):
        project(points, PinholeView(np.eye(3), 10, 10))
