"""Heads: orientation as axes, what an orbit camera's head is, what is no rotation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused
from render.camera import Orbit
from render.headpose import HeadPose, beside, head_of

angles = st.floats(-4, 4)


@given(angles, st.floats(-math.pi / 2, math.pi / 2))
def test_a_head_looks_as_its_orbit_does(yaw: float, pitch: float):
    orbit = Orbit(yaw, pitch, 3.0, (1.0, 2.0, 3.0))
    head = head_of(orbit)
    np.testing.assert_allclose(head.axes().T, orbit.view_from_world()[:3, :3], atol=1e-12)
    np.testing.assert_allclose(head.position, orbit.eye())


def test_the_quaternion_is_read_as_webxr_writes_it():
    left = HeadPose(1, (0, 0, 0), (0, math.sqrt(0.5), 0, math.sqrt(0.5)))  # a quarter turn left
    np.testing.assert_allclose(-left.axes()[:, 2], (-1, 0, 0), atol=1e-12)  # looks along -X
    np.testing.assert_allclose(beside(left, 0.5), (0, 0, -0.5), atol=1e-12)


def test_an_orientation_nearly_of_unit_length_is_made_so():
    near = HeadPose(1, (0, 0, 0), (0.0, 0.0, 0.6, 0.804)).normalised()
    assert math.hypot(*near.orientation) == pytest.approx(1)


@pytest.mark.parametrize("orientation", [(0, 0, 0, 0), (0, 0, 0, 0.5), (1, 1, 0, 0)])
def test_what_is_no_rotation_is_refused(orientation: tuple):
    with pytest.raises(ContentRefused, match="has length"):
        HeadPose(1, (0, 0, 0), orientation).normalised()
