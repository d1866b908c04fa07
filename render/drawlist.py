"""The order of a tile's draws: few changes of state, near before far, what blends last. Pure.

It follows from the view alone, never from the tile: so a pixel's bytes do not depend on the tiling,
even where surfaces coincide.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Places: TypeAlias = NDArray[np.unsignedinteger[Any]]

_FEW = 1 << 16  # numbers below it are sorted by radix, which takes a fraction of merging wider ones


class Batch(NamedTuple):
    """Entries [first, first + draws) of a draw list, drawn in one state."""

    state: int
    first: int
    draws: int


class DrawList(NamedTuple):
    """Runs of clusters in drawing order, and where the state changes.

    first, last: int64 (m,): clusters first[i] to last[i] are drawn at once. batches cover them.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    batches: list[Batch]


def draw_order(
    states: NDArray[np.int64], blended: NDArray[np.bool_], depth: NDArray[np.float64]
) -> Places:
    """When each block of a view is drawn, whatever the tile: (b,), places counted from 0.

    Per block, (b,): states, small integers >= 0; blended, whether it is composited with what lies
    behind, as all of its state are; depth, growing away from the eye.
    Blocks that replace come first, each state's together, so that few pixels are shaded twice:
    states by their nearest block, seen or not, and within one near before far. Those that blend
    follow, farthest first.
    """
    nearest = np.full(int(states.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, states, depth)
    turn = nearest.argsort(kind="stable").argsort(kind="stable")[states]  # when a state is drawn
    far = depth
    if blended.any():
        far, turn = np.where(blended, -depth, depth), np.where(blended, len(nearest), turn)
    place = np.empty(len(states), _sortable(len(states)))
    place[np.lexsort((far, turn.astype(_sortable(len(nearest) + 1))))] = np.arange(len(states))
    return place


def _sortable(count: int) -> type[np.unsignedinteger[Any]]:
    """Of integers in [0, count) that are to be sorted."""
    return np.uint16 if count <= _FEW else np.uint32


def draw_list(
    seen: NDArray[np.bool_],
    block: NDArray[np.int64],
    states: NDArray[np.int64],
    place: Places,
) -> DrawList:
    """Which clusters to draw, in which order, in as few batches as that order takes.

    Per cluster, (n,): seen, whether this tile may show it; block, what it lies in, rising from 0
    without gaps. Per block, (b,): states, small integers >= 0; place, see `draw_order`.
    """
    first, last = _runs(seen, block)
    of = block[first]
    order = place[of].argsort(kind="stable")
    return DrawList(first[order], last[order], _batches(states[of[order]]))


def _runs(
    seen: NDArray[np.bool_], block: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last of the clusters that are seen side by side in one block."""
    (shown,) = seen.nonzero()
    place = shown + block[shown]  # goes on by one, but by two into the next block
    apart = np.ones(len(shown) + 1, np.bool_)
    np.not_equal(place[1:], place[:-1] + 1, out=apart[1:-1])
    return shown[apart[:-1]], shown[apart[1:]]


def _batches(states: NDArray[np.int64]) -> list[Batch]:
    """Runs of equal states."""
    changed = np.ones(len(states), np.bool_)
    np.not_equal(states[1:], states[:-1], out=changed[1:])
    first = changed.nonzero()[0].tolist()
    ends = [*first[1:], len(states)]
    of = states[changed].tolist()
    return [Batch(state, at, end - at) for state, at, end in zip(of, first, ends, strict=False)]
