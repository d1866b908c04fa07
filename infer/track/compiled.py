"""Loops over numbers, compiled when first called and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """For the CPU, without the interpreter's lock.

    What it calls must be in its own file: Numba's files on disk go stale with that alone.
    """
    return cast(_F, numba.njit(cache=True, nogil=True)(function))
