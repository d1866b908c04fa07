"""Depth maps as a format: shapes, merging from tiles, and back to points in the world."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.camera import Orbit
from render.depth import BLOCKS, FAR, depth_bytes, map_shape, paste, unknown_map, world_points
from render.tiles import Rect

POSE = Orbit(0.3, 0.2, 4.0, (0.5, 1.0, -0.5))
sides = st.integers(32, 300).map(lambda half: 2 * half)


@given(sides, sides, st.sampled_from(BLOCKS), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_any_tiling_makes_the_same_map(
    random_tiling: Callable, width: int, height: int, block: int, tiles: int, seed: int
):
    whole = np.random.default_rng(seed).random(map_shape(width, height, block)).astype(np.float16)
    made = unknown_map(width, height, block)
    assert np.isnan(made).all()
    for rect in random_tiling((width, height), tiles, seed):
        rows, columns = map_shape(rect.width, rect.height, block)
        top, left = rect.y // block, rect.x // block
        data = whole[top : top + rows, left : left + columns].tobytes()
        assert len(data) == depth_bytes(rect, block)
        paste(made, rect, block, memoryview(data))
    np.testing.assert_array_equal(made, whole)


def test_without_depth_there_is_nothing_to_send():
    assert depth_bytes(Rect(16, 0, 160, 90), 0) == 0


def test_blocks_come_back_to_where_they_lie_in_the_world():
    width, height, block = 90, 60, 8  # the last column and row are cut
    matrix = POSE.clip_from_world(width / height)
    rng = np.random.default_rng(1)
    depth = (4e-3 / rng.uniform(0.5, 40, map_shape(width, height, block))).astype(np.float16)
    wanted = depth.astype(np.float64)
    points = world_points(depth, matrix, width, height, block)
    clip = np.concatenate([points, np.ones((*depth.shape, 1))], axis=2) @ matrix.T
    screen = (clip[..., :2] / clip[..., 3:] + 1) / 2 * (width, height)
    np.testing.assert_allclose(clip[..., 2] / clip[..., 3], wanted, rtol=1e-9)
    assert screen[0, 0] == pytest.approx((4, 4))
    assert screen[-1, -1] == pytest.approx((89, 58))
    # What the depth says is how far away it is along the view axis.
    ahead = -(points - POSE.eye()) @ POSE.view_from_world()[2, :3]
    np.testing.assert_allclose(4e-3 / ahead, wanted, rtol=1e-9)


def test_what_is_not_known_and_what_is_not_there_has_no_place():
    depth = unknown_map(32, 16, 16)
    depth[0, 1] = FAR
    assert np.isnan(world_points(depth, POSE.clip_from_world(2), 32, 16, 16)).all()
