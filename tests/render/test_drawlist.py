"""The order of draws: whatever the tile, near before far within a state, what blends last."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from render.drawlist import DrawList, draw_list, draw_order


@st.composite
def views(draw: st.DrawFn):
    """block of up to 60 clusters; states, blended, depth of each block; random numbers.

    A state either blends or does not.
    """
    sizes = draw(st.lists(st.integers(1, 6), max_size=10))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    block = np.repeat(np.arange(len(sizes)), sizes)
    states = random.integers(0, 6, len(sizes))
    blended = (random.random(6) < 0.4)[states]
    depth = random.integers(0, 8, len(sizes)).astype(np.float64)
    return (block, states, blended, depth), random


def listed(seen, block, states, blended, depth) -> DrawList:
    return draw_list(seen, block, states, draw_order(states, blended, depth))


def drawn(draws: DrawList) -> list[int]:
    """The clusters, in order."""
    return [
        cluster
        for first, last in zip(draws.first.tolist(), draws.last.tolist(), strict=True)
        for cluster in range(first, last + 1)
    ]


@given(views())
def test_what_is_seen_is_drawn_once_in_batches_of_one_state(view):
    (block, states, *rest), random = view
    seen = random.random(len(block)) < 0.7
    draws = listed(seen, block, states, *rest)
    assert sorted(drawn(draws)) == np.flatnonzero(seen).tolist()
    assert (block[draws.first] == block[draws.last]).all()
    covered = [i for b in draws.batches for i in range(b.first, b.first + b.draws)]
    assert covered == list(range(len(draws.first)))
    for state, first, count in draws.batches:
        assert count > 0
        assert (states[block[draws.first[first : first + count]]] == state).all()


@given(views())
def test_blocks_that_show_whole_are_drawn_at_once(view):
    blocks, _ = view
    block = blocks[0]
    draws = listed(np.ones(len(block), bool), *blocks)
    assert sorted(block[draws.first].tolist()) == sorted(set(block.tolist()))


@given(views())
def test_near_before_far_and_what_blends_last_and_far_before_near(view):
    (block, states, blended, depth), _ = view
    draws = listed(np.ones(len(block), bool), block, states, blended, depth)
    distance, blends = depth[block[draws.first]], blended[block[draws.first]]
    assert (np.diff(blends.astype(int)) >= 0).all()
    assert (np.diff(distance[blends]) <= 0).all()
    replacing = [batch for batch in draws.batches if not blends[batch.first]]
    assert len({batch.state for batch in replacing}) == len(replacing)
    for _, first, count in replacing:
        assert (np.diff(distance[first : first + count]) >= 0).all()
    nearest = [distance[batch.first] for batch in replacing]
    assert nearest == sorted(nearest)


@given(views())
def test_a_tile_draws_in_the_order_of_the_whole(view):
    blocks, random = view
    whole = drawn(listed(np.ones(len(blocks[0]), bool), *blocks))
    seen = random.random(len(blocks[0])) < 0.5
    tile = drawn(listed(seen, *blocks))
    assert tile == [cluster for cluster in whole if seen[cluster]]
