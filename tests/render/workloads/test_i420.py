"""Conversion on the CPU: known colours, and the same bytes whatever the tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from render.tiles import Rect
from render.workloads.i420 import to_i420


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)  # BT.709, limited range
def test_colours_are_bt709(rgb: tuple[int, ...], yuv: tuple[int, ...]) -> None:
    rgba = np.full((4, 6, 4), (*rgb, 0), np.uint8)
    output = bytearray(36)
    assert to_i420(rgba, 2, memoryview(output)) == 24
    assert list(output[:24]) == [yuv[0]] * 16 + [yuv[1]] * 4 + [yuv[2]] * 4


def test_a_tile_is_its_part_of_the_whole(random_tiling: Callable[..., list[Rect]]) -> None:
    width, height = 208, 114
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 4), np.uint8)
    whole = bytearray(width * height * 3 // 2)
    to_i420(pixels, 0, memoryview(whole))
    for rect in random_tiling((width, height), 9, 5):
        before = 2 if rect.x else 0
        rows = slice(rect.y, rect.y + rect.height)
        output = bytearray(rect.i420_bytes)
        to_i420(pixels[rows, rect.x - before : rect.x + rect.width], before, memoryview(output))
        at = start = 0
        for scale in (1, 2, 2):
            plane = np.frombuffer(whole, np.uint8)[start : start + width * height // scale**2]
            x, y, across, down = (value // scale for value in rect)
            part = plane.reshape(height // scale, -1)[y : y + down, x : x + across]
            assert output[at : at + across * down] == part.tobytes()
            at, start = at + across * down, start + plane.size
