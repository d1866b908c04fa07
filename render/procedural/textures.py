"""Seeded textures that repeat without a seam. Heights and masks are float64 (size, size)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from render.scene import Uint8Array

Field: TypeAlias = NDArray[np.float64]
Color: TypeAlias = tuple[float, float, float]  # sRGB-encoded, 0..1


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """A pattern of tiles with joints: relief 0..1 (joints low), and a random 0..1 per tile."""

    relief: Field
    shade: Field


def noise(size: int, slope: float, rng: np.random.Generator) -> Field:
    """Periodic noise, 0..1, whose amplitude falls with frequency to the power -slope."""
    frequency = np.fft.fftfreq(size) * size
    magnitude = np.hypot(frequency[:, None], frequency)
    magnitude[0, 0] = np.inf
    phases = np.exp(2j * np.pi * rng.random((size, size)))
    field = np.real(np.fft.ifft2(phases * magnitude**-slope))
    low, high = np.quantile(field, (0.002, 0.998))
    return np.asarray(np.clip((field - low) / (high - low), 0.0, 1.0))


def tiles(size: int, rows: int, columns: int, *, joint: float, shift: float, seed: int) -> Tiles:
    """rows x columns of bevelled tiles; `joint` is the joint's width in tile heights.

    shift: how far every second row is moved, in tile widths (0.5 makes a brick bond).
    """
    v, u = np.meshgrid(*(2 * [(np.arange(size) + 0.5) / size]), indexing="ij")
    row = np.floor(v * rows)
    across = u * columns + shift * (row % 2)
    column = np.floor(across) % columns
    to_joint_v = rows * np.minimum(v - row / rows, (row + 1) / rows - v)
    from_left = across - np.floor(across)
    to_joint_u = np.minimum(from_left, 1.0 - from_left) * rows / columns
    distance = np.minimum(to_joint_u, to_joint_v)
    relief = np.clip((distance - joint / 2) / joint, 0.0, 1.0)
    shades = np.random.default_rng(seed).random((rows, columns))
    shade = shades[row.astype(int), column.astype(int)]
    return Tiles(relief**0.5, shade)


def normal_map(height: Field, strength: float) -> Uint8Array:
    """Tangent-space normals of a height field that repeats; +Y is up the image (glTF 3.9.3)."""
    right = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) * strength
    down = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) * strength
    normals = np.stack((-right, down, np.ones_like(height)), axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return _to_bytes(normals * 0.5 + 0.5)


def color_map(low: Color, high: Color, mix: Field) -> Uint8Array:
    """From colour `low` where mix is 0 to `high` where it is 1."""
    share = np.clip(mix, 0.0, 1.0)[..., None]
    return _to_bytes(np.array(low) * (1.0 - share) + np.array(high) * share)


def material_map(occlusion: Field, roughness: Field, metallic: Field) -> Uint8Array:
    """Occlusion, roughness, metallic in R, G, B: one image for two texture slots."""
    return _to_bytes(np.stack((occlusion, roughness, metallic), axis=-1))


def leaf(size: int) -> Uint8Array:
    """A few pointed leaves on nothing: RGBA with a hard alpha."""
    y, x = np.meshgrid(*(2 * [np.linspace(-1.0, 1.0, size)]), indexing="ij")
    alpha = np.zeros((size, size))
    vein = np.zeros((size, size))
    for angle in np.linspace(0.0, 2 * np.pi, 5, endpoint=False):
        along = x * np.sin(angle) - y * np.cos(angle)
        across = x * np.cos(angle) + y * np.sin(angle)
        width = 0.34 * np.clip(np.sin(np.pi * np.clip(along, 0.0, 1.0) ** 0.7), 0.0, 1.0)
        inside = (along > 0.0) & (np.abs(across) < width)
        alpha = np.where(inside, 1.0, alpha)
        vein = np.where(inside, np.exp(-((across / 0.03) ** 2)) + 0.6 * along, vein)
    color = color_map((0.16, 0.34, 0.12), (0.55, 0.68, 0.25), 0.65 * vein)
    return np.concatenate((color, _to_bytes(alpha)[..., None]), axis=-1)


def lattice(size: int, bars: int) -> Field:
    """1 in the diamonds between crossing bars, 0 on the bars."""
    v, u = np.meshgrid(*(2 * [np.arange(size) / size * bars]), indexing="ij")
    rising, falling = (u + v) % 1.0, (u - v) % 1.0
    to_bar = np.minimum(np.minimum(rising, 1 - rising), np.minimum(falling, 1 - falling))
    return np.asarray(np.clip((to_bar - 0.06) / 0.04, 0.0, 1.0))


def _to_bytes(values: Field) -> Uint8Array:
    return np.asarray(np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
