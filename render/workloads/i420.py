"""Pixels from elsewhere to I420, as render/shaders/i420.comp does it on a device. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# ITU-R BT.709-6, limited range: rows for Y, U, V; of R, G, B in 0..255.
_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], np.float32)
_LUMA = _WEIGHTS * np.float32(219 / 255)
_BLUE = (np.array([0, 0, 1], np.float32) - _WEIGHTS) * np.float32(224 / 255 / 1.8556)
_RED = (np.array([1, 0, 0], np.float32) - _WEIGHTS) * np.float32(224 / 255 / 1.5748)


def to_i420(rgba: NDArray[np.uint8], before: int, output: memoryview) -> int:
    """Write a tile's packed planes to `output`; returns the bytes written.

    rgba: (height, before + width, 4), encoded for display, sides even. before: 0 or more columns
    that lie left of the tile: chroma is sited as in MPEG-2, level with the left luma column, and
    reads one column to the left; at the picture's edge there is none.
    """
    height, columns = len(rgba), int(rgba.shape[1]) - before
    rgb = rgba[..., :3].astype(np.float32)
    planes = np.frombuffer(output, np.uint8)
    luma = height * columns
    planes[:luma].reshape(height, columns)[:] = rgb[:, before:] @ _LUMA + np.float32(16.5)
    rows = rgb[0::2] + rgb[1::2]
    here, after = rows[:, before::2], rows[:, before + 1 :: 2]
    if before:
        left = rows[:, before - 1 : -1 : 2]
    else:
        left = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)
    mean = (left + 2 * here + after) / 8
    half = (height // 2, columns // 2)
    for index, weights in enumerate((_BLUE, _RED)):
        start = luma + index * luma // 4
        plane = planes[start : start + luma // 4].reshape(half)
        plane[:] = np.clip(mean @ weights + np.float32(128.5), 0, 255)
    return luma * 3 // 2
