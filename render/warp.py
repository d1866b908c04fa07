"""The compiled loop of re-projection. One thread, no interpreter lock, cached on disk."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_njit: Any = numba.njit


def _warp(  # noqa: PLR0917  (a compiled loop)
    source: NDArray[np.uint8],
    target: NDArray[np.uint8],
    places: NDArray[np.float32],
    left: int,
    top: int,
    cell: int,
    scale: float,
) -> None:
    """Fill `target` from the nearest pixels of `source`, a whole plane.

    target: uint8, a part of such a plane; left, top: where its corner is in that, pixels.
    places: float32 (rows + 1, columns + 1, 2), where in the source the corners of each cell of
        `cell` pixels lie, in units of 1 / `scale` pixels.
    """
    rows, columns = target.shape
    last_y, last_x = source.shape[0] - 1, source.shape[1] - 1
    for y in range(rows):
        row, within = divmod(top + y, cell)
        v = (within + 0.5) / cell
        x = 0
        while x < columns:
            column, first = divmod(left + x, cell)
            a, b = places[row, column], places[row, column + 1]
            c, d = places[row + 1, column], places[row + 1, column + 1]
            start_x, start_y = a[0] + (c[0] - a[0]) * v, a[1] + (c[1] - a[1]) * v
            end_x, end_y = b[0] + (d[0] - b[0]) * v, b[1] + (d[1] - b[1]) * v
            # Sixteen bits after the point; a shift rounds down.
            step_x = int((end_x - start_x) * scale / cell * 65536.0)
            step_y = int((end_y - start_y) * scale / cell * 65536.0)
            at_x = int(start_x * scale * 65536.0) + step_x * first + step_x // 2
            at_y = int(start_y * scale * 65536.0) + step_y * first + step_y // 2
            end = min(columns, x + cell - first)
            far_x, far_y = at_x + step_x * (end - x), at_y + step_y * (end - x)
            inside = (
                min(at_x, far_x) >= 0
                and min(at_y, far_y) >= 0
                and max(at_x, far_x) >> 16 <= last_x
                and max(at_y, far_y) >> 16 <= last_y
            )
            for i in range(x, end):
                if inside:
                    from_x, from_y = at_x >> 16, at_y >> 16
                else:
                    from_x, from_y = (
                        min(max(at_x >> 16, 0), last_x),
                        min(max(at_y >> 16, 0), last_y),
                    )
                # Unsigned: a signed index might count from the end, which would be tested.
                target[y, np.uint64(i)] = source[np.uint64(from_y), np.uint64(from_x)]
                at_x += step_x
                at_y += step_y
            x = end


_KINDS: Any = numba.types
_SEEN = _KINDS.Array(_KINDS.uint8, 2, "C", readonly=True)
_FILLED = _KINDS.Array(_KINDS.uint8, 2, "A")
_PLACES = _KINDS.Array(_KINDS.float32, 3, "C", readonly=True)
_WHOLE, _REAL = _KINDS.int64, _KINDS.float64

# Typed, so that importing compiles it, once and for all arrays that come.
warp = _njit(
    _KINDS.void(_SEEN, _FILLED, _PLACES, _WHOLE, _WHOLE, _WHOLE, _REAL), cache=True, nogil=True
)(_warp)
