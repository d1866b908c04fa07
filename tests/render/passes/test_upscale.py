"""Smaller pictures at full size on a real device: the same in every tiling, sharp, no ringing."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from render.camera import Orbit, frame_bounds
from render.pieces import TileSpec
from render.scene import Material, Scene
from render.tiles import Rect
from render.upscale import SCALES, Scale, scaled_size

SIZE = (320, 180)
TILINGS = 60 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 5

View = Callable[..., TileSpec]


def close_up(scene: Scene, view_of: View, size: tuple[int, int] = SIZE) -> TileSpec:
    aspect = size[0] / size[1]
    pose = frame_bounds(tuple(scene.bounds_min), tuple(scene.bounds_max), aspect)
    return view_of(Orbit(pose.yaw + 0.3, pose.pitch, pose.distance * 0.5, pose.target), size)


@pytest.mark.parametrize(("scale", "samples"), [(77, 0), (59, 0), (50, 0), (59, 1)])
def test_random_tilings_make_the_same_bytes_on_every_rung(
    studio,
    courtyard: Scene,
    view_of: View,
    random_tiling: Callable[..., list[Rect]],
    scale: Scale,
    samples: int,
):
    view = close_up(courtyard, view_of)
    view = msgspec.structs.replace(view, scale=scale, samples=samples, bounces=1)
    whole = studio.shoot(courtyard, view, SIZE)
    assert np.ptp(whole.rgba[..., :3]) > 100  # there is something to see
    for seed in range(TILINGS if not samples else 1):
        tiling = random_tiling(SIZE, 2 + seed % 11, seed)
        parts = studio.shoot(courtyard, view, SIZE, tiling)
        assert parts.i420 == whole.i420, tiling
        assert np.array_equal(parts.rgba, whole.rgba), tiling


def keys_weights(t: float) -> np.ndarray:
    """Cubic convolution, a = -1/2, from its definition (Keys 1981, equation 15)."""
    away = np.abs(np.array([-1, 0, 1, 2]) - t)
    near = 1.5 * away**3 - 2.5 * away**2 + 1
    far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    return np.where(away <= 1, near, far)


def upscaled(small: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What upscale.comp is to make: (height, width, 3) from floats of 0 to 255."""
    width, height = size
    made = np.empty((height, width, 3))
    rows, columns = small.shape[:2]
    for y in range(height):
        v = (y + 0.5) * rows / height - 0.5
        four = np.arange(-1, 3) + int(np.floor(v))
        lines = small[four.clip(0, rows - 1)]
        for x in range(width):
            u = (x + 0.5) * columns / width - 0.5
            window = lines[:, (np.arange(-1, 3) + int(np.floor(u))).clip(0, columns - 1)]
            value = np.einsum(
                "r,c,rck->k", keys_weights(v - np.floor(v)), keys_weights(u - np.floor(u)), window
            )
            nearest = window[1:3, 1:3].reshape(4, 3)
            made[y, x] = value.clip(nearest.min(axis=0), nearest.max(axis=0))
    return made


@pytest.mark.parametrize("scale", [77, 50])
def test_it_is_cubic_convolution_kept_within_the_nearest_pixels(
    studio, courtyard: Scene, view_of: View, scale: Scale
):
    size = (96, 64)
    view = close_up(courtyard, view_of, size)
    small_size = scaled_size(size, scale)
    small = studio.shoot(
        courtyard, msgspec.structs.replace(view, rect=(0, 0, *small_size)), small_size
    )
    expected = upscaled(small.rgba[..., :3].astype(float), size)
    shown = studio.shoot(courtyard, msgspec.structs.replace(view, scale=scale), size)
    assert np.abs(shown.rgba[..., :3] - expected).max() <= 1


def test_it_is_nearer_to_the_full_picture_than_larger_pixels_are(
    studio, helmet: Scene, view_of: View
):
    view = close_up(helmet, view_of)
    full = studio.shoot(helmet, view, SIZE).rgba[..., :3].astype(float)
    errors = []
    for scale in SCALES[1:]:
        made = studio.shoot(helmet, msgspec.structs.replace(view, scale=scale), SIZE)
        errors.append(np.abs(made.rgba[..., :3] - full).mean())
    half = scaled_size(SIZE, 50)
    coarse = studio.shoot(helmet, msgspec.structs.replace(view, rect=(0, 0, *half)), half).rgba
    blocks = coarse[..., :3].repeat(2, axis=0).repeat(2, axis=1).astype(float)
    assert errors == sorted(errors)
    assert errors[-1] < np.abs(blocks - full).mean()


def test_an_edge_does_not_ring(studio, scene_of, square, flat_view: View):
    white = Material(unlit=True)
    scene = scene_of([square(side=1.0)], [white])
    made = studio.shoot(scene, msgspec.structs.replace(flat_view(SIZE), scale=50), SIZE)
    line = made.rgba[SIZE[1] // 2, :, 0].astype(int)
    rise = line[: SIZE[0] // 2]
    assert (np.diff(rise) >= 0).all()
    assert (rise[0], rise[-1]) == (0, 255)
