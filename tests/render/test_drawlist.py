"""The order of draws: whatever the tile, near before far within a state, what blends last."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from render.drawlist import draw_list


@st.composite
def views(draw: st.DrawFn):
    """states, blended, depth of up to 40 clusters; a state either blends or does not."""
    count = draw(st.integers(0, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blends = random.random(6) < 0.4
    states = random.integers(0, 6, count)
    return states, blends[states], random.integers(0, 8, count).astype(np.float64), random


@given(views())
def test_what_is_seen_is_drawn_once_in_batches_of_one_state(view):
    states, blended, depth, random = view
    seen = random.random(len(states)) < 0.7
    order, batches = draw_list(states, blended, seen, depth)
    assert sorted(order.tolist()) == np.flatnonzero(seen).tolist()
    covered = [i for b in batches for i in range(b.first, b.first + b.draws)]
    assert covered == list(range(len(order)))
    for state, first, draws in batches:
        assert draws > 0
        assert (states[order[first : first + draws]] == state).all()


@given(views())
def test_near_before_far_and_what_blends_last_and_far_before_near(view):
    states, blended, depth, _ = view
    order, batches = draw_list(states, blended, np.ones(len(states), bool), depth)
    blends = blended[order]
    assert (np.diff(blends.astype(int)) >= 0).all()
    assert (np.diff(depth[order[blends]]) <= 0).all()
    replacing = [batch for batch in batches if not blends[batch.first]]
    assert len({batch.state for batch in replacing}) == len(replacing)
    for _, first, draws in replacing:
        assert (np.diff(depth[order[first : first + draws]]) >= 0).all()
    nearest = [depth[order[batch.first]] for batch in replacing]
    assert nearest == sorted(nearest)


@given(views())
def test_a_tile_draws_in_the_order_of_the_whole(view):
    states, blended, depth, random = view
    whole, _ = draw_list(states, blended, np.ones(len(states), bool), depth)
    seen = random.random(len(states)) < 0.5
    tile, _ = draw_list(states, blended, seen, depth)
    assert tile.tolist() == [cluster for cluster in whole.tolist() if seen[cluster]]
