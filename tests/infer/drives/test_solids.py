"""Solids are what their names say, and convex."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.drives import models
from infer.drives.catalogue import Catalogue
from infer.drives.solids import Material, bar, solid


@settings(max_examples=20)
@given(length=st.floats(3.4, 5.2), width=st.floats(1.6, 2.0), height=st.floats(1.35, 1.9))
def test_a_car_is_as_large_as_it_was_asked_for(length, width, height):
    made = models.car(length, width, height, models.PAINTS[0])
    np.testing.assert_allclose(made.size, (length, width, height), atol=1e-9)


def test_every_model_stands_on_the_ground_and_its_faces_look_out():
    for model in Catalogue.random(np.random.default_rng(1)).models:
        lowest = min(part.corners[:, 2].min() for part in model.parts)
        assert -0.06 <= lowest <= 0.07, model.name
        for part in model.parts:
            middle = part.corners.mean(axis=0)
            assert (part.planes[:, :3] @ middle < part.planes[:, 3]).all()
            np.testing.assert_allclose(np.linalg.norm(part.planes[:, :3], axis=1), 1)
            for face, plane in zip(part.faces, part.planes, strict=True):
                np.testing.assert_allclose(face @ plane[:3], plane[3], atol=1e-6)


def test_what_is_not_convex_is_no_solid():
    star = [(0, 0, 0), (2, 0, 0), (1, 0.4, 0), (0, 2, 0)]
    raised = [(x, y, 1) for x, y, _ in star]
    sides = [(star[i], star[i - 1], raised[i - 1], raised[i]) for i in range(4)]
    with pytest.raises(AssertionError, match="not convex"):
        solid([star, raised, *sides], Material.WALL, (1, 1, 1))


def test_a_bar_goes_from_end_to_end():
    made = bar((0, 0, 0), (3, 4, 0), 0.2, Material.METAL, (1, 1, 1))
    volume = sum(
        plane[3] * np.linalg.norm(np.cross(face[1] - face[0], face[2] - face[1])) / 3
        for face, plane in zip(made.faces, made.planes, strict=True)
    )
    assert volume == pytest.approx(5 * 0.2**2)
