"""Voxels and pillars: points counted into cells, cells numbered, their points' features.

`space` is float32: low corner, cells per metre, cells per axis (x y z each). Cells are numbered
row by row: x fastest, then y, then z. A pillar is a voxel as high as the space.
`count` has a row per thread that counts: on a GPU a single one, changed atomically. `touched` says
which blocks of cells have any point, since most have none.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array, add_in

LOW, PER_M, CELLS_ALONG = 0, 3, 6
SPACE_FIELDS = 9
FOUND_VOXELS, FOUND_POINTS = range(2)
AXES = 3
BLOCK_SHIFT = 3  # a block is 8 cells
RAW = 4  # x, y, z, intensity
WITH_HEIGHT = 10  # features of a point: offsets from the centre along z too, not only x and y

ZERO = np.float32(0)
HALF = np.float32(0.5)
ONE = np.float32(1)


def voxel_of(i: int, points: Array, space: Array) -> int:
    """The cell of point i, -1 outside; a point that is not a number is outside."""
    x = (points[i, 0] - space[LOW]) * space[PER_M]
    y = (points[i, 1] - space[LOW + 1]) * space[PER_M + 1]
    z = (points[i, 2] - space[LOW + 2]) * space[PER_M + 2]
    along_x, along_y, along_z = space[CELLS_ALONG], space[CELLS_ALONG + 1], space[CELLS_ALONG + 2]
    if x >= ZERO and y >= ZERO and z >= ZERO and x < along_x and y < along_y and z < along_z:
        return (int(z) * int(along_y) + int(y)) * int(along_x) + int(x)
    return -1


def count_point(
    i: int,
    row: int,
    points: Array,
    space: Array,
    cell_of: Array,
    slot: Array,
    count: Array,
    touched: Array,
) -> None:
    """Count point i in its cell; slot: how many of this row came before it."""
    cell = voxel_of(i, points, space)
    cell_of[i] = cell
    if cell >= 0:
        slot[i] = add_in(count, row, cell, 1)
        touched[cell >> BLOCK_SHIFT] = 1


def survey_block(part: int, block: int, count: Array, found: Array) -> None:
    """Add up for a part how many cells of the block have points, and how many these have."""
    first = block << BLOCK_SHIFT
    for cell in range(first, min(first + (1 << BLOCK_SHIFT), count.shape[1])):
        here = 0
        for row in range(count.shape[0]):
            here += count[row, cell]
        if here > 0:
            found[part, FOUND_VOXELS] += 1
            found[part, FOUND_POINTS] += here


def sum_before(found: Array) -> None:
    """Turn each part's numbers into those of all parts before it."""
    voxels = points = 0
    for part in range(found.shape[0]):
        here = found[part, FOUND_VOXELS]
        found[part, FOUND_VOXELS] = voxels
        voxels += here
        here = found[part, FOUND_POINTS]
        found[part, FOUND_POINTS] = points
        points += here


def number_block(
    part: int,
    block: int,
    count: Array,
    found: Array,
    cells: Array,
    start: Array,
) -> None:
    """List the block's cells that have points; `count` becomes where each row's points begin.

    found: how many voxels and points were listed before, in all parts.
    """
    first = block << BLOCK_SHIFT
    voxel, at = found[part, FOUND_VOXELS], found[part, FOUND_POINTS]
    for cell in range(first, min(first + (1 << BLOCK_SHIFT), count.shape[1])):
        end = at
        for row in range(count.shape[0]):
            end += count[row, cell]
        if end == at:
            continue
        cells[voxel], start[voxel] = cell, at
        voxel += 1
        for row in range(count.shape[0]):
            here = count[row, cell]
            count[row, cell] = at
            at += here
    found[part, FOUND_VOXELS], found[part, FOUND_POINTS] = voxel, at


def end_voxels(found: Array, start: Array) -> int:
    """Where the last voxel's points end; returns how many voxels were listed."""
    voxels: int = found[found.shape[0] - 1, FOUND_VOXELS]
    start[voxels] = found[found.shape[0] - 1, FOUND_POINTS]
    return voxels


def list_point(i: int, row: int, cell_of: Array, slot: Array, count: Array, member: Array) -> None:
    """Put point i among its voxel's."""
    if cell_of[i] >= 0:
        member[count[row, cell_of[i]] + slot[i]] = i


def keep_first(first: int, last: int, most: int, member: Array) -> int:
    """Sort the `most` smallest of member[first:last] to its front; returns how many these are.

    For a GPU, which lists points in any order; on a CPU they are in order already.
    """
    kept = 0
    for at in range(first, last):
        value = member[at]
        if kept == most and value > member[first + kept - 1]:
            continue
        if kept < most:
            kept += 1
        to = first + kept - 1
        while to > first and member[to - 1] > value:
            member[to] = member[to - 1]
            to -= 1
        member[to] = value
    return kept


def encode_voxel(
    k: int,
    kept: int,
    points: Array,
    space: Array,
    cells: Array,
    start: Array,
    member: Array,
    features: Array,
    counts: Array,
    coordinates: Array,
) -> None:
    """The features of voxel k: of each point x y z intensity, from the mean, from the centre.

    kept: how many of its points, the first of `member[start[k]:]`. Rows beyond become 0 as far as
    counts[k], what was written there before, reaches.
    After A. Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds",
    CVPR 2019; the mean is that of the points kept.
    """
    along_x, along_y = int(space[CELLS_ALONG]), int(space[CELLS_ALONG + 1])
    line = cells[k] // along_x  # divisions take as long as three points
    at_x, at_z = cells[k] - line * along_x, line // along_y
    at_y = line - at_z * along_y
    coordinates[k, 0], coordinates[k, 1], coordinates[k, 2] = at_z, at_y, at_x
    x = space[LOW] + (np.float32(at_x) + HALF) / space[PER_M]
    y = space[LOW + 1] + (np.float32(at_y) + HALF) / space[PER_M + 1]
    z = space[LOW + 2] + (np.float32(at_z) + HALF) / space[PER_M + 2]
    first = start[k]
    mean_x = mean_y = mean_z = ZERO
    for at in range(first, first + kept):
        i = member[at]
        mean_x, mean_y = mean_x + (points[i, 0] - x), mean_y + (points[i, 1] - y)
        mean_z += points[i, 2] - z
    share = ONE / np.float32(kept)
    mean_x, mean_y, mean_z = mean_x * share, mean_y * share, mean_z * share
    for row in range(kept):
        i = member[first + row]
        for field in range(RAW):
            features[k, row, field] = points[i, field]
        from_x, from_y, from_z = points[i, 0] - x, points[i, 1] - y, points[i, 2] - z
        features[k, row, RAW] = from_x - mean_x
        features[k, row, RAW + 1] = from_y - mean_y
        features[k, row, RAW + 2] = from_z - mean_z
        features[k, row, RAW + AXES] = from_x
        features[k, row, RAW + AXES + 1] = from_y
        if features.shape[2] == WITH_HEIGHT:
            features[k, row, RAW + AXES + 2] = from_z
    for row in range(kept, counts[k]):
        for field in range(features.shape[2]):
            features[k, row, field] = ZERO
    counts[k] = kept


def forget_voxel(k: int, cells: Array, count: Array) -> None:
    """Make the cell of voxel k empty again."""
    for row in range(count.shape[0]):
        count[row, cells[k]] = 0
