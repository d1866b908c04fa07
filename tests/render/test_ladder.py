"""Rungs of the degrade ladder: each cheaper than the one above, as devices are asked for them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.workload import CutHint, SessionRequest
from render.cost import TILE, FrameCost
from render.ladder import LEAST_GAIN, Quality, cost_at, ladder, qualities
from render.pieces import Shadows, decode_session, decode_tile
from render.session import RenderSession
from render.tiles import even_cost
from render.upscale import SCALES
from render.workload import create

SIZE = (640, 360)


def frame_cost(shading: float, geometry: float) -> FrameCost:
    area = even_cost(*SIZE)
    return FrameCost(area, area * (1 + shading), area * geometry)


def session(**options: object) -> RenderSession:
    return create({}).open_session(SessionRequest("render", {"turntable": 0, **options}))


@pytest.mark.parametrize("samples", [1, 2, 7, 16, 1000])
def test_samples_are_halved_down_to_one_and_then_pixels_are_fewer(samples: int):
    counts = [quality.samples for quality in qualities(samples)]
    halved = counts[: -len(SCALES) + 1]
    assert halved[0] == samples
    assert halved[-1] == 1
    assert all(coarse == fine // 2 for fine, coarse in pairwise(halved))
    assert [quality.scale for quality in qualities(samples)[-len(SCALES) :]] == list(SCALES)


def test_the_raster_pass_draws_fewer_pixels():
    assert qualities(0) == tuple(Quality(0, scale) for scale in SCALES)


@pytest.mark.parametrize(
    ("shadows", "full"), [(2048, [(100, 2048), (100, 1024)]), (1024, [(100, 1024)])]
)
def test_shadows_are_coarser_before_pixels_are_fewer_and_gone_at_the_end(
    shadows: Shadows, full: list[tuple[int, int]]
):
    coarse = [(scale, 1024) for scale in SCALES[1:]]
    asked = [(quality.scale, quality.shadows) for quality in qualities(0, shadows)]
    assert asked == [*full, *coarse, (SCALES[-1], 0)]


CHOICES = st.builds(qualities, st.integers(1, 64)) | st.builds(
    qualities, st.just(0), st.sampled_from([0, 1024, 2048])
)


@given(CHOICES, st.floats(0, 30), st.floats(0, 30), st.integers(1, 16))
def test_every_rung_is_cheaper_than_the_one_above_and_costs_what_its_pieces_will(
    choices: tuple[Quality, ...], shading: float, geometry: float, tiles: int
):
    cost = frame_cost(shading, geometry)
    kept, rungs = ladder(choices, cost, tiles)
    assert kept[0] == choices[0]
    assert (rungs[0].cost, rungs[0].quality) == (1, 1)
    for above, below in pairwise(rungs):
        assert below.cost < LEAST_GAIN * above.cost
        assert 0 < below.quality < above.quality
    units = [TILE * tiles + cost_at(quality, cost).sum() for quality in kept]
    assert [rung.cost for rung in rungs] == pytest.approx(np.divide(units, units[0]))


def test_what_would_not_save_anything_is_no_rung():
    kept, rungs = ladder(qualities(0), frame_cost(shading=0.0, geometry=0.0), tiles=1)
    assert kept == (Quality(0),)
    assert len(rungs) == 1


@pytest.mark.parametrize(
    "options", [{}, {"integrator": "pathtrace", "samples": 2}, {"shadows": 2048}]
)
def test_a_session_s_tiles_say_what_the_rung_asks_for_and_cost_what_it_promises(options: dict):
    work = session(tiles=1, **options)
    spec = decode_session(work.setup.spec)
    asked, units = [], []
    for rung in range(len(work.contract.ladder)):
        canvas = memoryview(bytearray(work.picture.nbytes))
        frame = work.open_frame(0, 0, CutHint(1, rung=rung), canvas, memoryview(b""))
        tiles = [decode_tile(piece.spec, spec) for piece in frame.pieces]
        [found] = {(tile.samples, tile.scale, tile.shadows) for tile in tiles}
        asked.append(found)
        units.append(sum(piece.units for piece in frame.pieces))
    assert len(set(asked)) == len(asked) > 2
    costs = [rung.cost for rung in work.contract.ladder]
    assert np.divide(units, units[0]) == pytest.approx(costs)
