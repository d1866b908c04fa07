"""Qualities at which a session's frames can be made, best first: the degrade ladder. Pure.

What cannot be on time in full is drawn coarser, never left out. The raster pass draws coarser
shadows, then fewer pixels that it brings to full size, in the end no shadows; the path tracer takes
fewer samples, and at one sample fewer pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mesh.core.workload import Rung
from render.cost import PATH, SHADOWED_PIXEL, TILE, TRIANGLE_SHARE, UPSCALED_PIXEL, FrameCost
from render.pieces import COARSE_SHADOWS, Shadows
from render.upscale import FULL, SCALES, Scale

LEAST_GAIN = 0.97  # a rung costs at most so much of the one above it
SHADED = {1024: 0.98, 0: 0.8}  # what a picture is worth with shadows so much coarser, or none


class Quality(NamedTuple):
    """How a frame is drawn; fields as of `TileSpec`."""

    samples: int
    scale: Scale = FULL
    shadows: Shadows = 0


def qualities(samples: int, shadows: Shadows = 0) -> tuple[Quality, ...]:
    """What a session of so many samples per pixel (0: the raster pass) can be asked for.

    A coarser shadow map is hardly seen, so it comes before fewer pixels; a missing shadow changes
    what the picture says, so it comes last.
    """
    counts = [samples >> rung for rung in range(samples.bit_length())] or [0]
    coarse: Shadows = COARSE_SHADOWS if shadows else 0
    widths = dict.fromkeys((shadows, coarse))
    return (
        *(Quality(count, FULL, width) for count in counts for width in widths),
        *(Quality(counts[-1], scale, coarse) for scale in SCALES[1:]),
        *([Quality(counts[-1], SCALES[-1])] if shadows else []),
    )


def cost_at(quality: Quality, cost: FrameCost) -> NDArray[np.float64]:
    """Where a frame's work is at a quality: float64 (rows, columns), units; cost: at full size."""
    paths = PATH * quality.samples if quality.samples else 1.0
    pixels = cost.pixels + SHADOWED_PIXEL[quality.shadows] * cost.covered
    if quality.scale == FULL:
        whole: NDArray[np.float64] = (pixels + cost.triangles) * paths
        return whole
    fewer = (quality.scale / FULL) ** 2
    share = 0.0 if quality.samples else TRIANGLE_SHARE  # the tracer's work is all by the pixel
    drawn = pixels * fewer + cost.triangles * (share + (1 - share) * fewer)
    upscaled: NDArray[np.float64] = drawn * paths + cost.area * UPSCALED_PIXEL
    return upscaled


def ladder(
    choices: Sequence[Quality], cost: FrameCost, tiles: int
) -> tuple[tuple[Quality, ...], tuple[Rung, ...]]:
    """The qualities that are each cheaper than the one before, for a frame like that one.

    Also what each costs and is worth beside the first: its share of the pixels' sides, times what
    noise leaves, whose deviation grows with the root of the samples saved, times what shadows do.
    """
    best, *others = choices
    units = TILE * tiles + float(cost_at(best, cost).sum())
    kept, rungs = [best], [Rung(1.0, 1.0)]
    for choice in others:
        spent = (TILE * tiles + float(cost_at(choice, cost).sum())) / units
        if spent < LEAST_GAIN * rungs[-1].cost:
            fewer = max(choice.samples, 1) / max(best.samples, 1)
            shaded = 1.0 if choice.shadows == best.shadows else SHADED[choice.shadows]
            kept.append(choice)
            rungs.append(Rung(spent, choice.scale / best.scale * math.sqrt(fewer) * shaded))
    return tuple(kept), tuple(rungs)
