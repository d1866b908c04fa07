"""Radar association beside the float64 reference, and on scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.references.radar import squared_distances
from infer.perception.radar import Radar, associate
from mesh.core.errors import Misuse

RADAR = Radar(own=(10.0, 0.5))


def target_at(x, y, vx, vy, radar=RADAR):
    """What the radar measures of a point there, without noise."""
    c, s = np.array((x, y)) / np.hypot(x, y)
    speed = (vx - radar.own[0]) * c + (vy - radar.own[1]) * s
    return np.hypot(x, y), np.arctan2(y, x), 0.0, speed, 10.0


def floats(rows, width):
    return np.array(rows, np.float32).reshape(-1, width)


def spread(count, deviation=0.5):
    return np.repeat(np.eye(4, dtype=np.float32)[None] * np.float32(deviation**2), count, axis=0)


@pytest.mark.parametrize("threads", [1, 2])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 12), m=st.integers(0, 6))
@settings(max_examples=20)
def test_targets_go_with_the_objects_the_reference_finds_nearest(threads, seed, n, m):
    rng = np.random.default_rng(seed)
    objects = rng.uniform((3, -20, -10, -3), (60, 20, 25, 3), (m, 4)).astype(np.float32)
    factor = rng.normal(0, 0.4, (m, 4, 4))
    covariances = (factor @ factor.swapaxes(1, 2) + 0.05 * np.eye(4)).astype(np.float32)
    places = rng.uniform((3, -20, -10, -3), (60, 20, 25, 3), (n, 4))
    if m:  # half of them of an object
        true = rng.random(n) < 0.5
        places[true] = objects[rng.integers(0, m, n)][true] + rng.normal(0, 0.4, (n, 4))[true]
    targets = floats([target_at(*place) for place in places], 5)
    known = squared_distances(
        *(a.astype(float) for a in (targets, objects, covariances)), RADAR.parameters()
    )
    said = associate(targets, objects, covariances, RADAR, threads=threads)
    best = known.min(axis=1, initial=RADAR.gate)
    np.testing.assert_allclose(said.distances, best, rtol=2e-2, atol=2e-2)
    for i, j in enumerate(said.object_of):
        close = np.sort(np.append(known[i], RADAR.gate))
        if len(close) < 2 or close[1] - close[0] > 0.1:  # else float32 may choose otherwise
            assert j == (known[i].argmin() if m and known[i].min() < RADAR.gate else -1)
    for j, i in enumerate(said.target_of):
        mine = np.flatnonzero(said.object_of == j)
        assert i == -1 if not len(mine) else said.distances[i] <= said.distances[mine].min() + 2e-3


def test_speed_tells_apart_what_place_does_not():
    """Two cars beside each other, one parked: a target between them is of the one that moves."""
    objects = floats([(30, 1, 0, 0), (30, -1, 15, 0)], 4)
    targets = floats([target_at(30, 0, 15, 0), target_at(30, 0, 0, 0)], 5)
    said = associate(targets, objects, spread(2), RADAR)
    assert said.object_of.tolist() == [1, 0]
    assert said.target_of.tolist() == [1, 0]


def test_ghosts_go_with_nothing_and_long_vehicles_have_many_targets():
    objects = floats([(20, 0, 10, 0)], 4)
    places = [(19.5, 0.1, 10, 0), (20.1, 0, 10, 0), (20, 0, -30, 0), (40, 9, 10, 0)]
    said = associate(floats([target_at(*p) for p in places], 5), objects, spread(1), RADAR)
    assert said.object_of.tolist() == [0, 0, -1, -1]
    assert said.target_of.tolist() == [1]
    assert said.distances[2] == pytest.approx(RADAR.gate)


def test_what_is_not_finite_goes_with_nothing():
    objects = floats([(20, 0, 10, 0), (np.nan, 0, 0, 0)], 4)
    targets = floats([target_at(20, 0, 10, 0), (np.nan, 0, 0, 0, 0)], 5)
    said = associate(targets, objects, spread(2), RADAR)
    assert said.object_of.tolist() == [0, -1]
    assert said.target_of.tolist() == [0, -1]
    nobody = associate(targets[:0], objects[:0], spread(0), RADAR)
    assert len(nobody.object_of) == len(nobody.target_of) == 0


def test_other_shapes_are_refused():
    with pytest.raises(Misuse, match="cannot be associated"):
        associate(floats([], 4), floats([], 4), spread(0), RADAR)
