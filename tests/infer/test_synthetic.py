"""Made-up sweeps: no ray is saved that would have hit, and a drive goes on."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from infer import synthetic
from infer.synthetic import STREET_M, Thing, drive, scan

FAR = st.floats(-60, 60, allow_subnormal=False)


@given(FAR, FAR, st.floats(0.3, 12), st.floats(0.3, 4), st.floats(-90, 90))
@example(0.0, 0.5, 1.0, 1.0, 2.2e-309)
def test_every_ray_that_hits_a_thing_is_traced(x, y, length, width, yaw):
    thing = Thing(x, y, (length, width, 1.6), yaw)
    hit = np.isfinite(synthetic._hit(thing, synthetic._rays())).any(axis=0)
    assert set(np.flatnonzero(hit)) <= set(synthetic._turns_towards(thing))


def test_a_drive_moves_on_and_comes_round_without_a_jump():
    sweeps_round = round(STREET_M / 0.5)
    first, later, round_again = (heights(drive(i)) for i in (0, 7, sweeps_round))
    assert (first != later).sum() > 100
    # But for the noise of the ranges, which tips a point at an edge over it.
    assert (first != round_again).sum() < 30


def heights(points):
    """Where something stands over 0.5 m high, on a grid of 1 m."""
    standing = points[points[:, 2] > 0.5 - synthetic.SENSOR_HEIGHT_M]
    return np.histogram2d(standing[:, 0], standing[:, 1], bins=100, range=[[-50, 50]] * 2)[0] > 2


def test_the_same_seed_makes_the_same_sweep():
    things = [Thing(10, 2, (4, 2, 1.5))]
    np.testing.assert_array_equal(scan(things, seed=3), scan(things, seed=3))
    assert not np.array_equal(scan(things, seed=3)[:50], scan(things, seed=4)[:50])
