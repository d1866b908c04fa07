"""Predicted costs: where the geometry is, whole over the frame, and blind to nothing but error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.camera import Orbit
from render.clusters import Boxes
from render.cost import SHADED_PIXEL, TRIANGLE, cost_map
from render.tiles import GRID, Rect, cells_of, cut, even_cost

SIZE = (640, 360)
POSE = Orbit(0.0, 0.0, 10.0, (0.0, 0.0, 0.0))
MATRIX = POSE.clip_from_world(SIZE[0] / SIZE[1])


def boxes(*centres: tuple[float, float, float], half: float = 0.5) -> Boxes:
    return Boxes(np.array(centres, np.float64).reshape(-1, 3), np.full((len(centres), 3), half))


def test_an_empty_scene_costs_its_pixels():
    cost = cost_map(boxes(), np.array([], np.int64), MATRIX, *SIZE).total
    assert np.array_equal(cost, even_cost(*SIZE))


def test_a_box_costs_where_it_is_seen():
    cost = cost_map(boxes((0, 0, 0)), np.array([100]), MATRIX, *SIZE).total
    rows, columns = np.nonzero(cost > even_cost(*SIZE))
    middle = np.array([columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]) * GRID / 2
    assert np.abs(middle - np.array(SIZE) / 2).max() <= GRID
    # One metre of the 2 * 10 m * tan(fov / 2) that the frame shows, cell edges included.
    shown = SIZE[1] / (2 * 10 * np.tan(POSE.fov / 2))
    across = (columns.max() + 1 - columns.min()) * GRID
    assert shown <= across <= shown * 1.2 + 2 * GRID
    covered = even_cost(*SIZE)[rows, columns].sum()
    extra = (cost - even_cost(*SIZE)).sum()
    assert extra == pytest.approx(SHADED_PIXEL * covered + TRIANGLE * 100)


def test_what_is_beside_or_behind_the_camera_costs_nothing():
    away = boxes((0, 0, 20), (50, 0, 0), (0, -50, 0))
    cost = cost_map(away, np.array([100, 100, 100]), MATRIX, *SIZE).total
    assert np.array_equal(cost, even_cost(*SIZE))


def test_what_surrounds_the_camera_may_be_anywhere():
    cost = cost_map(boxes((0, 0, 10)), np.array([100]), MATRIX, *SIZE).total
    assert (cost > even_cost(*SIZE)).all()


@given(st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_tiles_share_the_cost_of_the_frame(tiles: int, seed: int):
    rng = np.random.default_rng(seed)
    cost = cost_map(
        boxes(*map(tuple, rng.uniform(-5, 5, (20, 3)))), rng.integers(1, 500, 20), MATRIX, *SIZE
    ).total
    rects = cut(*SIZE, tiles, cost)
    shared = sum(cost[cells_of(rect)].sum() for rect in rects)
    assert shared == pytest.approx(cost.sum())


def test_a_cut_by_cost_is_more_even_than_one_by_area():
    cost = cost_map(boxes((-2, -1, 0)), np.array([5000]), MATRIX, *SIZE).total

    def largest(rects: list[Rect]) -> float:
        return max(float(cost[cells_of(rect)].sum()) for rect in rects)

    assert largest(cut(*SIZE, 6, cost)) < 0.6 * largest(cut(*SIZE, 6))
