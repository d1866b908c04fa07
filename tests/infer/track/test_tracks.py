"""What is known stays possible, and grows less certain with time either way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.track.tracks import Beliefs, Tracks, born

BELIEFS = Beliefs()
seconds = st.floats(0, 5)


def some(seed: int, sightings: int = 3) -> Tracks:
    """A few objects, each seen so often, a tenth of a second apart."""
    random = np.random.default_rng(seed)
    boxes = random.normal(size=(4, 7)) * [20, 20, 1, 0.2, 0.2, 0.2, 2] + [0, 0, 0, 4, 2, 1.5, 0]
    tracks = born(0.0, np.arange(4), boxes, np.ones(4), BELIEFS)
    velocity = random.normal(scale=5, size=(4, 3))
    for k in range(1, sightings):
        boxes[:, :3] += velocity * 0.1
        seen = boxes + random.normal(scale=0.05, size=boxes.shape)
        tracks = tracks.at(k * 0.1, BELIEFS).corrected(seen, np.ones(4), BELIEFS)
    return tracks


def possible(tracks: Tracks) -> bool:
    place, joint, speed = (tracks.motion[..., i] for i in range(3))
    positive = (place > 0) & (speed > 0) & (place * speed > joint**2)
    return bool(positive.all() and (tracks.others > 0).all())


@given(st.integers(0, 999), st.integers(1, 8), seconds)
def test_covariances_are_those_of_something(seed: int, sightings: int, later: float):
    tracks = some(seed, sightings)
    assert possible(tracks)
    assert possible(tracks.at(tracks.time_s + later, BELIEFS))


@given(st.integers(0, 999), seconds, seconds)
def test_two_steps_are_one(seed: int, first: float, second: float):
    tracks = some(seed)
    twice = tracks.at(tracks.time_s + first, BELIEFS).at(tracks.time_s + first + second, BELIEFS)
    once = tracks.at(tracks.time_s + first + second, BELIEFS)
    for name in ("boxes", "velocity", "motion", "others"):
        np.testing.assert_allclose(getattr(twice, name), getattr(once, name), rtol=1e-6, atol=1e-9)


@given(st.integers(0, 999), st.floats(0.01, 5))
def test_time_makes_less_certain_and_a_sighting_more(seed: int, later: float):
    tracks = some(seed)
    then = tracks.at(tracks.time_s + later, BELIEFS)
    assert (then.motion[..., 2] > tracks.motion[..., 2]).all()
    again = then.corrected(then.boxes, then.scores, BELIEFS)
    assert (again.motion[..., 0] < then.motion[..., 0]).all()
    assert (again.motion[..., 0] < BELIEFS.place_m**2).all()
    np.testing.assert_allclose(again.boxes[:, :6], then.boxes[:, :6])


def test_a_velocity_is_learnt_from_places():
    tracks = born(0.0, np.arange(1), np.array([[0, 0, 0, 4, 2, 1.5, 0.0]]), np.ones(1), BELIEFS)
    for k in range(1, 20):
        seen = np.array([[1.5 * k, -0.5 * k, 0, 4, 2, 1.5, 0.0]])
        tracks = tracks.at(k * 0.1, BELIEFS).corrected(seen, np.ones(1), BELIEFS)
    assert tracks.velocity[0] == pytest.approx([15, -5, 0], abs=0.2)
    assert tracks.at(2.9, BELIEFS).boxes[0, :2] == pytest.approx([43.5, -14.5], abs=0.5)


@pytest.mark.parametrize("turn", [0.1, -0.1, np.pi + 0.1, 2 * np.pi - 0.1])
def test_a_heading_may_be_seen_the_wrong_way_round(turn: float):
    box = np.array([[0, 0, 0, 4, 2, 1.5, 3.1]])
    tracks = born(0.0, np.arange(1), box, np.ones(1), BELIEFS)
    seen = box.copy()
    seen[0, 6] += turn
    after = tracks.corrected(seen, np.ones(1), BELIEFS).boxes[0, 6]
    assert np.cos(after - 3.1) > np.cos(0.11)
    assert -np.pi <= after < np.pi
