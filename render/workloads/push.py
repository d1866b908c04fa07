"""The push constants of a fragment shader: what a tile is to show, and a piece's whole spec."""

from __future__ import annotations

import numpy as np

from mesh.core.errors import ContentRefused
from render.tiles import Rect
from render.workloads.spirv import PUSH_BYTES

PUSH = np.dtype(
    [
        ("resolution", "<f4", 2),  # pixels of the whole picture
        ("time", "<f4"),  # seconds
        ("frame", "<i4"),
        ("mouse", "<f4", 4),  # pixels from where it was, y upwards; two spare
        ("tile", "<i4", 4),  # x, y, width, height; pixels from the top left
    ]
)
assert PUSH.itemsize == PUSH_BYTES


def pack_push(
    size: tuple[int, int], rect: Rect, time_s: float, frame: int, mouse: tuple[float, float]
) -> bytes:
    """One PUSH for a tile of a picture of `size` pixels."""
    values = (size, time_s, frame & 0x7FFFFFFF, (*mouse, 0.0, 0.0), rect)
    return np.array(values, PUSH).tobytes()


def tile_of(push: bytes, size: tuple[int, int]) -> Rect:
    """The tile of a PUSH. Raises ContentRefused unless it is one, within a picture of `size`."""
    if len(push) == PUSH_BYTES:
        rect = Rect(*(int(value) for value in np.frombuffer(push, PUSH)[0]["tile"]))
        right, bottom = rect.x + rect.width, rect.y + rect.height
        inside = min(rect.x, rect.y) >= 0 and min(rect.width, rect.height) >= 2
        if inside and right <= size[0] and bottom <= size[1] and not any(v % 2 for v in rect):
            return rect
    raise ContentRefused(
        what="a tile is refused",
        why=f"its spec names no tile of a picture of {size[0]}x{size[1]} pixels",
        fix="Update the gateway that made it.",
    )
