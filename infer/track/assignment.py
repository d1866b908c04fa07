"""Who goes with whom at the least cost in all: the assignment problem. Compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.track.compiled import compiled

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@compiled
def _free_column(
    costs: Floats, of_row: Floats, of_column: Floats, row_of: Whole, before: Whole
) -> int:
    """The end of the shortest path from the row at column 0 to a column that nobody has.

    before: is filled with the path. of_row, of_column: the prices, changed to keep all reduced
    costs at least 0, and those of pairs at 0.
    """
    count = len(of_column)
    least = np.full(count, np.inf)
    done = np.zeros(count, np.bool_)
    column = 0
    while row_of[column]:
        done[column] = True
        here, step, nearest = row_of[column], np.inf, 0
        for j in range(1, count):
            if not done[j]:
                reduced = costs[here - 1, j - 1] - of_row[here] - of_column[j]
                if reduced < least[j]:
                    least[j], before[j] = reduced, column
                if least[j] < step:
                    step, nearest = least[j], j
        for j in range(count):
            if done[j]:
                of_row[row_of[j]] += step
                of_column[j] -= step
            else:
                least[j] -= step
        column = nearest
    return column


@compiled
def assigned(costs: Floats) -> Whole:
    """For each row its column, -1 for none, such that the sum of costs is least; (n,) of (n, m).

    As many pairs as the shorter side has. All costs finite. Shortest augmenting paths, O(n^2 m)
    (Kuhn 1955; Jonker and Volgenant, "A shortest augmenting path algorithm", Computing 38, 1987).
    """
    rows, columns = costs.shape
    if rows > columns:
        turned = assigned(np.ascontiguousarray(costs.T))
        found = np.full(rows, -1)
        for column, row in enumerate(turned):
            found[row] = column
        return found
    # One more of each, so that 0 stands for "none"; see the papers for what is invariant.
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    row_of = np.zeros(columns + 1, np.int64)
    for row in range(1, rows + 1):
        row_of[0] = row
        before = np.zeros(columns + 1, np.int64)
        column = _free_column(costs, of_row, of_column, row_of, before)
        while column:
            row_of[column] = row_of[before[column]]
            column = before[column]
    found = np.full(rows, -1)
    for j in range(1, columns + 1):
        if row_of[j]:
            found[row_of[j] - 1] = j - 1
    return found
