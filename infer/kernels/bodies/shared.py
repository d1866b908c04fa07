"""Changing a number that others may be changing too: plain here, atomic on a GPU.

`infer.kernels.cuda` brings its own of each. `add`, `lower` and `add_in` return what was there
before.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any  # an array of whichever target the body is bound to
Float32: TypeAlias = Any  # a number of that target: Python's own has 64 bits


def add(array: Array, i: int, value: int) -> int:
    """array[i] += value; returns what was there."""
    old: int = array[i]
    array[i] = old + value
    return old


def lower(array: Array, i: int, value: int) -> int:
    """array[i] = min(array[i], value); returns what was there."""
    old: int = array[i]
    if value < old:
        array[i] = value
    return old


def add_to(table: Array, i: int, j: int, value: int) -> None:
    """table[i, j] += value."""
    table[i, j] += value


def add_in(table: Array, i: int, j: int, value: int) -> int:
    """table[i, j] += value; returns what was there."""
    old: int = table[i, j]
    table[i, j] = old + value
    return old


def lower_in(table: Array, i: int, j: int, value: int) -> None:
    """table[i, j] = min(table[i, j], value)."""
    table[i, j] = min(table[i, j], value)


def raise_in(table: Array, i: int, j: int, value: int) -> None:
    """table[i, j] = max(table[i, j], value)."""
    table[i, j] = max(table[i, j], value)
