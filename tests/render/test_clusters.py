"""Clusters keep every triangle; culling is never wrong about what a tile shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.camera import Orbit
from render.clusters import Boxes, cluster_scene, split, visible
from render.scene import Scene
from render.tiles import Rect, cut

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 400), st.integers(1, 50))
def test_splitting_keeps_every_triangle_and_bounds_each_cluster(seed: int, count: int, most: int):
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(60, 3)).astype(np.float32)
    indices = rng.integers(0, 60, 3 * count).astype(np.uint32)
    clusters = split(positions, indices, most, 100)
    as_sets = sorted(map(tuple, indices.reshape(-1, 3).tolist()))
    assert sorted(map(tuple, clusters.indices.reshape(-1, 3).tolist())) == as_sets
    assert clusters.starts[0] == 0
    assert clusters.starts[-1] == 3 * count
    assert (np.diff(clusters.starts) <= 3 * most).all()
    assert (np.diff(clusters.starts) > 0).all()
    assert set(np.diff(clusters.block, prepend=-1).tolist()) <= {0, 1}
    of_block = np.bincount(clusters.block, np.diff(clusters.starts))
    assert (of_block <= 3 * max(most, 100)).all()
    for at, (low, high) in enumerate(zip(clusters.low, clusters.high, strict=True)):
        corners = positions[clusters.indices[clusters.starts[at] : clusters.starts[at + 1]]]
        assert (corners.min(axis=0) == low).all()
        assert (corners.max(axis=0) == high).all()


def test_triangles_on_one_spot_are_split_too():
    clusters = split(np.zeros((3, 3), np.float32), np.arange(3, dtype=np.uint32).repeat(300), 16)
    assert (np.diff(clusters.starts) <= 48).all()


@given(
    seeds,
    st.floats(-math.pi, math.pi),
    st.floats(-1.5, 1.5),
    st.floats(0.05, 20),
    st.integers(1, 12),
)
def test_a_tile_that_shows_a_point_keeps_the_box_around_it(
    seed: int, yaw: float, pitch: float, distance: float, tiles: int
):
    rng = np.random.default_rng(seed)
    width, height = 320, 180
    matrix = Orbit(yaw, pitch, distance, (0, 0, 0)).clip_from_world(width / height)
    boxes = Boxes(rng.normal(scale=3, size=(200, 3)), rng.random((200, 3)))
    points = boxes.centre + boxes.half * rng.uniform(-1, 1, (200, 3))
    x, y, _, w = matrix @ np.concatenate([points, np.ones((200, 1))], axis=1).T
    with np.errstate(divide="ignore", invalid="ignore"):
        column, row = (x / w + 1) * width / 2, (y / w + 1) * height / 2
    for rect in cut(width, height, tiles):
        shown = (w > 0) & (column >= rect.x) & (column < rect.x + rect.width)
        shown &= (row >= rect.y) & (row < rect.y + rect.height)
        assert not (shown & ~visible(boxes, matrix, width, height, rect)).any()


def test_what_is_behind_or_beside_is_left_out():
    matrix = Orbit(0, 0, 5.0, (0, 0, 0)).clip_from_world(1.0)
    centre = np.array([(0, 0, 0), (0, 0, 9), (50, 0, 0), (0, 1.5, 0)], float)
    seen = visible(Boxes(centre, np.full((4, 3), 0.1)), matrix, 128, 128, Rect(0, 64, 128, 64))
    assert seen.tolist() == [True, False, False, False]


@given(seeds)
def test_a_placed_box_holds_what_was_in_the_mesh_box(seed: int):
    rng = np.random.default_rng(seed)
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3] = rng.normal(size=(3, 4))
    low, high = np.sort(rng.normal(size=(2, 5, 3)).astype(np.float32), axis=0)
    boxes = Boxes.placed(matrix, low, high)
    points = low + (high - low) * rng.random((5, 3))
    world = points @ matrix[:3, :3].astype(float).T + matrix[:3, 3]
    assert (np.abs(world - boxes.centre) <= boxes.half + 1e-6).all()


def test_a_scenes_clusters_are_its_draws_triangles(courtyard: Scene):
    clusters = cluster_scene(courtyard)
    assert clusters.triangles.sum() == courtyard.triangles
    assert set(clusters.draw.tolist()) == set(range(len(courtyard.draws)))
    assert set(np.diff(clusters.block, prepend=-1).tolist()) == {0, 1}
    assert (np.diff(clusters.draw)[np.diff(clusters.block) == 0] == 0).all()
    low = (clusters.boxes.centre - clusters.boxes.half).min(axis=0)
    high = (clusters.boxes.centre + clusters.boxes.half).max(axis=0)
    # Boxes of turned meshes are a little generous.
    assert (low <= courtyard.bounds_min + 1e-5).all()
    assert (high >= courtyard.bounds_max - 1e-5).all()
    assert low == pytest.approx(courtyard.bounds_min, abs=0.5)
