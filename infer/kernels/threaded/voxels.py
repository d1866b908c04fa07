"""Voxels and pillars, in parallel: a counting sort of points into cells, then their features."""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from numba import prange

from infer.kernels.bodies.shared import Array
from infer.kernels.bodies.voxels import (
    count_point,
    encode_voxel,
    end_voxels,
    forget_voxel,
    list_point,
    number_block,
    sum_before,
    survey_block,
)


def sort_voxels(
    points: Array,
    space: Array,
    cell_of: Array,
    slot: Array,
    count: Array,
    touched: Array,
    found: Array,
    cells: Array,
    start: Array,
    member: Array,
) -> int:
    """Sort points by voxel; returns how many voxels have any. count: a row per part, all 0."""
    parts = count.shape[0]
    for part in prange(parts):
        count_part(part, parts, points, space, cell_of, slot, count, touched)
    found[:] = 0
    if parts > 1:
        for part in prange(parts):
            survey_part(part, parts, count, touched, found)
        sum_before(found)
    for part in prange(parts):
        number_part(part, parts, count, touched, found, cells, start)
    voxels = end_voxels(found, start)
    for part in prange(parts):
        list_part(part, parts, cell_of, slot, count, member)
    return voxels


def count_part(
    part: int,
    parts: int,
    points: Array,
    space: Array,
    cell_of: Array,
    slot: Array,
    count: Array,
    touched: Array,
) -> None:
    """One part's share of the points, counted."""
    n = points.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        count_point(i, part, points, space, cell_of, slot, count, touched)


def survey_part(part: int, parts: int, count: Array, touched: Array, found: Array) -> None:
    """One part's share of the cells."""
    blocks = touched.shape[0]
    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        if touched[block]:
            survey_block(part, block, count, found)


def number_part(
    part: int, parts: int, count: Array, touched: Array, found: Array, cells: Array, start: Array
) -> None:
    """One part's share of the cells, the same as in `survey_part`."""
    blocks = touched.shape[0]
    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        if touched[block]:
            number_block(part, block, count, found, cells, start)
            touched[block] = 0


def list_part(
    part: int, parts: int, cell_of: Array, slot: Array, count: Array, member: Array
) -> None:
    """One part's share of the points, listed."""
    n = cell_of.shape[0]
    for i in range(n * part // parts, n * (part + 1) // parts):
        list_point(i, part, cell_of, slot, count, member)


def encode_voxels(
    voxels: int,
    points: Array,
    space: Array,
    count: Array,
    cells: Array,
    start: Array,
    member: Array,
    features: Array,
    counts: Array,
    coordinates: Array,
) -> None:
    """The features of as many voxels as there is room for; all cells are made empty again."""
    parts = count.shape[0]
    for part in prange(parts):
        encode_part(
            part,
            parts,
            voxels,
            points,
            space,
            count,
            cells,
            start,
            member,
            features,
            counts,
            coordinates,
        )


def encode_part(
    part: int,
    parts: int,
    voxels: int,
    points: Array,
    space: Array,
    count: Array,
    cells: Array,
    start: Array,
    member: Array,
    features: Array,
    counts: Array,
    coordinates: Array,
) -> None:
    """One part's share of the voxels."""
    for k in range(voxels * part // parts, voxels * (part + 1) // parts):
        if k < features.shape[0]:
            kept = min(start[k + 1] - start[k], features.shape[1])
            encode_voxel(
                k, kept, points, space, cells, start, member, features, counts, coordinates
            )
        forget_voxel(k, cells, count)
