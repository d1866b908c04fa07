"""De-skew beside the float64 reference, and the exponential of SE(3) beside its series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.kernels.references.motion import carry
from infer.perception import se3
from infer.perception.motion import Motion, deskew
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
    offsets = np.linspace(-0.06, 0.06, len(points)).astype(np.float32)
    poses = se3.exp(np.outer((0, 1, 2.5, 3), (1.4, 0.1, 0, 0.02, -0.03, 0.1)))
    motion = Motion.between((-0.05, -0.01, 0.02, 0.05), poses, se3.inverse(poses[1]))
    known = carry(points[:, :3].astype(float), offsets.astype(float), motion.segments)
    carried = deskew(points, offsets, motion, threads=threads)
    np.testing.assert_allclose(carried[:, :3], known, atol=3e-5)
    np.testing.assert_array_equal(carried[:, 3], points[:, 3])
    assert np.abs(known - points[:, :3]).max() > 1


@given(twist=turns, at=st.floats(-0.5, 0.5))
def test_a_point_is_carried_along_the_exponential(twist, at):
    points = np.array([[10, -20, 3, 0.5]], np.float32)
    motion = Motion.constant(twist[:3], twist[3:] / 2)
    carried = deskew(points, np.array([at], np.float32), motion)
    along = se3.exp(np.concatenate((twist[:3], twist[3:] / 2)) * float(np.float32(at)))
    np.testing.assert_allclose(carried[0, :3], (along @ (10, -20, 3, 1))[:3], atol=1e-5)


def test_two_poses_say_as_much_as_their_twist():
    twist = np.array((15, 1, 0, 0, 0.1, 0.35))
    poses = se3.exp(np.outer((-0.05, 0.05), twist))
    between = Motion.between((-0.05, 0.05), poses, np.eye(4))
    rng = np.random.default_rng(1)
    points = rng.uniform(-50, 50, (100, 4)).astype(np.float32)
    offsets = rng.uniform(-0.05, 0.05, 100).astype(np.float32)
    known = deskew(points, offsets, Motion.constant(twist[:3], twist[3:]))
    np.testing.assert_allclose(deskew(points, offsets, between), known, atol=3e-5)


def test_motion_that_series_do_not_reach_is_refused():
    points, offsets = np.zeros((1, 4), np.float32), np.ones(1, np.float32)
    with pytest.raises(ContentRefused, match="2 rad"):
        deskew(points, offsets, Motion.constant((0, 0, 0), (0, 2, 0)))
    with pytest.raises(ContentRefused, match="not finite"):
        deskew(points, offsets, Motion.constant((np.nan, 0, 0), (0, 0, 0)))
    with pytest.raises(ContentRefused, match="not finite"):
        deskew(points, offsets * np.inf, DRIVE)
    with pytest.raises(Misuse, match="times"):
        deskew(points, offsets[:0], DRIVE)
    with pytest.raises(Misuse, match="growing"):
        Motion.between((0, 0), se3.exp(np.zeros((2, 6))), np.eye(4))
    assert deskew(points[:0], offsets[:0], DRIVE).shape == (0, 4)
