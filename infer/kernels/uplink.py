"""Loops of the uplink codec: metres to whole steps, steps to bytes of differences, and back.

A difference d is folded to 2 d or -2 d - 1, whichever is not negative (zigzag). Below ESCAPE it is
one byte; otherwise that byte is ESCAPE, and three more follow in the escapes, low byte first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from infer.kernels.bodies.points import usable
from infer.kernels.bodies.shared import Array

ESCAPE = 255
WRONG = -1  # what is restored does not fit its bytes, or lies beyond the limit


def quantise(points: Array, order: Array, steps_per_m: float, steps: Array, shades: Array) -> int:
    """Usable points in the given order as whole steps (int32 (3, n)) and 8-bit intensities.

    order: rewritten to hold the rows that were taken. Returns how many.
    """
    taken = 0
    for k in range(order.shape[0]):
        i = order[k]
        if usable(points, i):
            for axis in range(3):
                steps[axis, taken] = math.floor(points[i, axis] * steps_per_m + 0.5)
            intensity = points[i, 3]
            # Not a number where it fails both comparisons.
            bright = 1.0 if intensity >= 1.0 else intensity if intensity > 0.0 else 0.0
            shades[taken] = int(bright * 255.0 + 0.5)
            order[taken] = i
            taken += 1
    return taken


def split(values: Array, low: Array, escapes: Array, at: int) -> int:
    """Differences of neighbours as bytes; returns where the next escape goes.

    values: int32 (n,), within 22 bits. low: uint8 (n,). escapes: uint8 (3, m), filled from `at`.
    """
    before = 0
    for i in range(values.shape[0]):
        d = values[i] - before
        before = values[i]
        folded = 2 * d if d >= 0 else -2 * d - 1
        if folded < ESCAPE:
            low[i] = folded
            continue
        low[i] = ESCAPE
        escapes[0, at] = folded & 255
        escapes[1, at] = (folded >> 8) & 255
        escapes[2, at] = folded >> 16
        at += 1
    return at


def join(low: Array, escapes: Array, at: int, limit: int, values: Array) -> int:
    """What `split` took apart, into int32 values (n,), each within -limit..limit.

    Returns where the next escape lies, or WRONG.
    """
    value = 0
    for i in range(low.shape[0]):
        folded: Any = np.int64(low[i])
        if folded == ESCAPE:
            if at >= escapes.shape[1]:
                return WRONG
            folded = (
                np.int64(escapes[0, at])
                | (np.int64(escapes[1, at]) << 8)
                | (np.int64(escapes[2, at]) << 16)
            )
            at += 1
        value += folded >> 1 if folded & 1 == 0 else -(folded >> 1) - 1
        if value > limit or value < -limit:
            return WRONG
        values[i] = value
    return at


def scale(steps: Array, step_m: float, points: Array) -> None:
    """Whole steps (3, n) as metres, into the first n points."""
    for i in range(steps.shape[1]):
        for axis in range(3):
            points[i, axis] = steps[axis, i] * step_m


def shade(shades: Array, differences: bool, points: Array) -> None:
    """8-bit intensities as 0..1, into the first points; or their differences, modulo 256."""
    value = 0
    for i in range(shades.shape[0]):
        value = (value + shades[i]) & 255 if differences else shades[i]
        points[i, 3] = value / 255.0


def interleave(steps: Array, keys: Array) -> None:
    """The Morton code of each position, uint64 (n,): near ones mostly have near codes.

    G. M. Morton, "A computer oriented geodetic data base and a new technique in file sequencing",
    IBM, 1966. steps: within 20 bits and a sign.
    """
    for i in range(steps.shape[1]):
        key = np.uint64(0)
        for axis in range(3):
            v = np.uint64(steps[axis, i] + (1 << 20))
            v = (v | (v << np.uint64(32))) & np.uint64(0x001F00000000FFFF)
            v = (v | (v << np.uint64(16))) & np.uint64(0x001F0000FF0000FF)
            v = (v | (v << np.uint64(8))) & np.uint64(0x100F00F00F00F00F)
            v = (v | (v << np.uint64(4))) & np.uint64(0x10C30C30C30C30C3)
            v = (v | (v << np.uint64(2))) & np.uint64(0x1249249249249249)
            key |= v << np.uint64(axis)
        keys[i] = key
