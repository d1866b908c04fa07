"""Rigid motions by name, the calibration tree, and what a camera sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.frames.calibration import Calibration, Camera
from infer.frames.pose import Pose
from mesh.core.errors import Misuse

units = st.floats(-1, 1)
quaternions = st.tuples(units, units, units, units).filter(lambda q: np.linalg.norm(q) > 0.1)
places = st.tuples(*[st.floats(-1e4, 1e4)] * 3)


@st.composite
def poses(draw, target="a", source="b"):
    return Pose.from_quaternion(target, source, draw(quaternions), draw(places))


def close(one, other, atol=1e-6):
    assert one.name == other.name
    np.testing.assert_allclose(one.matrix(), other.matrix(), atol=atol)


@given(pose=poses())
def test_there_and_back_is_where_one_was(pose):
    close(pose @ pose.inverse(), Pose.identity("a", "a"))
    close(pose.inverse() @ pose, Pose.identity("b", "b"))
    points = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_allclose(pose.inverse().apply(pose.apply(points)), points, atol=1e-6)


@given(one=poses("a", "b"), other=poses("b", "c"))
def test_composition_is_one_after_the_other(one, other):
    both = one @ other
    assert both.name == "a_from_c"
    points = np.random.default_rng(2).normal(size=(5, 3))
    np.testing.assert_allclose(both.apply(points), one.apply(other.apply(points)), atol=1e-6)
    np.testing.assert_allclose(both.matrix(), one.matrix() @ other.matrix(), atol=1e-6)


@given(pose=poses())
def test_a_quaternion_says_the_same_rotation(pose):
    again = Pose.from_quaternion("a", "b", pose.quaternion(), pose.translation)
    close(again, pose, atol=1e-9)
    assert np.linalg.norm(pose.quaternion()) == pytest.approx(1)


def turn(degrees, x=0.0, target="a", source="b"):
    half = np.radians(degrees) / 2
    return Pose.from_quaternion(target, source, (np.cos(half), 0, 0, np.sin(half)), (x, 0, 0))


def test_a_quarter_turn_takes_x_to_y():
    np.testing.assert_allclose(turn(90, 5).apply(np.array([1.0, 0, 0])), [5, 1, 0], atol=1e-12)


@pytest.mark.parametrize("share", [-0.5, 0, 0.25, 1, 1.5])
def test_between_two_poses_speed_and_turn_rate_are_constant(share):
    close(turn(10, 1).between(turn(50, 3), share), turn(10 + 40 * share, 1 + 2 * share), 1e-12)
    close(turn(170).between(turn(-170), share), turn(170 + 20 * share), 1e-12)  # the short way


def test_what_does_not_fit_together_is_an_error():
    with pytest.raises(Misuse, match="coordinates in b, the other gives them in a"):
        turn(1) @ turn(1)
    with pytest.raises(Misuse, match="different frames"):
        turn(1).between(turn(1).inverse(), 0.5)


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [
        (np.eye(3) * 1.1, np.zeros(3)),
        (np.diag([1, 1, -1]), np.zeros(3)),
        (np.eye(3), [0, 0, np.nan]),
        (np.eye(2), np.zeros(3)),
        (np.eye(3), np.zeros(2)),
    ],
    ids=["scaled", "mirrored", "nan", "2x2", "short"],
)
def test_what_is_no_rigid_motion_is_refused(rotation, translation):
    with pytest.raises(Misuse, match="a_from_b is no rigid motion"):
        Pose("a", "b", rotation, translation)
    with pytest.raises(Misuse, match="no quaternion"):
        Pose.from_quaternion("a", "b", (0, 0, 0, 0), (0, 0, 0))


def test_poses_do_not_change():
    pose = turn(3)
    with pytest.raises(ValueError, match="read-only"):
        pose.rotation[0, 0] = 2


# --- the tree -------------------------------------------------------------------------------------

TREE = Calibration(
    (
        turn(0, 2, "ego", "lidar"),
        turn(90, 1, "ego", "mast"),
        turn(0, 3, "mast", "camera"),
        turn(0, 1, "radar", "ego"),  # an edge the other way round
    )
)


def test_the_way_between_two_frames_goes_along_the_tree():
    one = turn(0, 2, "ego", "lidar").inverse() @ turn(90, 1, "ego", "mast")
    close(TREE.pose("lidar", "camera"), one @ turn(0, 3, "mast", "camera"))
    close(TREE.pose("camera", "lidar"), TREE.pose("lidar", "camera").inverse())
    close(TREE.pose("radar", "ego"), turn(0, 1, "radar", "ego"))
    close(TREE.pose("ego", "ego"), Pose.identity("ego", "ego"))
    assert TREE.frames == {"ego", "lidar", "mast", "camera", "radar"}


@given(order=st.permutations(range(4)), target=st.sampled_from(sorted(TREE.frames)))
def test_the_order_of_the_edges_does_not_matter(order, target):
    shuffled = Calibration(tuple(TREE.poses[i] for i in order))
    close(shuffled.pose(target, "camera"), TREE.pose(target, "camera"), 1e-9)


def test_frames_without_a_way_between_them_are_an_error():
    two = Calibration((*TREE.poses, turn(0, 0, "world", "map")))
    for target, source in (("ego", "map"), ("map", "nowhere")):
        with pytest.raises(Misuse, match="no way between the two"):
            two.pose(target, source)


@pytest.mark.parametrize(
    "more", [turn(0, 1, "camera", "lidar"), turn(5, 2, "ego", "lidar"), turn(0, 1, "ego", "ego")]
)
def test_two_ways_between_two_frames_are_refused(more):
    with pytest.raises(Misuse, match=r"two (ways|poses)"):
        Calibration((*TREE.poses, more))


# --- cameras --------------------------------------------------------------------------------------


def test_a_camera_sees_what_is_ahead_and_in_the_picture():
    camera = Camera.pinhole((100, 100), (50, 40), (100, 80))
    points = np.array([[0, 0, 1], [0.1, 0.2, 2], [0, 0, -1], [1, 0, 1], [0, -0.401, 1]])
    pixels, seen = camera.project(points)
    assert seen.tolist() == [True, True, False, False, True]
    np.testing.assert_allclose(pixels[:2], [[50, 40], [55, 50]])
    _, none = camera.project(np.empty((0, 3)))
    assert len(none) == 0


def test_distortion_is_radial():
    bent = Camera.pinhole((100, 100), (0, 0), (500, 500), (0.1, 0.01, 0.001))
    pixels, _ = bent.project(np.array([[1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(pixels, [[100 * (1 + 0.2 + 0.04 + 0.008)] * 2])
