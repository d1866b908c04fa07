"""De-skew beside the float64 reference, and the exponential of SE(3) beside its series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.kernels.bodies.motion import VX
from infer.kernels.references.motion import carry
from infer.perception import se3
from infer.perception.motion import Motion, deskew
from infer.readers.av2 import Log
from mesh.core.errors import ContentRefused, Misuse

DRIVE = Motion.constant((15, 0, 0), (0, 0, np.radians(20)))
twists = st.lists(st.floats(-3, 3), min_size=6, max_size=6).map(np.array)
turns = st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6).map(np.array)


@given(twist=twists)
def test_the_exponential_is_its_series(twist):
    v, (x, y, z) = twist[:3], twist[3:]
    generator = np.zeros((4, 4))
    generator[:3, :3] = ((0, -z, y), (z, 0, -x), (-y, x, 0))
    generator[:3, 3] = v
    term, total = np.eye(4), np.eye(4)
    for k in range(1, 60):
        term = term @ generator / k
        total += term
    np.testing.assert_allclose(se3.exp(twist), total, atol=1e-9)


@given(twist=turns)
def test_the_logarithm_finds_the_twist_again(twist):
    np.testing.assert_allclose(se3.log(se3.exp(twist)), twist, atol=1e-7)
    np.testing.assert_allclose(se3.exp(twist) @ se3.inverse(se3.exp(twist)), np.eye(4), atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_real_sweep_is_carried_as_the_reference_carries_it(clip, threads):
    points = clip[0]
    times = np.linspace(-60_000, 60_000, len(points)).astype(np.int32)
    poses = se3.exp(np.outer((0, 1, 2.5, 3), (1.4, 0.1, 0, 0.02, -0.03, 0.1)))
    motion = Motion.between((-0.05, -0.01, 0.02, 0.05), poses, se3.inverse(poses[1]))
    known = carry(points[:, :3].astype(float), times, motion.segments)
    carried = deskew(points, times, motion, threads=threads)
    np.testing.assert_allclose(carried[:, :3], known, atol=3e-5)
    np.testing.assert_array_equal(carried[:, 3], points[:, 3])
    assert np.abs(known - points[:, :3]).max() > 1


@given(twist=turns, at=st.integers(-500_000, 500_000))
def test_a_point_is_carried_along_the_exponential(twist, at):
    points = np.array([[10, -20, 3, 0.5]], np.float32)
    motion = Motion.constant(twist[:3], twist[3:] / 2)
    carried = deskew(points, np.array([at], np.int32), motion)
    along = se3.exp(np.concatenate((twist[:3], twist[3:] / 2)) * at / 1e6)
    np.testing.assert_allclose(carried[0, :3], (along @ (10, -20, 3, 1))[:3], atol=1e-5)


def test_real_sweeps_skewed_by_a_drive_are_recovered(data_dir):
    """15 m/s and 20 deg/s through the times that each point of Argoverse 2 brings with it.

    The motion is known once by its twist, and once by two poses outside of the sweep.
    """
    for frame in Log(data_dir / "av2" / "7fab2350").frames():
        [scan] = frame.lidars
        xyz = scan.points[:, :3].astype(float)
        back = DRIVE.segments.copy()
        back[0, VX : VX + 6] *= -1
        skewed = scan.points.copy()
        skewed[:, :3] = carry(xyz, scan.times_us, back)
        assert np.median(np.linalg.norm(skewed[:, :3] - xyz, axis=1)) > 0.5
        poses = se3.exp(np.outer((-0.02, 0.12), DRIVE.segments[0, VX : VX + 6]))
        for motion in (DRIVE, Motion.between((-0.02, 0.12), poses, np.eye(4))):
            recovered = deskew(skewed, scan.times_us, motion)
            assert np.median(np.linalg.norm(recovered[:, :3] - xyz, axis=1)) < 1e-4


def test_two_poses_say_as_much_as_their_twist():
    twist = np.array((15, 1, 0, 0, 0.1, 0.35))
    poses = se3.exp(np.outer((-0.05, 0.05), twist))
    between = Motion.between((-0.05, 0.05), poses, np.eye(4))
    rng = np.random.default_rng(1)
    points = rng.uniform(-50, 50, (100, 4)).astype(np.float32)
    times = rng.integers(-50_000, 50_000, 100).astype(np.int32)
    known = deskew(points, times, Motion.constant(twist[:3], twist[3:]))
    np.testing.assert_allclose(deskew(points, times, between), known, atol=3e-5)


def test_motion_that_series_do_not_reach_is_refused():
    points, times = np.zeros((1, 4), np.float32), np.full(1, 1_000_000, np.int32)
    with pytest.raises(ContentRefused, match="2 rad"):
        deskew(points, times, Motion.constant((0, 0, 0), (0, 2, 0)))
    with pytest.raises(ContentRefused, match="not finite"):
        deskew(points, times, Motion.constant((np.nan, 0, 0), (0, 0, 0)))
    with pytest.raises(Misuse, match="times"):
        deskew(points, times[:0], DRIVE)
    with pytest.raises(Misuse, match="growing"):
        Motion.between((0, 0), se3.exp(np.zeros((2, 6))), np.eye(4))
    assert deskew(points[:0], times[:0], DRIVE).shape == (0, 4)
