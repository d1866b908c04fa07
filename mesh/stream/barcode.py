"""The frame id drawn into the picture, so that what was shown can be told from its pixels.

A row of 24 cells at the top-left corner, 16x16 luma pixels each: cells 0..19 hold the frame id
modulo 2**20, least significant bit first; cells 20..23 the exclusive or of its five nibbles.
White (Y 235) is one, black (Y 16) is zero, chroma is neutral. Survives lossy coding and scaling
down to a third.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELL = 16  # luma pixels, both ways
ID_BITS, CHECK_BITS = 20, 4
CELLS = ID_BITS + CHECK_BITS
MIN_WIDTH = CELLS * CELL
_WHITE, _BLACK, _NEUTRAL, _MIDDLE = 235, 16, 128, 128


def stamp(picture: NDArray[np.uint8], frame_id: int) -> None:
    """Draw `frame_id` into an I420 picture, uint8 (height * 3 / 2, width), width >= MIN_WIDTH."""
    rows, width = picture.shape
    height = rows * 2 // 3
    word = frame_id % 2**ID_BITS
    word |= _check(word) << ID_BITS
    bits = np.array([(word >> i) & 1 for i in range(CELLS)], bool)
    picture[:CELL, :MIN_WIDTH] = np.repeat(np.where(bits, _WHITE, _BLACK), CELL)
    chroma = picture[height:].reshape(2, height // 2, width // 2)  # U, V
    chroma[:, : CELL // 2, : MIN_WIDTH // 2] = _NEUTRAL


def read(luma: NDArray[np.uint8]) -> int | None:
    """The frame id modulo 2**20 in a luma plane, uint8 (height, width); None if there is none."""
    if luma.shape[0] < CELL or luma.shape[1] < MIN_WIDTH:
        return None
    inner = luma[4:12, :MIN_WIDTH].reshape(8, CELLS, CELL)[:, :, 4:12]
    ones = inner.mean(axis=(0, 2)) > _MIDDLE
    word = sum(1 << i for i in range(CELLS) if ones[i])
    frame_id = word % 2**ID_BITS
    return frame_id if word >> ID_BITS == _check(frame_id) else None


def _check(frame_id: int) -> int:
    check = 0
    for shift in range(0, ID_BITS, 4):
        check ^= (frame_id >> shift) & 0xF
    return check
