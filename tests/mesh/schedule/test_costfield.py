"""Regions that cost more than was predicted are found, and found only there."""

import numpy as np
import pytest

from mesh.schedule.costfield import CostField

LEFT, RIGHT = (slice(0, 4), slice(0, 3)), (slice(0, 4), slice(3, 6))


def test_nothing_is_known_at_first():
    assert (CostField((4, 6)).factors == 1).all()


def test_a_region_that_costs_double_is_believed_to_within_a_few_frames():
    field = CostField((4, 6))
    for _ in range(20):
        field.relax()
        left, right = field.factors[LEFT].mean(), field.factors[RIGHT].mean()
        level = np.sqrt(2 / left * 1 / right)  # what a device's speed is thought to be
        field.learn(LEFT, 2 / left / level)
        field.learn(RIGHT, 1 / right / level)
    assert field.factors[LEFT] / field.factors[RIGHT] == pytest.approx(np.full((4, 3), 2), rel=0.05)


def test_what_all_regions_have_in_common_is_the_devices_speed():
    field = CostField((4, 6))
    for _ in range(20):
        field.learn(LEFT, 1.3)
        field.learn(RIGHT, 1.3)
        field.relax()
    assert field.factors == pytest.approx(np.ones((4, 6)))


def test_one_straggler_hardly_matters():
    field = CostField((4, 6))
    field.learn(LEFT, 1000.0)
    assert field.factors.max() < 1.25


@pytest.mark.parametrize("factor", [1e9, 1e-9])
def test_a_factor_has_its_limits(factor):
    field = CostField((2,))
    for _ in range(500):
        field.learn((slice(0, 1),), factor)
    assert 1 / 9 < field.factors[0] < 9


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_nonsense_teaches_nothing(factor):
    field = CostField((2,))
    field.learn((slice(0, 2),), factor)
    assert (field.factors == 1).all()


def test_what_is_no_longer_seen_is_forgotten():
    field = CostField((2,))
    for _ in range(30):
        field.learn((slice(0, 2),), 1.4)
    for _ in range(2000):
        field.relax()
    assert np.abs(field.factors - 1).max() < 0.01
