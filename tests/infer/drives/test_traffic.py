"""Streets and who drives on them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.drives.drive import AHEAD, Drive
from infer.drives.street import random_street
from infer.drives.traffic import STEP_S, constant, driven

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_a_street_has_no_gaps_and_no_corners(seed):
    street = random_street(np.random.default_rng(seed), -50.0, 900.0)
    at = np.repeat(street.begins[1:], 2) + np.tile((-1e-6, 1e-6), len(street.begins) - 1)
    x, y, heading = (values.reshape(-1, 2) for values in street.place(at, 0.0))
    assert np.abs(np.diff(x)).max() < 1e-5
    assert np.abs(np.diff(y)).max() < 1e-5
    assert np.abs(np.diff(heading)).max() < 1e-6
    assert np.abs(heading).max() < np.pi / 2  # so it cannot cross itself


@given(seeds, st.floats(-8, 8))
def test_places_go_along_their_heading(seed, aside):
    street = random_street(np.random.default_rng(seed), 0.0, 400.0)
    along = np.linspace(1, 399, 50)
    ahead, behind = street.place(along + 1e-4, aside), street.place(along - 1e-4, aside)
    moved = np.stack(ahead[:2]) - np.stack(behind[:2])
    heading = street.place(along, aside)[2]
    np.testing.assert_allclose(np.arctan2(moved[1], moved[0]), heading, atol=1e-5)


@settings(max_examples=20)
@given(seeds)
def test_nobody_runs_into_who_drives_ahead(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(3.5, 9.5, 12)
    along = -np.cumsum(rng.uniform(24, 60, 12))
    share = np.clip(0.8 + 0.9 * np.sin(np.arange(600) * STEP_S / 4), 0, 1)
    file = driven(along, lengths, rng.uniform(9, 14, 12), share)
    gaps = file.along[:, :-1] - file.along[:, 1:] - (lengths[:-1] + lengths[1:]) / 2
    assert gaps.min() > 0.3
    assert file.speed.min() >= 0
    assert np.abs(file.acceleration).max() <= 8.0 + 1e-9


@given(seeds)
def test_between_steps_places_and_speeds_have_no_jumps(seed):
    rng = np.random.default_rng(seed)
    file = driven(-30.0 * np.arange(4), np.full(4, 4.5), rng.uniform(9, 14, 4), np.ones(100))
    for step in (1, 40, 90):
        edge_us = round(step * STEP_S * 1e6)
        before, after = file.at(edge_us - 1), file.at(edge_us)
        np.testing.assert_allclose(before[0], after[0], atol=3e-5)
        np.testing.assert_allclose(before[1], after[1], atol=3e-5)


def test_what_keeps_its_speed_is_where_it_should_be():
    along, speed = constant(np.array((5.0, 0.0)), 2.0).at([0, 1_500_000])
    np.testing.assert_allclose(along, ((5, 0), (8, 3)))
    np.testing.assert_array_equal(speed, np.full((2, 2), 2.0))


def test_velocities_are_how_places_change(drive):
    time_us, step_us = 4_050_000, 1000
    before, now, after = (drive.at(time_us + k * step_us) for k in (-1, 0, 1))
    for actor, velocity in zip(now.actors.ids, now.actors.velocity, strict=True):
        places = [scene.actors.boxes[scene.actors.ids == actor][0, :2] for scene in (before, after)]
        found = (places[1] - places[0]) / (2e-6 * step_us)
        np.testing.assert_allclose(found, velocity, atol=0.02)
    ego = (after.ego.translation - before.ego.translation)[:2] / (2e-6 * step_us)
    np.testing.assert_allclose(ego, now.velocity, atol=0.02)


def test_nothing_stands_in_anything_else(drive_scene):
    boxes = drive_scene.actors.boxes
    apart = np.hypot(*(boxes[:, None, :2] - boxes[None, :, :2]).transpose(2, 0, 1))
    narrow = (boxes[:, 4][:, None] + boxes[:, 4][None]) / 2
    np.fill_diagonal(apart, np.inf)
    assert (apart > 0.9 * narrow).all()


def test_the_ego_is_no_actor_and_all_it_passes_are_there(drive):
    scene = drive.at(2_000_000)
    assert AHEAD not in scene.actors.ids
    assert {"car", "pedestrian", "cyclist"} <= set(scene.actors.classes)
    away = np.hypot(*(scene.actors.boxes[:, :2] - scene.ego.translation[:2]).T)
    assert away.min() > 1.5
    assert away.max() > 80


def test_one_seed_is_one_world():
    one, same, other = Drive(8, 3.0), Drive(8, 3.0), Drive(9, 3.0)
    same.at(1_000_000)  # what was asked before is of no account
    first, second = one.at(2_000_000), same.at(2_000_000)
    np.testing.assert_array_equal(first.placed.rows, second.placed.rows)
    np.testing.assert_array_equal(first.placed.models, second.placed.models)
    np.testing.assert_array_equal(one.shapes.planes, same.shapes.planes)
    assert len(other.at(2_000_000).placed.rows) != len(first.placed.rows)
