"""Pictures drawn smaller than they are shown: sizes, and what of the small one a tile needs. Pure.

A small picture is drawn with the same camera, and brought to full size on the device that drew it
(`render.passes.upscale`). A tile's pixels must not depend on the tiling, so a device draws all of
the small picture that the tile's upscaling reads, and nothing more.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from render.tiles import Rect

Scale: TypeAlias = Literal[100, 77, 59, 50]
SCALES: Final[tuple[Scale, ...]] = (100, 77, 59, 50)  # percent of width and of height
FULL: Final[Scale] = 100
FRACTION: Final = 18  # bits: a side of 4096 pixels fits 31 of them
BEFORE, AFTER = 1, 2  # small pixels that the filter reads around the one at or left of a position


def scaled_size(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """(width, height), pixels, even, of what is drawn for a picture of that size at a scale."""
    width, height = (max(2, 2 * ((side * scale + 100) // 200)) for side in size)
    return width, height


def source_rect(rect: Rect, size: tuple[int, int], small: tuple[int, int]) -> Rect:
    """What of the small picture the upscaling of a rectangle reads; edges are even.

    rect: of the full picture, size: the full picture's, small: the small one's (width, height).
    """
    (left, right), (top, bottom) = (
        _span(start, length, side, small_side)
        for start, length, side, small_side in zip(rect[:2], rect[2:], size, small, strict=True)
    )
    return Rect(left, top, right - left, bottom - top)


def _span(start: int, length: int, side: int, small_side: int) -> tuple[int, int]:
    """[first, end) of a side; whole quads of 2x2 pixels, because shading takes derivatives."""
    first = base(start, side, small_side) - BEFORE
    last = base(start + length - 1, side, small_side) + AFTER
    return max(0, first) // 2 * 2, min(small_side, (last + 2) // 2 * 2)


def base(pixel: int, side: int, small_side: int) -> int:
    """The small pixel whose centre is at, or next left of, a pixel's centre; -1 at the edge."""
    step, start = steps(side, small_side)
    return (pixel * step + start) >> FRACTION


def steps(side: int, small_side: int) -> tuple[int, int]:
    """From pixel to pixel, and where the first one is, among the small ones; 2**-FRACTION each.

    Whole numbers, as upscale.comp takes them: a rounding apart would leave a pixel undrawn.
    """
    step = round((small_side << FRACTION) / side)
    # The middles of both sides lie on one another, so that what rounding adds up to is halved.
    middle = ((small_side - 1) << FRACTION) // 2
    return step, middle - (side - 1) * step // 2
