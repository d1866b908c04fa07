"""Shadows to paint: how much of the sun reaches a level surface among triangles."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from render.procedural.textures import Field

Triangles: TypeAlias = NDArray[np.float64]

# The sun is a disc: the higher what stands in its way, the softer the shadow's edge.
_LAYERS = ((0.0, 0.6), (0.6, 1.8), (1.8, np.inf))  # metres above the surface
_EDGE = (0.012, 0.03, 0.06)  # the edge's standard deviation for each, metres


def sunlight(
    casters: Triangles,
    towards_sun: tuple[float, float, float],
    *,
    height: float,
    corner: tuple[float, float],
    side: float,
    size: int,
) -> Field:
    """1 where the sun reaches the square, 0 in full shadow: float64 (size, size).

    casters: float64 (n, 3, 3), n triangles in the world frame, metres. towards_sun: y > 0. The
    square lies at y = height; row 0, column 0 of the result is at (x, z) = corner, rows run
    along +z, columns along +x, `side` metres each.
    """
    sun = np.array(towards_sun)
    above = casters[:, :, 1] - height
    # Along the sun's rays onto the surface, in pixels.
    fallen = casters - above[..., None] * (sun / sun[1])
    pixels = (fallen[:, :, (0, 2)] - corner) * (size / side)
    seen = (above > 0.0).all(axis=1) & (pixels.max(axis=1) > 0.0).all(axis=1)
    seen &= (pixels.min(axis=1) < size).all(axis=1)
    lit = np.ones((size, size))
    for (low, high), edge in zip(_LAYERS, _EDGE, strict=True):
        mean = above.mean(axis=1)
        layer = pixels[seen & (mean >= low) & (mean < high)]
        covered = Pillow.new("L", (size, size))
        draw = ImageDraw.Draw(covered)
        for triangle in layer.reshape(-1, 6).tolist():
            draw.polygon(triangle, fill=255)
        soft = covered.filter(ImageFilter.GaussianBlur(edge * size / side))
        lit *= 1.0 - np.asarray(soft) / 255.0
    return lit
