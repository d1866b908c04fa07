"""Depth beside the picture, at reduced resolution: its format, cut and merged like tiles. Pure.

A depth map has one float16 for each block of `block` x `block` pixels (4, 8 or 16, so that tiles,
whose edges lie on a 16-pixel grid, share no block; blocks at the right and lower edge may be cut).
It is what the depth buffer holds at the block's *nearest* pixel: z / w in clip space, 1 at the near
plane, `FAR` (0) where nothing is drawn; without a far plane that is near / distance along the view
axis. Blended surfaces leave no depth. Where a tile never came it is `UNKNOWN` (not a number).

Nearest, because what is shown again from elsewhere must keep its outlines: the background beside a
foreground may move with it, but never the foreground with the background. float16, because what
counts in moving a point on the screen is the absolute error of 1 / distance, and that is largest,
2**-11 of it, for what lies nearest.

A tile's depth follows its colour in the tile's result: rows of blocks, unpadded, little-endian.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from render.camera import Matrix
from render.tiles import Rect

BLOCKS: Final = (4, 8, 16)
BlockOrNone: TypeAlias = Literal[0, 4, 8, 16]
FAR: Final = 0.0
UNKNOWN: Final = float("nan")

DepthArray: TypeAlias = NDArray[np.float16]


def map_shape(width: int, height: int, block: int) -> tuple[int, int]:
    """(rows, columns) of the depth map of a picture or tile."""
    return -(-height // block), -(-width // block)


def depth_bytes(rect: Rect, block: int) -> int:
    """Size of a tile's depth; 0 for block 0, which stands for no depth."""
    if not block:
        return 0
    rows, columns = map_shape(rect.width, rect.height, block)
    return 2 * rows * columns


def unknown_map(width: int, height: int, block: int) -> DepthArray:
    """The map of a picture of which no tile has come."""
    return np.full(map_shape(width, height, block), UNKNOWN, np.float16)


def paste(depth: DepthArray, rect: Rect, block: int, data: memoryview) -> None:
    """Put a tile's depth, `depth_bytes` long, where it belongs in its picture's map."""
    rows, columns = map_shape(rect.width, rect.height, block)
    top, left = rect.y // block, rect.x // block
    part = np.frombuffer(data, "<f2").reshape(rows, columns)
    depth[top : top + rows, left : left + columns] = part


def world_points(
    depth: DepthArray, clip_from_world: Matrix, width: int, height: int, block: int
) -> NDArray[np.float64]:
    """Where in the world each block's middle lies: float64 (rows, columns, 3), metres.

    width, height: the picture that the map is of, pixels. Not a number where depth is unknown or
    nothing is drawn.
    """
    rows, columns = depth.shape
    x = (block * np.arange(columns) + np.minimum(block * np.arange(1, columns + 1), width)) / 2
    y = (block * np.arange(rows) + np.minimum(block * np.arange(1, rows + 1), height)) / 2
    clip = np.ones((rows, columns, 4))
    clip[..., 0], clip[..., 1] = 2 * x / width - 1, (2 * y / height - 1)[:, None]
    clip[..., 2] = np.where(depth > FAR, depth, UNKNOWN)
    world = clip @ np.linalg.inv(clip_from_world).T
    points: NDArray[np.float64] = world[..., :3] / world[..., 3:]
    return points
