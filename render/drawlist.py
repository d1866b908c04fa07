"""The order of a tile's draws: few changes of state, near before far, what blends last. Pure.

It follows from the view alone, never from the tile: so a pixel's bytes do not depend on the tiling,
even where surfaces coincide.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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


def draw_list(
    states: NDArray[np.int64],
    blended: NDArray[np.bool_],
    block: NDArray[np.int64],
    seen: NDArray[np.bool_],
    depth: NDArray[np.float64],
) -> DrawList:
    """Which clusters to draw, in which order.

    Per cluster, (n,): states, small integers >= 0; blended, whether it is composited with what
    lies behind; block, rising: clusters that lie together, equal in these two; seen, whether this
    tile may show it; depth, growing away from the eye.
    Blocks that replace come first, each state's together, so that few pixels are shaded twice:
    states by their nearest block, seen or not, and within one near before far. Those that blend
    follow, farthest first, in as many batches as that takes.
    """
    distance = np.bincount(block, depth) / np.bincount(block)
    nearest = np.full(int(states.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, states[~blended], distance[block[~blended]])

    first, last = _runs(seen, block)
    state, far, blends = states[first], distance[block[first]], blended[first]
    replacing, blending = np.flatnonzero(~blends), np.flatnonzero(blends)
    of = state[replacing]
    replacing = replacing[np.lexsort((far[replacing], of, nearest[of]))]
    blending = blending[np.argsort(-far[blending], kind="stable")]
    order = np.concatenate([replacing, blending])
    return DrawList(first[order], last[order], _batches(state[order], len(replacing)))


def _runs(
    seen: NDArray[np.bool_], block: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last of the clusters that are seen side by side in one block."""
    shown = np.flatnonzero(seen)
    breaks = np.flatnonzero((np.diff(shown) != 1) | (np.diff(block[shown]) != 0)) + 1
    ends = np.append(breaks, len(shown)) if len(shown) else breaks
    starts = np.insert(breaks, 0, 0) if len(shown) else breaks
    return shown[starts], shown[ends - 1]


def _batches(states: NDArray[np.int64], border: int) -> list[Batch]:
    """Runs of equal states, none of them across `border`."""
    changes = np.flatnonzero(np.diff(states)) + 1
    first = np.union1d(changes, [0, border]).astype(np.int64)
    first = first[first < len(states)]
    counts = np.diff(first, append=len(states))
    return list(map(Batch, states[first].tolist(), first.tolist(), counts.tolist()))
