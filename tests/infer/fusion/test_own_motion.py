"""A radar's own motion, from what stands around and in spite of what moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.fusion.own_motion import own_velocity


def targets(own, azimuths, velocities=None):
    beams = np.stack((np.cos(azimuths), np.sin(azimuths)), axis=1)
    over_ground = np.zeros_like(beams) if velocities is None else np.array(velocities)
    found = np.zeros((len(azimuths), 5), np.float32)
    found[:, 0], found[:, 1] = 30, azimuths
    found[:, 3] = ((over_ground - own) * beams).sum(axis=1)
    return found


@given(st.floats(-5, 40), st.floats(-3, 3))
@settings(max_examples=40)
def test_from_what_stands(ahead, aside):
    around = targets((ahead, aside), np.linspace(-1, 1, 12))
    assert own_velocity(around) == pytest.approx((ahead, aside), abs=0.01)


def test_what_moves_is_left_out():
    rng = np.random.default_rng(4)
    standing = targets((12, 0.4), rng.uniform(-1, 1, 15))
    standing[:, 3] += rng.normal(0, 0.1, 15)
    moving = targets((12, 0.4), rng.uniform(-1, 1, 6), rng.uniform(-15, 15, (6, 2)))
    assert own_velocity(np.concatenate((moving, standing))) == pytest.approx((12, 0.4), abs=0.4)


def test_too_little_says_nothing():
    assert own_velocity(np.zeros((0, 5), np.float32)) is None
    assert own_velocity(targets((5, 0), np.linspace(-1, 1, 3))) is None
    assert own_velocity(targets((5, 0), np.full(9, 0.2))) is None
    disagreeing = targets((5, 0), np.linspace(-1, 1, 4))
    disagreeing[:, 3] = (9, -7, 22, 3)
    assert own_velocity(disagreeing) is None
