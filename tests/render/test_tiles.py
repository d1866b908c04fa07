"""Tiles cover the frame exactly, on the grid, and share its cost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import Misuse
from mesh.core.workload import CutHint, Lane, Surprise
from render.tiles import GRID, Rect, Tiler, cells_of, cut, deal, even_cost, grid_shape

sides = st.integers(1, 200).map(lambda half: 2 * half)


@given(sides, sides, st.integers(1, 70))
def test_a_cut_covers_every_pixel_once_with_edges_on_the_grid(width: int, height: int, tiles: int):
    rects = cut(width, height, tiles)
    covered = np.zeros((height, width), int)
    for rect in rects:
        covered[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
        assert rect.x % GRID == rect.y % GRID == 0
        assert (rect.x + rect.width) % GRID == 0 or rect.x + rect.width == width
        assert (rect.y + rect.height) % GRID == 0 or rect.y + rect.height == height
        assert rect.i420_bytes * 2 == rect.area * 3
    assert (covered == 1).all()
    columns, rows = grid_shape(width, height)
    assert len(rects) == min(tiles, columns * rows)
    assert rects == sorted(rects, key=lambda rect: (rect.y, rect.x))


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_a_frame_can_be_cut_down_to_its_cells(columns: int, rows: int, data: st.DataObject):
    tiles = data.draw(st.integers(columns * rows // 2, columns * rows + 1))
    rects = cut(GRID * columns, GRID * rows, max(tiles, 1))
    assert len(set(rects)) == max(1, min(tiles, columns * rows))
    assert sum(rect.area for rect in rects) == GRID * columns * GRID * rows


@given(
    st.integers(2, 40), st.integers(2, 40), st.integers(1, 8), st.integers(0, 2**32 - 1), st.data()
)
def test_any_cost_map_cuts_into_as_many_tiles(
    columns: int, rows: int, tiles: int, seed: int, data: st.DataObject
):
    cost = np.random.default_rng(seed).random((rows, columns))
    cost[cost < data.draw(st.floats(0, 1))] = 0
    width, height = GRID * columns, GRID * rows
    rects = cut(width, height, tiles, cost)
    assert sum(rect.area for rect in rects) == width * height
    assert len(rects) == min(tiles, columns * rows)


@pytest.mark.parametrize("tiles", [2, 3, 4, 6, 8])
def test_tiles_share_a_lopsided_cost_evenly(tiles: int):
    cost = np.outer(np.ones(45), np.linspace(0, 1, 80) ** 3)
    shares = [
        cost[r.y // GRID : (r.y + r.height) // GRID, r.x // GRID : (r.x + r.width) // GRID].sum()
        for r in cut(1280, 720, tiles, cost)
    ]
    assert max(shares) < 1.25 * cost.sum() / tiles


def test_even_cost_is_the_area_of_each_cell():
    cost = even_cost(40, 20)
    assert cost.tolist() == [[256, 256, 128], [64, 64, 32]]


def test_the_usual_cut_is_into_quarters():
    assert cut(1280, 768, 4) == [
        Rect(0, 0, 640, 384),
        Rect(640, 0, 640, 384),
        Rect(0, 384, 640, 384),
        Rect(640, 384, 640, 384),
    ]


@pytest.mark.parametrize("arguments", [(63, 64, 1), (64, 63, 1), (64, 64, 0), (0, 64, 1)])
def test_what_cannot_be_cut_is_our_mistake(arguments: tuple[int, int, int]):
    with pytest.raises(Misuse, match="cannot cut"):
        cut(*arguments)


# --- for the devices at hand ----------------------------------------------------------------------


SIZE = (1280, 720)


def lanes(*us_per_unit: float) -> CutHint:
    return CutHint(len(us_per_unit), lanes=[Lane(0, {"tile": us}) for us in us_per_unit])


def test_tiles_are_as_large_as_the_devices_are_fast():
    tiles = Tiler(*SIZE).tiles(even_cost(*SIZE), lanes(1, 2, 4), "tile")
    units = sorted((tile.units for tile in tiles), reverse=True)
    assert np.array(units) / sum(units) == pytest.approx([4 / 7, 2 / 7, 1 / 7], rel=0.05)
    assert sum(units) == pytest.approx(1280 * 720)


def test_a_tile_also_costs_what_any_tile_does():
    tiles = Tiler(*SIZE, 1000.0).tiles(even_cost(*SIZE), CutHint(4), "tile")
    assert sum(tile.units for tile in tiles) == pytest.approx(4 * 1000 + 1280 * 720)


def test_more_tiles_are_made_than_there_are_devices_if_asked_for():
    assert len(Tiler(*SIZE).tiles(even_cost(*SIZE), lanes(1, 1), "tile", at_least=6)) == 6


def test_tiles_follow_what_their_regions_really_cost():
    tiler, base = Tiler(*SIZE), even_cost(*SIZE)
    truth = base.copy()
    truth[:, :20] *= 6  # nobody told
    hint, worst = lanes(1, 1, 1, 1), []
    for _ in range(20):
        tiles = tiler.tiles(base, hint, "tile")
        took = np.array([truth[cells_of(tile.rect)].sum() for tile in tiles])
        worst.append(took.max() / took.mean())
        speed = took.sum() / sum(tile.units for tile in tiles)  # what devices are believed to do
        hint = CutHint(
            4,
            lanes=hint.lanes,
            surprises=[
                Surprise(tuple(tile.rect), us / (tile.units * speed))
                for tile, us in zip(tiles, took, strict=True)
            ],
        )
    assert worst[0] > 1.5
    assert worst[-1] < 1.15


def test_a_cut_is_kept_until_something_has_changed():
    tiler, cost = Tiler(*SIZE), even_cost(*SIZE)
    first = tiler.tiles(cost, lanes(1, 2, 4), "tile")
    noisy = tiler.tiles(cost * 1.5, lanes(1.01, 2, 4), "tile")
    assert [tile.rect for tile in noisy] == [tile.rect for tile in first]
    assert [t.units for t in noisy] == pytest.approx([1.5 * t.units for t in first])
    slower = tiler.tiles(cost, lanes(2, 2, 4), "tile")
    assert [tile.rect for tile in slower] != [tile.rect for tile in first]
    dearer = cost.copy()
    dearer[:, :20] *= 1.5
    moved = tiler.tiles(dearer, lanes(2, 2, 4), "tile")
    assert [tile.rect for tile in moved] != [tile.rect for tile in slower]


# --- several views, and parts of them -----------------------------------------------------------

many = st.lists(st.floats(0.01, 1), min_size=1, max_size=20)


@given(many, many)
def test_every_part_gets_its_own_sizes_and_they_add_up_to_its_cost(
    sizes: list[float], costs: list[float]
):
    dealt = deal(sizes, costs)
    assert len(dealt) == len(costs)
    if len(costs) == 1:
        assert dealt == [sizes]
        return
    for given_sizes, cost in zip(dealt, costs, strict=True):
        assert min(given_sizes) > 0
        assert sum(given_sizes) == pytest.approx(cost)
    assert len(costs) <= sum(map(len, dealt)) <= len(sizes) + len(costs) - 1


def test_a_border_moves_to_the_end_of_a_part_that_is_near():
    assert [len(part) for part in deal([1, 1], [0.9, 1.1])] == [1, 1]
    assert [len(part) for part in deal([1, 1], [0.5, 1.5])] == [1, 2]
    assert [len(part) for part in deal([1, 1, 1], [1.5, 1.5])] == [2, 2]


@given(st.integers(4, 20), st.integers(4, 20), st.integers(1, 64), st.integers(0, 1000))
def test_tiles_of_several_views_cover_each_and_cross_no_part(
    columns: int, rows: int, tiles: int, seed: int
):
    width, height = 16 * columns - 6, 16 * rows - 2
    at = np.random.default_rng(seed).integers(1, 3, 2) * 16
    xs, ys = (0, at[0], width), (0, at[1], height)
    parts = [
        Rect(x, y, far_x - x, far_y - y)
        for y, far_y in pairwise(map(int, ys))
        for x, far_x in pairwise(map(int, xs))
    ]
    tiler = Tiler(width, height, 100.0, parts=[parts, parts])
    cost = np.random.default_rng(seed).uniform(1, 100, (rows, 2 * columns))
    region = (width + xs[1], 0, width - xs[1], ys[1])
    hint = CutHint(3, surprises=[Surprise(tuple(map(int, region)), 1.4)])
    made = tiler.tiles(cost, hint, "tile", tiles)
    covered = np.zeros((2, height, width), int)
    for rect, units, view, part in made:
        covered[view, rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
        within = parts[part]
        assert within.x <= rect.x <= rect.x + rect.width <= within.x + within.width
        assert within.y <= rect.y <= rect.y + rect.height <= within.y + within.height
        assert units > 100
    assert (covered == 1).all()
    assert len(made) <= 64
