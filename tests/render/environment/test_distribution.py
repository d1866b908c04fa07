"""Where light is looked for: in proportion to what comes from there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from render.environment.distribution import CELL, alias_table, distribution


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200).filter(lambda given: sum(given) > 0))
def test_an_alias_table_gives_every_outcome_its_share(weights: list[float]):
    share = np.array(weights) / sum(weights)
    kept, other = alias_table(share)
    assert (kept >= 0).all()
    assert (kept <= 1 + 1e-9).all()
    given_by_others = np.bincount(other, (1 - kept).clip(0), len(share))
    assert np.allclose((kept + given_by_others) / len(share), share, atol=1e-9)


def cells_of(pixels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    data = distribution(pixels)
    across, down = data[:8].view(np.uint32).tolist()
    return data[16:].view(CELL).reshape(down, across), (across, down)


def angles(across: int, down: int) -> np.ndarray:
    edges = np.cos(np.pi * np.arange(down + 1) / down)
    return np.tile(((edges[:-1] - edges[1:]) * 2 * np.pi / across)[:, None], (1, across))


def test_densities_follow_the_light_and_add_up_to_one():
    rng = np.random.default_rng(2)
    pixels = rng.random((300, 700, 4)).astype(np.float16)
    pixels[40:60, 100:130, :3] = 500.0
    cells, (across, down) = cells_of(pixels)
    assert (across, down) == (256, 128)
    assert np.isclose((cells["density"] * angles(across, down)).sum(), 1.0, rtol=1e-5)
    sun = cells["density"][40 * 128 // 300 + 2, 110 * 256 // 700]
    assert sun > 200 * np.median(cells["density"])
    assert (cells["density"] > 0).all()


def test_small_and_black_pictures_are_sampled_evenly():
    for pixels in (np.zeros((1, 1, 4), np.float16), np.ones((4, 8, 4), np.float16)):
        cells, size = cells_of(pixels)
        assert size == pixels.shape[1::-1]
        assert np.allclose(cells["density"], 1 / (4 * np.pi), rtol=1e-4)
