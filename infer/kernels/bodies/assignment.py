"""Who goes with whom at the least cost in all: the assignment problem, many at once.

costs: (problems, rows, columns), rows <= columns, finite. Rows and columns count from 1 in the
scratch, so that 0 stands for "none": prices (problems, 2, columns + 1), of rows and of columns;
least (problems, columns + 1), how far each column is; row_of, before, done (problems,
columns + 1). Costs, prices and least are of float32 or float64, all of one.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array

FREE = np.float32(0)
FAR = np.float32(np.inf)
OF_ROW, OF_COLUMN = range(2)


def free_column(
    b: int, costs: Array, prices: Array, least: Array, row_of: Array, before: Array, done: Array
) -> int:
    """The end of the shortest path from the row at column 0 to a column that nobody has.

    before: is filled with the path. prices: are changed to keep all reduced costs at least 0, and
    those of pairs at 0.
    """
    columns = costs.shape[2]
    for j in range(columns + 1):
        least[b, j], done[b, j] = FAR, 0
    column = 0
    while row_of[b, column] > 0:
        done[b, column] = 1
        here, nearest = row_of[b, column], 0
        for j in range(1, columns + 1):
            if done[b, j] == 0:
                price = prices[b, OF_ROW, here] + prices[b, OF_COLUMN, j]
                reduced = costs[b, here - 1, j - 1] - price
                if reduced < least[b, j]:
                    least[b, j], before[b, j] = reduced, column
                if nearest == 0 or least[b, j] < least[b, nearest]:
                    nearest = j
        step = least[b, nearest]
        for j in range(columns + 1):
            if done[b, j]:
                prices[b, OF_ROW, row_of[b, j]] += step
                prices[b, OF_COLUMN, j] -= step
            else:
                least[b, j] -= step
        column = nearest
    return column


def assign_rows(
    b: int,
    costs: Array,
    prices: Array,
    least: Array,
    row_of: Array,
    before: Array,
    done: Array,
    columns_of: Array,
) -> None:
    """The column of each row of problem b, such that the sum of costs is least.

    Shortest augmenting paths, O(rows^2 columns) (H. Kuhn 1955; R. Jonker and A. Volgenant, "A
    shortest augmenting path algorithm", Computing 38, 1987); see there for what is invariant.
    """
    rows, columns = costs.shape[1], costs.shape[2]
    for j in range(columns + 1):
        prices[b, OF_ROW, j] = prices[b, OF_COLUMN, j] = FREE
        row_of[b, j] = 0
    for row in range(1, rows + 1):
        row_of[b, 0] = row
        column = free_column(b, costs, prices, least, row_of, before, done)
        while column > 0:
            row_of[b, column] = row_of[b, before[b, column]]
            column = before[b, column]
    for j in range(1, columns + 1):
        if row_of[b, j] > 0:
            columns_of[b, row_of[b, j] - 1] = j - 1
