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


def draw_list(
    states: NDArray[np.int64],
    blended: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    depth: NDArray[np.float64],
) -> tuple[NDArray[np.int64], list[Batch]]:
    """Which clusters to draw, in order, and where the state changes.

    Per cluster, (n,): states, small integers >= 0; blended, whether it is composited with what
    lies behind; seen, whether this tile may show it; depth, growing away from the eye.
    Clusters that replace come first, each state's together, so that few pixels are shaded twice:
    states by their nearest cluster, seen or not, and within one near before far. Those that blend
    follow, farthest first, in as many batches as that takes.
    Returns int64 (m,) indices of clusters, and the batches that cover them.
    """
    nearest = np.full(int(states.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, states[~blended], depth[~blended])
    replacing, blending = np.flatnonzero(seen & ~blended), np.flatnonzero(seen & blended)
    of = states[replacing]
    replacing = replacing[np.lexsort((depth[replacing], of, nearest[of]))]
    blending = blending[np.argsort(-depth[blending], kind="stable")]
    order = np.concatenate([replacing, blending])
    return order, _batches(states[order], len(replacing))


def _batches(states: NDArray[np.int64], border: int) -> list[Batch]:
    """Runs of equal states, none of them across `border`."""
    changes = np.flatnonzero(np.diff(states)) + 1
    first = np.union1d(changes, [0, border])
    first = first[first < len(states)]
    counts = np.diff(first, append=len(states))
    return list(map(Batch, states[first].tolist(), first.tolist(), counts.tolist()))
