"""The ground plane beside the float64 reference, on real, known and random ground."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.bodies.plane import ABOVE, BELOW, GROUND_POINT, UNKNOWN_POINT
from infer.kernels.references import plane as reference
from infer.perception.area import Area
from infer.perception.ground import GroundFinder, PlaneSearch, triples

SEARCH = PlaneSearch()
FEW = PlaneSearch(area=Area(16, 1), trials=40)


def plane_of(ground):
    return np.array((ground.slope_x, ground.slope_y, ground.height_m))


def known(points, search):
    low = reference.low_points(points, search.area.parameters())
    return reference.find(
        points,
        low,
        triples(len(low), search),
        within=search.within_m,
        steepest=search.steepest,
        fits=search.fits,
    )


def hilly(rng, points, slopes, height):
    cloud = rng.uniform(-15, 15, (points, 4)).astype(np.float32)
    cloud[:, 2] = cloud[:, :2] @ slopes + height + rng.normal(0, 0.02, points)
    return cloud


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sweep", [0, 5])
def test_the_ground_of_a_real_sweep_is_the_references(clip, sweep, threads):
    points = clip[sweep]
    finder = GroundFinder(SEARCH, 120_000, threads)
    ground = finder.find(points)
    plane = known(points, SEARCH)
    np.testing.assert_array_less(np.abs(plane_of(ground) - plane), (1e-4, 1e-4, 2e-3))
    assert ground.height_m == pytest.approx(-1.73, abs=0.1)
    over = reference.above(points[:, :3].astype(float), plane)
    clear = np.abs(np.abs(over) - SEARCH.within_m) > 0.005
    expected = np.where(over > SEARCH.within_m, ABOVE, np.where(over < 0, BELOW, GROUND_POINT))
    expected[np.abs(over) <= SEARCH.within_m] = GROUND_POINT
    np.testing.assert_array_equal(ground.labels[clear], expected[clear])
    assert clear.mean() > 0.97


@given(
    seed=st.integers(0, 2**32 - 1),
    slopes=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
    height=st.floats(-3, -1),
    walls=st.integers(100, 300),
)
@settings(max_examples=30)
def test_known_ground_is_found_under_walls(seed, slopes, height, walls):
    rng = np.random.default_rng(seed)
    cloud = hilly(rng, 1000, slopes, height)
    cloud[:walls, 2] += rng.uniform(0.5, 4, walls)
    ground = GroundFinder(FEW, 1000, 2).find(cloud)
    np.testing.assert_allclose(plane_of(ground), (*slopes, height), atol=0.02)
    assert (ground.labels[:walls] == ABOVE).mean() >= 0.99
    assert ground.tilt_deg == pytest.approx(np.degrees(np.arctan(np.hypot(*slopes))), abs=1)


def test_what_is_no_measurement_is_no_ground():
    cloud = hilly(np.random.default_rng(1), 500, (0, 0), -1.7)
    cloud[:3, 0], cloud[3:6, 2] = np.nan, np.inf
    labels = GroundFinder(FEW, 500).find(cloud).labels
    assert (labels[:6] == UNKNOWN_POINT).all()
    assert (labels[6:] == GROUND_POINT).all()


def test_a_wall_alone_is_no_ground():
    finder = GroundFinder(FEW, 500)
    wall = np.zeros((500, 4), np.float32)
    wall[:, 1] = np.linspace(-15, 15, 500)
    wall[:, 0] = 5.5
    assert finder.find(wall) is None
    assert finder.find(wall[:1]) is None
    assert finder.find(wall[:0]) is None
    # Nothing of it is left for the next sweep.
    assert finder.find(hilly(np.random.default_rng(2), 500, (0, 0), 9)).height_m > 8
