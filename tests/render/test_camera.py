"""Poses and matrices: where things land on the screen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.camera import (
    Orbit,
    camera_view,
    frame_bounds,
    frame_points,
    orbit_like,
    perspective,
)
from render.scene import Camera

angles = st.floats(-math.pi, math.pi)
pitches = st.floats(-math.pi / 2, math.pi / 2)
places = st.tuples(*[st.floats(-100, 100)] * 3)
poses = st.builds(Orbit, angles, pitches, st.floats(0.1, 100), places, st.floats(0.2, 2.0))
aspects = st.floats(0.3, 3)


def project(matrix: np.ndarray, point: tuple[float, ...]) -> np.ndarray:
    """x, y, depth after division, and w."""
    clip = matrix @ np.array([*point, 1.0])
    return np.array([*clip[:3] / clip[3], clip[3]])


@given(poses, aspects)
def test_the_target_is_in_the_middle_at_its_distance(pose: Orbit, aspect: float):
    x, y, depth, w = project(pose.clip_from_world(aspect), pose.target)
    assert [x, y] == pytest.approx([0, 0], abs=1e-9)
    assert w == pytest.approx(pose.distance)
    assert 0 < depth < 1


@given(poses)
def test_the_view_is_rigid_and_puts_the_eye_at_the_origin(pose: Orbit):
    view = pose.view_from_world()
    assert view[:3, :3] @ view[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(view) == pytest.approx(1)
    assert view @ [*pose.eye(), 1] == pytest.approx([0, 0, 0, 1], abs=1e-9)


def test_right_is_right_up_is_up_and_near_is_one():
    pose = Orbit(0, 0, 5.0, (0, 0, 0))  # on +Z, looking along -Z
    matrix = pose.clip_from_world(1.0)
    assert project(matrix, (1, 0, 0))[0] > 0
    assert project(matrix, (0, 1, 0))[1] < 0  # Vulkan's y grows downwards
    assert project(matrix, (0, 0, 2))[2] > project(matrix, (0, 0, -2))[2] > 0
    assert pose.eye() == pytest.approx((0, 0, 5))
    assert Orbit(math.pi / 2, 0, 5.0, (0, 0, 0)).eye() == pytest.approx((5, 0, 0))
    assert Orbit(0, math.pi / 2, 5.0, (0, 0, 0)).eye() == pytest.approx((0, 5, 0))


def test_depth_is_one_at_the_near_plane_and_the_field_of_view_is_vertical():
    matrix = perspective(math.radians(60), 2.0, 0.1)
    edge = math.tan(math.radians(30))
    assert project(matrix, (0, 0, -0.1))[2] == pytest.approx(1)
    assert project(matrix, (2 * edge, edge, -1))[:2] == pytest.approx([1, -1])


boxes = st.tuples(places, st.tuples(*[st.floats(0, 50)] * 3)).map(
    lambda box: (box[0], tuple(a + b for a, b in zip(*box, strict=True)))
)


@given(boxes, aspects)
def test_a_framed_box_is_whole_and_fills_the_frame(box: tuple, aspect: float):
    low, high = box
    pose = frame_bounds(low, high, aspect)
    matrix = pose.clip_from_world(aspect)
    corners = [project(matrix, p) for p in np.stack(np.meshgrid(*zip(low, high, strict=True)), -1)
               .reshape(8, 3)]  # fmt: skip
    reach = max(abs(corner[:2]).max() for corner in corners)
    assert all(corner[3] > 0 for corner in corners)
    assert reach < 1
    if max(b - a for a, b in zip(low, high, strict=True)) > 0.1:
        assert reach > 0.75


@given(st.lists(places, min_size=1, max_size=20), aspects, st.integers(0, 23))
def test_framed_points_are_in_view_from_every_side(points: list, aspect: float, turn: int):
    pose = frame_points(np.array(points, float), aspect)
    turned = replace(pose, yaw=pose.yaw + math.tau * turn / 24)
    matrix = turned.clip_from_world(aspect)
    for point in points:
        x, y, _, w = matrix @ [*point, 1.0]
        assert w > 0
        assert max(abs(x), abs(y)) < w


PLACE = np.array([[0.0, 0, 2, 5], [0, 3, 0, 1], [-4, 0, 0, 2]])  # scaled; looks along -X


def test_a_scenes_camera_looks_along_its_axis_whatever_its_scale():
    camera = Camera("c", PLACE, fov=math.radians(90), near=0.5)
    view = camera_view(camera, PLACE, aspect=2.0)
    assert view.eye == (5.0, 1.0, 2.0)
    assert not view.parallel
    np.testing.assert_allclose(project(view.clip_from_world, (1, 1, 2))[:2], 0, atol=1e-12)
    # 4 m ahead, 90 degrees high: the top edge is 4 m up; right is towards -Z here, 8 m.
    np.testing.assert_allclose(project(view.clip_from_world, (1, 5, 2))[:2], (0, -1), atol=1e-12)
    np.testing.assert_allclose(project(view.clip_from_world, (1, 1, -6))[:2], (1, 0), atol=1e-12)
    assert project(view.clip_from_world, (4.5, 1, 2))[2] == pytest.approx(1.0)


def test_a_bounded_camera_has_depth_one_near_and_zero_far():
    camera = Camera("c", PLACE, fov=1.0, near=0.5, far=10.0)
    matrix = camera_view(camera, PLACE, 1.0).clip_from_world
    assert project(matrix, (4.5, 1, 2))[2] == pytest.approx(1.0)
    assert project(matrix, (-5.0, 1, 2))[2] == pytest.approx(0.0)


def test_a_parallel_camera_shows_its_box():
    camera = Camera("c", PLACE, half_height=2.0, near=1.0, far=11.0)
    view = camera_view(camera, PLACE, aspect=1.5)
    assert view.parallel
    np.testing.assert_allclose(view.eye, (1, 0, 0), atol=1e-12)
    for x, depth in ((4.0, 1.0), (-6.0, 0.0)):
        corner = project(view.clip_from_world, (x, 3.0, -1.0))
        np.testing.assert_allclose(corner[:3], (1, -1, depth), atol=1e-12)


def test_the_orbit_like_a_camera_sees_what_it_sees_but_for_roll():
    turned = np.array([[0.6, 0.0, 0.8, 4.0], [0.0, 1.0, 0.0, 1.0], [-0.8, 0.0, 0.6, 3.0]])
    camera = Camera("c", turned, fov=0.8, near=0.01)
    orbit = orbit_like(camera, turned, (0.0, 1.0, 0.0))
    np.testing.assert_allclose(orbit.eye(), (4, 1, 3), atol=1e-12)
    assert (orbit.distance, orbit.fov) == (pytest.approx(5.0), 0.8)
    ours, theirs = orbit.view(1.0), camera_view(camera, turned, 1.0)
    for point in ((0, 1, 0), (1, 2, 0.5), (-1, 0, 1)):
        np.testing.assert_allclose(
            project(ours.clip_from_world, point)[:2],
            project(theirs.clip_from_world, point)[:2],
            atol=1e-9,
        )


def test_an_orbit_has_a_distance_even_if_its_camera_looks_away():
    away = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -5]])  # the scene is behind it
    orbit = orbit_like(Camera("c", away, fov=0.8), away, (0.0, 0.0, 0.0))
    assert orbit.distance == pytest.approx(5.0)
    np.testing.assert_allclose(orbit.eye(), (0, 0, -5), atol=1e-12)
