"""Where light is looked for: in proportion to what comes from there."""

from __future__ import annotations

import numpy as np

from render.environment.distribution import STEP, distribution


def steps_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (down,) and cells (down, across)."""
    data = distribution(pixels)
    across, down = data[:8].view(np.uint32).tolist()
    steps = data[8:].view(STEP)
    return steps[:down], steps[down:].reshape(down, across)


def angles(across: int, down: int) -> np.ndarray:
    edges = np.cos(np.pi * np.arange(down + 1) / down)
    return np.tile(((edges[:-1] - edges[1:]) * 2 * np.pi / across)[:, None], (1, across))


def test_densities_follow_the_light_and_add_up_to_one():
    rng = np.random.default_rng(2)
    pixels = rng.random((300, 700, 4)).astype(np.float16)
    pixels[40:60, 100:130, :3] = 500.0
    rows, cells = steps_of(pixels)
    assert cells.shape == (256, 512)
    share = cells["density"] * angles(512, 256)
    assert np.isclose(share.sum(), 1.0, rtol=1e-5)
    within = np.diff(cells["end"], prepend=0.0) * np.diff(rows["end"], prepend=0.0)[:, None]
    assert np.allclose(within, share, rtol=0.05, atol=1e-7)
    assert (cells["end"][:, -1] == 1).all()
    assert rows["end"][-1] == 1
    sun = cells["density"][50 * 256 // 300, 115 * 512 // 700]
    assert sun > 200 * np.median(cells["density"])
    assert (cells["density"] > 0).all()


def test_small_and_black_pictures_are_sampled_evenly():
    for pixels in (np.zeros((1, 1, 4), np.float16), np.ones((4, 8, 4), np.float16)):
        _, cells = steps_of(pixels)
        assert cells.shape == pixels.shape[:2]
        assert np.allclose(cells["density"], 1 / (4 * np.pi), rtol=1e-4)


def test_light_that_filtering_spreads_is_looked_for_where_it_ends_up():
    pixels = np.full((64, 128, 4), 0.1, np.float16)
    pixels[30, 0, :3] = 5000.0
    _, cells = steps_of(pixels)
    density = cells["density"]
    for row, column in ((30, 1), (30, 127), (29, 0), (31, 1)):
        assert density[row, column] > 0.2 * density[30, 0]
        assert density[row, column] > 100 * density[30, 60]
