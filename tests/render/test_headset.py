"""Eyes and their frusta: where straight ahead and the edges land, and that eyes are mirrored."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.camera import perspective
from render.headpose import HeadPose
from render.headset import Headset, eyes_of, frustum

FORWARD = HeadPose(0, (1.0, 1.6, 2.0), (0.0, 0.0, 0.0, 1.0))
EDGES = {"outwards": 1.3, "inwards": 0.8, "up": 0.9, "down": 1.2}
tangents = st.floats(0.05, 5)


def screen(matrix: np.ndarray, point: tuple[float, ...]) -> np.ndarray:
    clip = matrix @ (*point, 1.0)
    return clip[:3] / clip[3]


@given(tangents, tangents, tangents, tangents)
def test_edges_land_on_the_edges(left: float, right: float, up: float, down: float):
    matrix = frustum((-left, right, up, -down), near=0.25)
    np.testing.assert_allclose(screen(matrix, (-2 * left, 2 * up, -2))[:2], (-1, -1), atol=1e-12)
    np.testing.assert_allclose(screen(matrix, (2 * right, -2 * down, -2))[:2], (1, 1), atol=1e-12)
    assert screen(matrix, (0, 0, -2))[2] == pytest.approx(0.125)


def test_a_symmetric_frustum_is_the_cameras():
    half = math.tan(0.4)
    made = frustum((-half * 1.5, half * 1.5, half, -half), 0.1)
    np.testing.assert_allclose(made, perspective(0.8, 1.5, 0.1), atol=1e-12)


def test_eyes_are_mirror_images():
    headset = Headset(eyes_of("stereo", 0.064, **EDGES), near=0.01)
    left, right = headset.views(FORWARD)
    np.testing.assert_allclose(left.eye, (0.968, 1.6, 2.0))
    np.testing.assert_allclose(right.eye, (1.032, 1.6, 2.0))
    for x, y, z in [(0.3, 0.2, -3.0), (-1.0, 1.0, -2.0)]:
        seen = screen(left.clip_from_world, (1.0 + x, 1.6 + y, 2.0 + z))
        mirrored = screen(right.clip_from_world, (1.0 - x, 1.6 + y, 2.0 + z))
        np.testing.assert_allclose(seen, mirrored * (-1, 1, 1), atol=1e-12)


@pytest.mark.parametrize("cant", [0.0, 0.1, -0.2])
def test_where_the_head_looks_lies_where_it_is_said_to(cant: float):
    headset = Headset(eyes_of("stereo", 0.0, cant, **EDGES), near=0.01)
    for eye, view in zip(headset.eyes, headset.views(FORWARD), strict=True):
        x, y, _ = screen(view.clip_from_world, (1.0, 1.6, -40.0))
        assert eye.middle() == pytest.approx(((x + 1) / 2, (y + 1) / 2))


def test_a_turned_eye_looks_outwards():
    ahead = {"outwards": 1.0, "inwards": 1.0, "up": 1.0, "down": 1.0}
    left, right = Headset(eyes_of("stereo", 0.0, math.atan(0.25), **ahead), 0.01).views(FORWARD)
    np.testing.assert_allclose(screen(left.clip_from_world, (0.0, 1.6, -2.0))[:2], 0, atol=1e-12)
    np.testing.assert_allclose(screen(right.clip_from_world, (2.0, 1.6, -2.0))[:2], 0, atol=1e-12)


def test_one_eye_alone_sees_what_it_sees_of_both():
    both = Headset(eyes_of("stereo", 0.064, **EDGES), near=0.01).views(FORWARD)
    for which, view in zip(("left", "right"), both, strict=True):
        [alone] = Headset(eyes_of(which, 0.064, **EDGES), near=0.01).views(FORWARD)
        np.testing.assert_array_equal(alone.clip_from_world, view.clip_from_world)
        assert alone.eye == view.eye
