"""Occupancy in NumPy and float64: rays by sorting where they cross cells' edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.grid import UNITS_PER_M
from infer.kernels.bodies.area import ACROSS, CELLS_PER_M, REACH
from infer.kernels.bodies.occupancy import AT_X, AT_Y, BEAMS, CEILING_M, STEP_BITS
from infer.kernels.bodies.plane import ABOVE, GROUND_POINT

Bools = NDArray[np.bool_]


def sight(
    points: NDArray[np.float32],
    labels: NDArray[np.uint8],
    area: NDArray[np.float32],
    field: NDArray[np.float32],
) -> tuple[Bools, Bools]:
    """Which cells are hit and which are seen to be free, (across, across) each.

    area, field: as the kernel takes them. Ends of rays are in its whole steps: a rule of float32.
    """
    across = int(area[ACROSS])
    hit, free = np.zeros((across, across), bool), np.zeros((across, across), bool)
    with np.errstate(invalid="ignore"):
        usable: Bools = np.all(np.abs(points[:, :3]) < 1000, axis=1)
        obstacle = usable & (labels == ABOVE) & (points[:, 2] < field[CEILING_M])
    ends = _steps(np.where(usable[:, None], points[:, :2], 0) + field[[AT_X, AT_Y]], area)
    start = _steps(field[None, [AT_X, AT_Y]], area)[0]
    column, row = (ends[obstacle] >> STEP_BITS).T
    inside = (column >= 0) & (row >= 0) & (column < across) & (row < across)
    hit[row[inside], column[inside]] = True
    for end, blocked in _ends(points, obstacle, usable & (labels == GROUND_POINT)):
        cells = _crossed(start, ends[end])
        for column, row in cells[: len(cells) - blocked]:
            if not (0 <= column < across and 0 <= row < across):
                break
            free[row, column] = True
    return hit, free


def _steps(metres: NDArray[np.float32], area: NDArray[np.float32]) -> NDArray[np.int64]:
    half = np.float32(1 << (STEP_BITS - 1))
    scaled = (metres + area[REACH]) * area[CELLS_PER_M] * half
    steps: NDArray[np.int64] = 2 * np.floor(scaled).astype(np.int64) + 1
    return steps


def _ends(points: NDArray[np.float32], obstacle: Bools, ground: Bools) -> list[tuple[int, bool]]:
    """The point that ends each beam's ray, and whether it blocks it."""
    x, y = points[:, :2].astype(np.float64).T
    with np.errstate(invalid="ignore"):
        turned = (np.arctan2(y, x) + np.pi) * (BEAMS / (2 * np.pi))
        away = np.floor(np.hypot(x, y) * UNITS_PER_M)
    found: dict[int, tuple[int, bool]] = {}
    for wanted, sign in ((ground, -1), (obstacle, 1)):  # what is found last stays
        index = np.flatnonzero(wanted)
        beam = np.minimum(turned[index].astype(np.int64), BEAMS - 1)
        order = np.lexsort((sign * index, sign * away[index], beam))
        first = np.flatnonzero(np.diff(beam[order], prepend=-1))
        for at in order[first]:
            found[int(beam[at])] = int(index[at]), sign > 0
    return list(found.values())


def _crossed(start: NDArray[np.int64], end: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The cells (column, row) from start to end, both included; through a corner x goes first.

    Equal quotients of whole numbers are equal floats, so corners are met exactly.
    """
    events = []
    for axis in range(2):
        first, last = int(start[axis]) >> STEP_BITS, int(end[axis]) >> STEP_BITS
        way = 1 if last >= first else -1
        for passed in range(first, last, way):
            edge = (passed + (way > 0)) << STEP_BITS
            events.append(((edge - start[axis]) / (end[axis] - start[axis]), axis, way))
    cell = [int(start[0]) >> STEP_BITS, int(start[1]) >> STEP_BITS]
    cells = [(cell[0], cell[1])]
    for _, axis, way in sorted(events):
        cell[axis] += way
        cells.append((cell[0], cell[1]))
    return cells
