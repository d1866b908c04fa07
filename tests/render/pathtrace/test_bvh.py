"""The tree against plain arithmetic over all of its triangles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from render.pathtrace import bvh

Corners = NDArray[np.float32]


def soup(seed: int, count: int, spread: float, flat: bool) -> Corners:
    """Triangles of one size anywhere in a cube, or all in one plane: (n, 3 corners, 3)."""
    rng = np.random.default_rng(seed)
    corners = rng.random((count, 1, 3)) * spread + rng.normal(size=(count, 3, 3)) * 0.05
    if flat:
        corners[..., 1] = 0.25
    return corners.astype(np.float32)


cases = st.builds(
    soup,
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.sampled_from([0.0, 1e-3, 0.1, 1.0, 1e6]),
    st.booleans(),
)


def boxes(corners: Corners) -> tuple[Corners, Corners]:
    return corners.min(axis=1), corners.max(axis=1)


def check(tree: bvh.Tree, corners: Corners) -> None:
    """Leaves share out the triangles; every box holds what is below it; no path is too long."""
    low, high = boxes(corners)
    leaves = np.flatnonzero(tree.count)
    runs = [range(tree.first[leaf], tree.first[leaf] + tree.count[leaf]) for leaf in leaves]
    assert sorted(tree.order[[i for run in runs for i in run]]) == list(range(len(corners)))
    assert tree.count.max() <= bvh.LEAF
    assert len(tree.depths) - 2 <= bvh.MAX_DEPTH
    lows, highs = bvh.bounds(tree, low, high)
    for leaf, run in zip(leaves, runs, strict=True):
        assert (lows[leaf] <= low[tree.order[run]]).all()
        assert (highs[leaf] >= high[tree.order[run]]).all()
    inner = np.flatnonzero(tree.count == 0)
    for child in (tree.first[inner], tree.first[inner] + 1):
        assert (lows[inner] <= lows[child]).all()
        assert (highs[inner] >= highs[child]).all()


@given(cases)
@settings(max_examples=60, deadline=None)
def test_every_triangle_is_in_one_leaf_inside_of_all_boxes_above(corners: Corners):
    check(bvh.build(*boxes(corners)), corners)


@given(cases, st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_tree_holds_its_triangles_wherever_they_go(corners: Corners, seed: int):
    tree = bvh.build(*boxes(corners))
    check(tree, np.random.default_rng(seed).permutation(corners) * np.float32(3))


def test_triangles_at_one_place_are_halved():
    corners = np.ones((1000, 3, 3), np.float32)
    tree = bvh.build(*boxes(corners))
    check(tree, corners)
    assert len(tree.depths) - 2 == 8  # 1000 / 2**8 < 4


def test_a_row_that_the_heuristic_splits_one_by_one_is_not_too_deep():
    at = 2.0 ** -np.arange(120)
    corners = np.tile(at[:, None, None], (1, 3, 3)).astype(np.float32)
    check(bvh.build(*boxes(corners)), corners)


def intersect(corners: Corners, origin: NDArray[np.float64], way: NDArray[np.float64]):
    """Distances (n,) along a ray, infinite where there is none (Moeller and Trumbore, 1997)."""
    a, b, c = corners.astype(np.float64).transpose(1, 0, 2)
    across, along = b - a, c - a
    turned = np.cross(way, along)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / (across * turned).sum(axis=1)
        u = ((origin - a) * turned).sum(axis=1) * scale
        other = np.cross(origin - a, across)
        v = (other @ way) * scale
        t = (along * other).sum(axis=1) * scale
        met = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return np.where(met, t, np.inf)


def traverse(nodes: NDArray[np.void], corners: Corners, origin, way) -> tuple[float, int]:
    """As the shader goes: nearest distance, and how many triangles were tested."""
    best, tested, stack = np.inf, 0, [0]
    while stack:
        node = nodes[stack.pop()]
        for side in (0, 1):
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                one, other = (
                    (node[f"low{side}"] - origin) / way,
                    (node[f"high{side}"] - origin) / way,
                )
            enter, leave = np.fmin(one, other).max(), np.fmax(one, other).min()
            if max(enter, 0.0) > leave * 1.00001 or enter > best:
                continue
            at, count = int(node[f"at{side}"]), int(node[f"count{side}"])
            if count:
                best = min(best, intersect(corners[at : at + count], origin, way).min())
                tested += count
            else:
                stack.append(at)
    return best, tested


@given(cases, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_traversal_finds_what_testing_all_finds(corners: Corners, seed: int):
    low, high = boxes(corners)
    tree = bvh.build(low, high)
    nodes = bvh.pack(tree, low, high)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        target = corners[rng.integers(len(corners))].mean(axis=0) + rng.normal(size=3) * 0.03
        origin = rng.normal(size=3) * 2 + corners[0, 0]
        way = (target - origin) / np.linalg.norm(target - origin)
        found, _ = traverse(nodes, corners[tree.order], origin, way)
        assert found == pytest.approx(intersect(corners, origin, way).min(), rel=1e-9)


def test_a_tree_spares_nearly_all_tests():
    corners = soup(1, 4000, 10.0, flat=False)
    low, high = boxes(corners)
    tree = bvh.build(low, high)
    nodes = bvh.pack(tree, low, high)
    way = np.array([0.6, 0.64, 0.48])
    _, tested = traverse(nodes, corners[tree.order], np.array([-3.0, -3.0, -2.0]), way)
    assert tested < 400


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_few_triangles_make_at_least_one_node(count: int):
    corners = soup(3, count, 1.0, flat=False)
    low, high = boxes(corners)
    nodes = bvh.pack(bvh.build(low, high), low, high)
    assert len(nodes) >= 1
    assert nodes["count0"].sum() + nodes["count1"].sum() == count


def test_what_moves_apart_costs_more():
    corners = soup(5, 500, 1.0, flat=False)
    tree = bvh.build(*boxes(corners))
    mixed = np.random.default_rng(0).permutation(corners)
    assert bvh.cost(tree, *boxes(mixed)) > 3 * bvh.cost(tree, *boxes(corners))
