"""The moving picture that every sender shows: detail at all scales, grain, things that move.

A panorama pans at a constant speed while patches of another texture cross it at others, so that
a motion search finds much but not all; grain that differs from frame to frame keeps an encoder
from coding nothing. Drawing copies what was made before: a fraction of a millisecond at 720p.
Needs nothing but NumPy, so that a peer's own Python can run it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mesh.stream import barcode

Plane = NDArray[np.uint8]

PAN = 4  # luma pixels a frame; even, for the chroma planes
PATCHES = 6
PATCH = 96  # luma pixels, both ways
GRAINS = 4  # panoramas with a grain of their own
GRAIN = 4.0  # standard deviation, of 255
DARK, BRIGHT = 30, 220


class MovingPicture:
    """Frames of an endless sequence, each by its number. width, height: even, luma pixels."""

    def __init__(self, width: int, height: int, seed: int = 1) -> None:
        self.width, self.height = width, height
        random = np.random.default_rng(seed)
        scene = _texture(random, height, width)
        self._luma = [_twice(_grained(random, scene)) for _ in range(GRAINS)]
        half = (height // 2, width // 2)
        self._chroma = [_twice(_to_bytes(128 + 0.4 * (_texture(random, *half) - 128)))] * 2
        self._patch = [_to_bytes(_texture(random, PATCH, PATCH)) for _ in range(PATCHES)]
        self._phases = random.uniform(0, 2 * math.pi, (PATCHES, 2))

    def draw(self, picture: Plane, number: int, *, stamped: bool = True) -> None:
        """Draw frame `number` into an I420 picture, uint8 (height * 3 / 2, width).

        stamped: with its number as a barcode.
        """
        shift = (PAN * number) % self.width
        luma = picture[: self.height]
        luma[:] = self._luma[number % GRAINS][:, shift : shift + self.width]
        half = self.width // 2
        planes = picture[self.height :].reshape(2, self.height // 2, half)
        for plane, panorama in zip(planes, self._chroma, strict=True):
            plane[:] = panorama[:, shift // 2 : shift // 2 + half]
        for patch, (phase_x, phase_y) in zip(self._patch, self._phases, strict=True):
            x = self._place(self.width, number / 53 + phase_x)
            y = self._place(self.height, number / 37 + phase_y)
            luma[y : y + PATCH, x : x + PATCH] = patch
        if stamped:
            barcode.stamp(picture, number)

    def _place(self, side: int, angle: float) -> int:
        return round((side - PATCH) * (0.5 + 0.5 * math.sin(angle)))


def _texture(random: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Noise of all scales from 2 pixels up, steeper edges in the coarse ones; float32."""
    made = np.full((height, width), 128, np.float32)
    for scale in (2, 8, 32, 128):
        cells = random.uniform(-1, 1, (height // scale + 2, width // scale + 2))
        fine = np.kron(cells, np.ones((scale, scale)))[:height, :width]
        made += (6 * math.log2(scale) * fine).astype(np.float32)
    return made


def _grained(random: np.random.Generator, scene: NDArray[np.float32]) -> Plane:
    return _to_bytes(scene + random.normal(0, GRAIN, scene.shape))


def _to_bytes(values: NDArray[np.floating]) -> Plane:
    made: Plane = np.clip(values, DARK, BRIGHT).astype(np.uint8)
    return made


def _twice(plane: Plane) -> Plane:
    """Side by side with itself: a window of it never meets its end."""
    return np.concatenate([plane, plane], axis=1)
