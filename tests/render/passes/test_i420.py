"""Conversion to I420 against the same arithmetic in float64: at most one step of 8 bits off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from render.camera import frame_bounds
from render.pieces import TileSpec
from render.scene import Image, MagFilter, Material, MinFilter, Scene, Texture, TextureSlot
from render.tiles import Rect, cut

SIZES = [(64, 64), (66, 64), (320, 180), (424, 240), (640, 360), (1280, 720)]


def reference(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.709, limited range; chroma is (1 2 1)/4 across its left luma column, mean of two rows."""
    rgb = rgba[..., :3].astype(np.float64) / 255
    rows = (rgb[0::2] + rgb[1::2]) / 2
    before = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)
    mean = (before + 2 * rows[:, 0::2] + rows[:, 1::2]) / 4
    weights = np.array([0.2126, 0.7152, 0.0722])
    planes = (
        16 + 219 * (rgb @ weights),
        128 + 224 * (mean[..., 2] - mean @ weights) / 1.8556,
        128 + 224 * (mean[..., 0] - mean @ weights) / 1.5748,
    )
    return np.concatenate([np.rint(plane).ravel() for plane in planes]).astype(np.uint8)


def furthest(i420: bytes, rgba: NDArray[np.uint8]) -> int:
    off = np.frombuffer(i420, np.uint8).astype(int) - reference(rgba)
    return int(np.abs(off).max())


@pytest.fixture
def show(studio, square: Callable, scene_of: Callable, flat_view: Callable) -> Callable:
    """Draw given pixels as they are: a glowing square that fills the frame, one texel a pixel."""

    def shown(pixels: NDArray[np.uint8], rects: list[Rect]):
        height, width = pixels.shape[:2]
        glow = Material(
            base_color_factor=(0, 0, 0, 1), emissive_factor=(1, 1, 1), emissive=TextureSlot(0)
        )
        texture = Texture(0, mag_filter=MagFilter.NEAREST, min_filter=MinFilter.NEAREST)
        scene = scene_of([square()], [glow], images=(Image(pixels, "pixels"),), textures=(texture,))
        return studio.shoot(scene, flat_view((width, height)), (width, height), rects)

    return shown


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tiles", [1, 5])
def test_random_pixels_are_converted_to_within_one_step(show, size: tuple[int, int], tiles: int):
    pixels = np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0], 4), np.uint8)
    pixels[..., 3] = 255
    picture = show(pixels, cut(*size, tiles))
    # One texel a pixel, so what is converted is noise in every pixel.
    assert np.abs(picture.rgba.astype(int) - pixels).max() <= 1
    assert furthest(picture.i420, picture.rgba) <= 1


def test_pure_colors_take_their_places_in_the_limited_range(show):
    colors = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pixels = np.full((64, 320, 4), 255, np.uint8)
    for index, color in enumerate(colors):
        pixels[:, 64 * index : 64 * (index + 1), :3] = color
    i420 = np.frombuffer(show(pixels, []).i420, np.uint8)
    luma = i420[: 320 * 64].reshape(64, 320)[32, 32::64]
    blue, red = (plane[16, 16::32] for plane in i420[320 * 64 :].reshape(2, 32, 160))
    # BT.709-6 item 3.4 and 3.5 at full saturation, 8 bits.
    assert luma.tolist() == [16, 235, 63, 173, 32]
    assert blue.tolist() == [128, 128, 102, 42, 240]
    assert red.tolist() == [128, 128, 240, 26, 118]


@pytest.mark.parametrize("size", [(320, 180), (424, 240)])
def test_a_rendered_picture_is_converted_to_within_one_step(
    studio, courtyard: Scene, view_of: Callable[..., TileSpec], size: tuple[int, int]
):
    pose = frame_bounds(tuple(courtyard.bounds_min), tuple(courtyard.bounds_max), size[0] / size[1])
    picture = studio.shoot(courtyard, view_of(pose, size), size, cut(*size, 3))
    assert furthest(picture.i420, picture.rgba) <= 1
