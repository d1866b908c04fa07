"""The least sum of costs, against trying all."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from infer.track.assignment import assigned

costs = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-9, 9))
)


@given(costs)
def test_no_other_pairs_cost_less(given_costs: np.ndarray):
    at = assigned(given_costs)
    rows, columns = given_costs.shape
    pairs = [(row, column) for row, column in enumerate(at.tolist()) if column >= 0]
    assert len(pairs) == min(rows, columns)
    assert len({column for _, column in pairs}) == len(pairs)
    wide = given_costs if rows <= columns else given_costs.T
    least = min(
        sum(wide[row, column] for row, column in enumerate(order))
        for order in permutations(range(wide.shape[1]), len(wide))
    )
    assert sum(given_costs[pair] for pair in pairs) <= least + 1e-9
