"""The gateway's loops over a sweep: checking it, and cutting it into sectors."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from infer.grid import GROUND_SIDE, HEIGHT
from infer.kernels.bodies.points import ground_cell, slack, units, usable
from infer.kernels.bodies.shared import Array
from infer.layout import NONE

NOWHERE = 65535  # the azimuth bin of a point that no sector gets


def count_unusable(points: Array) -> int:
    """How many points are no measurement."""
    count = 0
    for i in range(points.shape[0]):
        if not usable(points, i):
            count += 1
    return count


def survey(
    points: Array, p: Array, bins: Array, lowest: Array, bin_of: Array, histogram: Array
) -> None:
    """The azimuth bin of each point (NOWHERE outside), how many each bin has, lowest heights."""
    for i in range(points.shape[0]):
        bin_of[i] = NOWHERE
        if usable(points, i):
            x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
            cell = ground_cell(x, y, p)
            if cell >= 0:
                at = bins[cell]
                bin_of[i] = at
                histogram[at] += 1
                if z >= -p[HEIGHT] - slack(x, y) and z < lowest[cell]:
                    lowest[cell] = z


def scatter(points: Array, bin_of: Array, sector_of: Array, next_row: Array, cut: Array) -> None:
    """Copy each point to its sector's part of `cut`; next_row: where each part begins."""
    for i in range(points.shape[0]):
        if bin_of[i] != NOWHERE:
            sector = sector_of[bin_of[i]]
            row = next_row[sector]
            next_row[sector] = row + 1
            cut[row, 0] = points[i, 0]
            cut[row, 1] = points[i, 1]
            cut[row, 2] = points[i, 2]
            cut[row, 3] = points[i, 3]


def share_borders(
    p: Array, bins: Array, sector_of: Array, lowest: Array, halo: Array, filled: Array
) -> None:
    """List, for each sector, (cell, lowest height) of the ground cells just outside of it."""
    side = p[GROUND_SIDE]
    for i in range(lowest.shape[0]):
        if lowest[i] == NONE:
            continue
        own = sector_of[bins[i]]
        row, column = i // side, i % side
        told = 1 << own
        for r in range(max(row - 1, 0), min(row + 2, side)):
            for c in range(max(column - 1, 0), min(column + 2, side)):
                other = sector_of[bins[r * side + c]]
                if not (told >> other) & 1:
                    told |= 1 << other
                    halo[other, filled[other], 0] = i
                    halo[other, filled[other], 1] = lowest[i]
                    filled[other] += 1
