"""Who goes with whom at the least cost in all: the assignment problem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.threads import kernels_for

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def assigned(costs: Floats) -> Whole:
    """For each row its column, -1 for none, such that the sum of costs is least; (n,) of (n, m).

    As many pairs as the shorter side has. All costs finite. See `infer.kernels.bodies.assignment`.
    """
    rows, columns = costs.shape
    if rows > columns:
        turned = assigned(costs.T)
        found = np.full(rows, -1)
        found[turned] = np.arange(columns)
        return found
    columns_of = np.empty((1, rows), np.int64)
    kernels_for(1).assign_all(
        np.array(costs, np.float64, order="C")[None], *scratch_for(1, columns), columns_of, 1
    )
    only: Whole = columns_of[0]
    return only


def scratch_for(
    problems: int, columns: int
) -> tuple[NDArray[np.floating], NDArray[np.floating], Whole, Whole, Whole]:
    """What the kernel works on: prices, least, row_of, before, done."""
    shape = problems, columns + 1
    row_of, before, done = np.empty((3, *shape), np.int64)
    return np.empty((problems, 2, columns + 1)), np.empty(shape), row_of, before, done
