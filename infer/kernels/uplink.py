"""Loops of the uplink codec: positions to small whole numbers and back, and those to bytes.

A LiDAR turns: from one point to the next on a row the azimuth grows by about the same angle, the
slope stays, and only the distance is news. So each position is told in the axes of the point before
it: along its ray, across it (less the usual turn), and up (less what its slope predicts). What is
not foreseen is rounded to whole steps, from where the receiver has put the point before: errors do
not add up. Positions are float64, in steps; sums, products, quotients and roots are rounded as IEEE
754 says, so that every machine gets the same ones.

Points are CHAINS runs of equal length, each of which begins from nothing: a processor works on all
of them at once, where one chain's steps would wait for each other.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import math
from typing import Any

import numpy as np

from infer.kernels.bodies.points import usable
from infer.kernels.bodies.shared import Array
from infer.layout import CHAIN_STATE, CHAINS

ESCAPE = 255
WRONG = -1  # what is restored does not fit its bytes, or lies beyond the limit


def gather(
    points: Array, order: Array, origin: Array, steps_per_m: float, places: Array, shades: Array
) -> int:
    """Usable points in the given order: places in steps from the origin, 8-bit intensities.

    order: rewritten to hold the rows that were taken. Returns how many.
    """
    taken = 0
    for k in range(order.shape[0]):
        i = order[k]
        if usable(points, i):
            for axis in range(3):
                places[taken, axis] = (points[i, axis] - origin[axis]) * steps_per_m
            intensity = points[i, 3]
            # Not a number where it fails both comparisons.
            bright = 1.0 if intensity >= 1.0 else intensity if intensity > 0.0 else 0.0
            shades[taken] = int(bright * 255.0 + 0.5)
            order[taken] = i
            taken += 1
    return taken


def differ(places: Array, turn: float, state: Array, news: Array) -> None:
    """What is not foreseen of each place: int32 (3, n) along, across and up, in steps.

    turn: radians from one point to the next. state: float64 (CHAINS, CHAIN_STATE), for scratch.
    """
    n = places.shape[0]
    run = (n + CHAINS - 1) // CHAINS
    for chain in range(CHAINS):
        start(state, chain)
    for i in range(run):
        for chain in range(CHAINS):
            at = chain * run + i
            if at < n:
                dx, dy = places[at, 0] - state[chain, 0], places[at, 1] - state[chain, 1]
                rho, c, s = state[chain, 3], state[chain, 4], state[chain, 5]
                along = np.rint(c * dx + s * dy)
                across = np.rint(c * dy - s * dx - turn * rho)
                level = advance(state, chain, along, across + turn * rho)
                up = np.rint(places[at, 2] - level)
                state[chain, 2] = level + up
                news[0, at], news[1, at], news[2, at] = int(along), int(across), int(up)


def restore(news: Array, turn: float, state: Array, places: Array) -> None:
    """The places (n, 3) that the receiver gets; the inverse of `differ` but for its rounding."""
    n = places.shape[0]
    run = (n + CHAINS - 1) // CHAINS
    for chain in range(CHAINS):
        start(state, chain)
    for i in range(run):
        for chain in range(CHAINS):
            at = chain * run + i
            if at < n:
                across = news[1, at] + turn * state[chain, 3]
                level = advance(state, chain, float(news[0, at]), across)
                state[chain, 2] = level + news[2, at]
                places[at, 0] = state[chain, 0]
                places[at, 1] = state[chain, 1]
                places[at, 2] = state[chain, 2]


def start(state: Array, chain: int) -> None:
    """Nothing is known: the axes are x and y, the place is the origin."""
    for k in range(CHAIN_STATE):
        state[chain, k] = 0.0
    state[chain, 4] = 1.0


def advance(state: Array, chain: int, along: float, across: float) -> float:
    """Move a chain on in its own axes; returns the height that is foreseen there."""
    rho, c, s = state[chain, 3], state[chain, 4], state[chain, 5]
    x = state[chain, 0] + c * along - s * across
    y = state[chain, 1] + s * along + c * across
    z: float = state[chain, 2]
    new = math.sqrt(x * x + y * y)
    state[chain, 0], state[chain, 1], state[chain, 3] = x, y, new
    if new < 1.0:
        state[chain, 4], state[chain, 5] = 1.0, 0.0
    else:
        state[chain, 4], state[chain, 5] = x / new, y / new
    # A slope is taken on only to where it can be meant: not from a near thing to one far behind.
    return z * (new / rho) if rho >= 1.0 and new < 2.0 * rho else z


def fold(values: Array, low: Array, escapes: Array, at: int) -> int:
    """Whole numbers as bytes; returns where the next escape goes.

    A value v is folded to 2 v or -2 v - 1, whichever is not negative (zigzag). Below ESCAPE it is
    one byte; otherwise that byte is ESCAPE, and three more are among the escapes.
    values: int32 (n,), within 23 bits. low: uint8 (n,). escapes: uint8 (3, m), filled from `at`.
    """
    for i in range(values.shape[0]):
        v = values[i]
        folded = 2 * v if v >= 0 else -2 * v - 1
        if folded < ESCAPE:
            low[i] = folded
            continue
        low[i] = ESCAPE
        escapes[0, at] = folded & 255
        escapes[1, at] = (folded >> 8) & 255
        escapes[2, at] = folded >> 16
        at += 1
    return at


def unfold(low: Array, escapes: Array, at: int, values: Array) -> int:
    """The values (int32 (n,)) of `fold`. Returns where the next escape lies, or WRONG."""
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
        values[i] = folded >> 1 if folded & 1 == 0 else -(folded >> 1) - 1
    return at


def scale(places: Array, origin: Array, step_m: float, limit: float, points: Array) -> int:
    """Places in steps as metres, into the first points. WRONG if one is beyond the limit, else 0.

    limit: in steps from the origin along an axis.
    """
    for i in range(places.shape[0]):
        for axis in range(3):
            place = places[i, axis]
            if abs(place) > limit:
                return WRONG
            points[i, axis] = place * step_m + origin[axis]
    return 0


def shade(shades: Array, differences: bool, points: Array) -> None:
    """8-bit intensities as 0..1, into the first points; or their differences, modulo 256."""
    value = 0
    for i in range(shades.shape[0]):
        value = (value + shades[i]) & 255 if differences else shades[i]
        points[i, 3] = value / 255.0


def interleave(places: Array, keys: Array) -> None:
    """The Morton code of each place, uint64 (n,): near ones mostly have near codes.

    G. M. Morton, "A computer oriented geodetic data base and a new technique in file sequencing",
    IBM, 1966. places: within 20 bits and a sign.
    """
    for i in range(places.shape[0]):
        key = np.uint64(0)
        for axis in range(3):
            v = np.uint64(int(places[i, axis]) + (1 << 20))
            v = (v | (v << np.uint64(32))) & np.uint64(0x001F00000000FFFF)
            v = (v | (v << np.uint64(16))) & np.uint64(0x001F0000FF0000FF)
            v = (v | (v << np.uint64(8))) & np.uint64(0x100F00F00F00F00F)
            v = (v | (v << np.uint64(4))) & np.uint64(0x10C30C30C30C30C3)
            v = (v | (v << np.uint64(2))) & np.uint64(0x1249249249249249)
            key |= v << np.uint64(axis)
        keys[i] = key
