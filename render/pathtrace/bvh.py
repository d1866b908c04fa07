"""A tree of boxes over triangles: built by the surface area heuristic, refitted as they move. Pure.

Built top down with bins along the widest axis (Wald, "On fast Construction of SAH-based Bounding
Volume Hierarchies", 2007), all nodes of one depth at once, so that numpy does the work. The cost
model is his: a node's visit costs what a triangle's test does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]

BINS = 16
LEAF = 4  # triangles at most
MAX_DEPTH = 32  # of a leaf below the root: the shader's stack
FAR_AWAY = 3e38  # where the box of a child is that is not there: beyond every ray's end

NODE = np.dtype(  # as pathtrace_scene.glsl declares it
    [
        ("low0", "<f4", 3),
        ("at0", "<u4"),
        ("high0", "<f4", 3),
        ("count0", "<u4"),
        ("low1", "<f4", 3),
        ("at1", "<u4"),
        ("high1", "<f4", 3),
        ("count1", "<u4"),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A binary tree; nodes are in order of depth, the root is first.

    order: int64 (n,), triangles such that each leaf's are together.
    first, count: int64 (m,): a leaf's run of `order`; count 0 for inner nodes, whose children are
    nodes `first` and `first + 1`. depths: where each depth's nodes begin, and m.
    """

    order: Ints
    first: Ints
    count: Ints
    depths: tuple[int, ...]


def build(low: Floats, high: Floats) -> Tree:
    """A tree over boxes (n, 3), n >= 1."""
    total = len(low)
    boxes = _Boxes(low, high, low.astype(np.float64) + high)
    order = np.arange(total)
    first, count = [np.zeros(1, np.int64)], [np.array([total])]
    depths = [0]
    made = 1
    while True:
        starts, counts = first[-1], count[-1]  # of this depth's nodes
        depths.append(made)
        opened = _opened(boxes, order, starts, counts, len(depths) - 2)
        if not len(opened.nodes):
            break
        order[opened.places] = opened.order
        children = np.arange(len(opened.nodes)) * 2 + made
        counts[opened.nodes] = 0
        starts_of_children = np.stack([starts[opened.nodes], starts[opened.nodes]], axis=1)
        starts_of_children[:, 1] += opened.left
        starts[opened.nodes] = children
        first.append(starts_of_children.reshape(-1))
        count.append(np.stack([opened.left, opened.right], axis=1).reshape(-1))
        made += len(first[-1])
    return Tree(order, np.concatenate(first), np.concatenate(count), tuple(depths))


@dataclass(frozen=True, slots=True, eq=False)
class _Boxes:
    """(n, 3) each; centre: times two."""

    low: Floats
    high: Floats
    centre: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """Nodes of one depth that get children, and the new order of their triangles.

    nodes: (k,); left, right: (k,) triangles of their children. places: into the order, by node;
    order: what comes there.
    """

    nodes: Ints
    left: Ints
    right: Ints
    places: Ints
    order: Ints


def _opened(boxes: _Boxes, order: Ints, starts: Ints, counts: Ints, depth: int) -> _Opened:
    low, high = boxes.low, boxes.high
    nodes = np.flatnonzero(counts > 1)
    places = _runs(starts[nodes], counts[nodes])
    if not len(nodes):
        return _Opened(nodes, nodes, nodes, places, places)
    items = order[places]
    label = np.repeat(np.arange(len(nodes)), counts[nodes])
    begins = np.cumsum(counts[nodes]) - counts[nodes]
    of = boxes.centre[items]
    least, most = np.minimum.reduceat(of, begins), np.maximum.reduceat(of, begins)
    axis = (most - least).argmax(axis=1)
    rows = np.arange(len(nodes))
    reach = (most - least)[rows, axis]
    along = of[np.arange(len(items)), axis[label]] - least[rows, axis][label]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(reach[label] > 0, along * (BINS / reach[label]), 0.0)
    bins = np.minimum(scaled.astype(np.int64), BINS - 1)
    split, cost = _best_splits(low[items], high[items], label, bins, len(nodes))
    size = counts[nodes]
    parent = _area(
        np.minimum.reduceat(low[items], begins), np.maximum.reduceat(high[items], begins)
    )
    splits = (size > LEAF) | ((cost + parent < size * parent) & (depth < MAX_DEPTH))
    # What remains must fit the stack: halved by number where the heuristic would go too deep.
    halving = np.ceil(np.log2(np.maximum(size / LEAF, 1.0))) >= MAX_DEPTH - 1 - depth
    halving |= ~np.isfinite(cost)
    right_side = bins > split[label]
    if (halving & splits).any():
        by_place = np.lexsort((along, label))
        rank = np.empty(len(items), np.int64)
        rank[by_place] = np.arange(len(items)) - begins[label]
        right_side = np.where(halving[label], rank >= (size // 2)[label], right_side)
    kept = splits[label]
    moved = np.lexsort((right_side, label))  # stable
    moved = moved[kept[moved]]
    to_right = np.bincount(label[right_side], minlength=len(nodes))[splits]
    chosen = nodes[splits]
    return _Opened(chosen, counts[chosen] - to_right, to_right, places[kept], items[moved])


def _best_splits(
    low: Floats, high: Floats, label: Ints, bins: Ints, nodes: int
) -> tuple[Ints, NDArray[np.float64]]:
    """Per node the last bin of its left child and the children's cost; infinite without a split."""
    key = label * BINS + bins
    count = np.bincount(key, minlength=nodes * BINS)
    by_bin = np.argsort(key, kind="stable")
    filled = np.flatnonzero(count)
    begins = (np.cumsum(count) - count)[filled]
    lows: NDArray[np.float64] = np.full((nodes * BINS, 3), np.inf)
    highs: NDArray[np.float64] = np.full((nodes * BINS, 3), -np.inf)
    lows[filled] = np.minimum.reduceat(low[by_bin], begins)
    highs[filled] = np.maximum.reduceat(high[by_bin], begins)
    lows, highs = lows.reshape(nodes, BINS, 3), highs.reshape(nodes, BINS, 3)
    count = count.reshape(nodes, BINS)
    before = _area(
        np.minimum.accumulate(lows, axis=1)[:, :-1], np.maximum.accumulate(highs, axis=1)[:, :-1]
    )
    after = _area(
        np.minimum.accumulate(lows[:, ::-1], axis=1)[:, -2::-1],
        np.maximum.accumulate(highs[:, ::-1], axis=1)[:, -2::-1],
    )
    left = np.cumsum(count, axis=1)[:, :-1]
    right = count.sum(axis=1, keepdims=True) - left
    cost = np.where((left > 0) & (right > 0), before * left + after * right, np.inf)
    split: Ints = cost.argmin(axis=1)
    return split, cost[np.arange(nodes), split]


def _area(low: NDArray[np.floating], high: NDArray[np.floating]) -> NDArray[np.float64]:
    """Half the surface of boxes (..., 3); 0 for empty ones."""
    x, y, z = np.moveaxis(np.maximum(high.astype(np.float64) - low, 0.0), -1, 0)
    area: NDArray[np.float64] = x * y + y * z + z * x
    return area


def _runs(starts: Ints, counts: Ints) -> Ints:
    """The numbers starts[i] .. starts[i] + counts[i] - 1, one run after the other."""
    ends = np.cumsum(counts)
    within = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    runs: Ints = within
    return runs


def bounds(tree: Tree, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Each node's box, (m, 3): a tree may be older than where its triangles (n, 3) are now."""
    lows, highs = np.empty((len(tree.first), 3), np.float32), np.empty((len(tree.first), 3), "f4")
    leaves = np.flatnonzero(tree.count)
    by_run = leaves[np.argsort(tree.first[leaves])]  # leaves' runs follow each other
    lows[by_run] = np.minimum.reduceat(low[tree.order], tree.first[by_run])
    highs[by_run] = np.maximum.reduceat(high[tree.order], tree.first[by_run])
    for begin, end in zip(tree.depths[-2::-1], tree.depths[:0:-1], strict=True):
        inner = begin + np.flatnonzero(tree.count[begin:end] == 0)
        child = tree.first[inner]
        lows[inner] = np.minimum(lows[child], lows[child + 1])
        highs[inner] = np.maximum(highs[child], highs[child + 1])
    return lows, highs


def cost(tree: Tree, low: Floats, high: Floats) -> float:
    """Expected tests per ray through the root's box (n and m as in `bounds`): grows as what a tree
    was built for moves apart."""
    lows, highs = bounds(tree, low, high)
    area = _area(lows, highs)
    return float((area * np.maximum(tree.count, 1)).sum() / max(area[0], 1e-30))


def pack(tree: Tree, low: Floats, high: Floats) -> NDArray[np.void]:
    """The inner nodes as NODE (k,), k >= 1, in order of depth, with boxes for triangles (n, 3)."""
    lows, highs = bounds(tree, low, high)
    inner = np.flatnonzero(tree.count == 0)
    packed = np.zeros(max(1, len(inner)), NODE)
    if not len(inner):  # the root is a leaf
        packed["low0"], packed["high0"], packed["count0"] = lows[0], highs[0], tree.count[0]
        packed["low1"] = packed["high1"] = FAR_AWAY
        return packed
    number = np.cumsum(tree.count == 0) - 1
    for side in (0, 1):
        child = tree.first[inner] + side
        leaf = tree.count[child] > 0
        packed[f"low{side}"], packed[f"high{side}"] = lows[child], highs[child]
        packed[f"at{side}"] = np.where(leaf, tree.first[child], number[child])
        packed[f"count{side}"] = tree.count[child]
    return packed
