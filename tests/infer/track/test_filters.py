"""The kernels' filters beside the textbook's matrices in NumPy, and objects that turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.references.tracks import advanced, advanced_turning, corrected
from infer.track.overlap import YAW, X, Y
from infer.track.tracker import Rules, Tracker
from infer.track.tracks import Beliefs, born, wrapped
from infer.track.turning import TurningTracks, born_turning, noises_of

BELIEFS = Beliefs()
COUNT = 5
seeds = st.integers(0, 2**32 - 1)
seconds = st.floats(-1, 1)


def some_boxes(random: np.random.Generator) -> np.ndarray:
    """Cars within 60 m or so, whichever way they face."""
    spread, middle = [20, 20, 1, 0.2, 0.2, 0.2, 2], [0, 0, 0, 4, 2, 1.5, 0]
    boxes = random.normal(size=(COUNT, 7)) * spread + middle
    boxes[:, YAW] = wrapped(boxes[:, YAW])
    return boxes


def something(random: np.random.Generator, fields: int) -> np.ndarray:
    """(COUNT, fields, fields) covariances of something."""
    root = random.normal(size=(COUNT, fields, fields))
    return root @ root.transpose(0, 2, 1) + 0.1 * np.eye(fields)


def turning(random: np.random.Generator) -> tuple[TurningTracks, np.ndarray]:
    """Objects that turn, some as good as straight on; (COUNT, 5), what is known of them."""
    tracks = born_turning(0.0, np.arange(COUNT), some_boxes(random), np.ones(COUNT), BELIEFS)
    tracks.course[:] = random.uniform((-15, -1.5), (15, 1.5), (COUNT, 2))
    tracks.course[0, 1] = 1e-9
    tracks.joint[:] = something(random, 5)
    return tracks, np.column_stack((tracks.boxes[:, (X, Y, YAW)], tracks.course))


@given(seeds, seconds)
@settings(max_examples=30)
def test_straight_on_is_the_textbooks(seed: int, later: float):
    random = np.random.default_rng(seed)
    tracks = born(0.0, np.arange(COUNT), some_boxes(random), np.ones(COUNT), BELIEFS)
    tracks.velocity[:] = random.normal(size=(COUNT, 3)) * 10
    for axis in range(3):
        tracks.motion[:, axis] = something(random, 2).reshape(COUNT, 4)[:, (0, 1, 3)]
    then = tracks.at(later, BELIEFS)
    seen = then.boxes + random.normal(size=then.boxes.shape) * 0.1
    after = then.corrected(seen, np.ones(COUNT), BELIEFS)
    noise = np.array([[BELIEFS.place_m**2]])
    for i, axis in np.ndindex(COUNT, 3):
        state = np.array((tracks.boxes[i, axis], tracks.velocity[i, axis]))
        covariance = tracks.motion[i, axis][[0, 1, 1, 2]].reshape(2, 2)
        state, covariance = advanced(state, covariance, later, BELIEFS.acceleration**2)
        h = np.eye(1, 2)
        state, covariance = corrected(state, covariance, h, seen[i, axis : axis + 1], noise)
        told = after.boxes[i, axis], after.velocity[i, axis]
        np.testing.assert_allclose(told, state, rtol=1e-9, atol=1e-9)
        flat = covariance.ravel()[[0, 1, 3]]
        np.testing.assert_allclose(after.motion[i, axis], flat, rtol=1e-9, atol=1e-9)


@given(seeds, seconds)
@settings(max_examples=30)
def test_around_a_turn_is_the_textbooks(seed: int, later: float):
    tracks, states = turning(np.random.default_rng(seed))
    then = tracks.at(later, BELIEFS)
    noises = noises_of(BELIEFS)
    for i, (state, covariance) in enumerate(zip(states, tracks.joint, strict=True)):
        known, spread = advanced_turning(state, covariance, later, noises)
        known[2] = wrapped(known[2:3])[0]
        told = np.concatenate((then.boxes[i, [X, Y, YAW]], then.course[i]))
        np.testing.assert_allclose(told, known, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(then.joint[i], spread, rtol=1e-4, atol=1e-4)


@given(seeds)
@settings(max_examples=30)
def test_a_sighting_of_what_turns_is_the_textbooks(seed: int):
    random = np.random.default_rng(seed)
    tracks, states = turning(random)
    seen = tracks.boxes + random.normal(size=tracks.boxes.shape) * 0.1
    after = tracks.corrected(seen, np.ones(COUNT), BELIEFS)
    faced = tracks.faced(seen)[:, (X, Y, YAW)]
    noise = np.diag(BELIEFS.measured()[[X, Y, YAW]])
    for i, (state, covariance) in enumerate(zip(states, tracks.joint, strict=True)):
        known, spread = corrected(state, covariance, np.eye(3, 5), faced[i], noise)
        known[2] = wrapped(known[2:3])[0]
        told = np.concatenate((after.boxes[i, [X, Y, YAW]], after.course[i]))
        np.testing.assert_allclose(told, known, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(after.joint[i], spread, rtol=1e-9, atol=1e-9)


@given(seeds, seconds)
@settings(max_examples=30)
def test_what_turns_is_told_of_as_what_goes_straight_on(seed: int, later: float):
    """Velocity along the heading, and covariances that are those of something."""
    tracks, _ = turning(np.random.default_rng(seed))
    then = tracks.at(later, BELIEFS)
    heading = np.stack((np.cos(then.boxes[:, YAW]), np.sin(then.boxes[:, YAW])), axis=1)
    np.testing.assert_allclose(then.velocity[:, :2], then.course[:, :1] * heading, atol=1e-9)
    place, joint, speed = (then.motion[..., i] for i in range(3))
    assert (place > 0).all()
    assert (place * speed >= joint**2 * (1 - 1e-9)).all()


@pytest.mark.parametrize("rate", [0.4, -0.4])
def test_a_car_in_a_bend_is_foreseen_in_the_bend(rate: float):
    """10 m/s around 25 m: straight on it would leave the lane within a second."""

    def at(time_s: float) -> np.ndarray:
        yaw, radius = rate * time_s, 10 / rate
        place = radius * np.sin(yaw), radius * (1 - np.cos(yaw)), 0
        return np.array([[*place, 4, 2, 1.5, yaw]])

    away = {}
    for turning in (False, True):
        tracker = Tracker(Rules(turning=turning))
        for k in range(25):
            told = tracker.step(0.1 * k, at(0.1 * k), np.ones(1))
        foreseen = told.at(3.4, tracker.beliefs).boxes[0, :2]
        away[turning] = float(np.linalg.norm(foreseen - at(3.4)[0, :2]))
    assert away[True] < 0.3
    assert away[False] > 1
