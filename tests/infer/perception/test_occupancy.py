"""Occupancy beside the NumPy reference, on real and random sweeps, and its belief over time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.bodies.plane import ABOVE, GROUND_POINT, UNKNOWN_POINT
from infer.kernels.references import occupancy as reference
from infer.perception.area import Area
from infer.perception.ground import GroundFinder, PlaneSearch
from infer.perception.occupancy import Belief, OccupancyGrid
from mesh.core.errors import ContentRefused

YARD = Area(8, 0.5)
BELIEF = Belief()


def seen_first(grid, points, labels, position=(0.0, 0.0)):
    """(hit, free) that an empty grid believes in after one sweep."""
    grid.update(points, labels, position, 0)
    return grid.log_odds > 0, grid.log_odds < 0


def known(points, labels, grid, position=(0.0, 0.0)):
    cell = grid.area.cell_m
    field = np.array([p - math.floor(p / cell) * cell for p in position], np.float32)
    field = np.append(field, np.float32(grid.believes.ceiling_m)).astype(np.float32)
    hit, free = reference.sight(points, labels, grid.area.parameters(), field)
    return hit, free & ~hit


def at(grid, x, y):
    west, south = grid.corner
    cell = grid.area.cell_m
    return grid.log_odds[int((y - south) // cell), int((x - west) // cell)]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_real_sweep_hits_and_frees_what_the_reference_says(clip, threads):
    labels = GroundFinder(PlaneSearch(), 120_000).find(clip[0]).labels
    grid = OccupancyGrid(Area(64, 0.25), BELIEF, 120_000, threads)
    hit, free = seen_first(grid, clip[0], labels, (3.3, -7.1))
    known_hit, known_free = known(clip[0], labels, grid, (3.3, -7.1))
    np.testing.assert_array_equal(hit, known_hit)
    # A point at the edge between two beams may be in the other for float32.
    assert (free ^ known_free).sum() < 0.005 * known_free.sum()
    assert known_free.sum() > 5000


@given(
    seed=st.integers(0, 2**32 - 1),
    points=st.integers(0, 200),
    place=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
)
@settings(max_examples=30)
def test_any_sweep_hits_and_frees_what_the_reference_says(seed, points, place):
    rng = np.random.default_rng(seed)
    cloud = rng.normal(0, 4, (points, 4)).astype(np.float32)
    cloud[rng.uniform(size=cloud.shape) < 0.02] = np.nan
    labels = rng.choice(np.array((ABOVE, GROUND_POINT, UNKNOWN_POINT), np.uint8), points)
    grid = OccupancyGrid(YARD, BELIEF, 200, 2)
    hit, free = seen_first(grid, cloud, labels, place)
    known_hit, known_free = known(cloud, labels, grid, place)
    np.testing.assert_array_equal(hit, known_hit)
    assert (free ^ known_free).sum() <= 1


def test_belief_stays_in_the_world_while_the_sensor_moves():
    grid = OccupancyGrid(YARD, BELIEF, 10)
    wall = np.array([[4.1, 0.1, 0, 0]], np.float32)
    labels = np.full(1, ABOVE, np.uint8)
    for k, x in enumerate((0.0, 0.7, 1.4)):
        here = wall - np.array((x, 0, 0, 0), np.float32)
        grid.update(here, labels, (x, 0.0), 100_000 * k)
        assert at(grid, 4.1, 0.1) > 0.8
        assert at(grid, 3.6, 0.1) < 0
    assert at(grid, 4.1, 0.1) == pytest.approx(
        0.85 * (1 + math.exp(-0.05) + math.exp(-0.1)), rel=1e-5
    )
    grid.update(wall[:0], labels[:0], (1.4, 0.0), 2_200_000)
    assert 0 < at(grid, 4.1, 0.1) < 1
    grid.update(wall[:0], labels[:0], (100.0, 0.0), 2_300_000)
    assert not grid.log_odds.any()


def test_belief_is_bounded_and_obstacles_overhead_are_passed_under():
    grid = OccupancyGrid(YARD, BELIEF, 10)
    points = np.array([[4.1, 0.1, 0, 0], [0.1, 4.1, 0.6, 0]], np.float32)
    for _ in range(20):
        grid.update(points, np.full(2, ABOVE, np.uint8), (0, 0), 0)
    assert at(grid, 4.1, 0.1) == 4
    assert at(grid, 2.1, 0.1) == -4
    assert at(grid, 0.1, 4.1) == 0


def test_sweeps_out_of_order_or_out_of_this_world_are_refused():
    grid = OccupancyGrid(YARD, BELIEF, 10)
    nothing = np.empty((0, 4), np.float32), np.empty(0, np.uint8)
    grid.update(*nothing, (0, 0), 10)
    with pytest.raises(ContentRefused, match="in order"):
        grid.update(*nothing, (0, 0), 9)
    with pytest.raises(ContentRefused, match="nan"):
        grid.update(*nothing, (math.nan, 0), 11)
