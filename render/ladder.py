"""Qualities at which a session's frames can be made, best first: the degrade ladder. Pure.

What cannot be on time in full is drawn coarser, never left out. The raster pass draws fewer pixels
and brings them to full size; the path tracer takes fewer samples, and at one sample fewer pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mesh.core.workload import Rung
from render.cost import PATH, TILE, TRIANGLE_SHARE, UPSCALED_PIXEL, FrameCost
from render.upscale import FULL, SCALES, Scale

LEAST_GAIN = 0.97  # a rung costs at most so much of the one above it


class Quality(NamedTuple):
    """How a frame is drawn; fields as of `TileSpec`."""

    samples: int
    scale: Scale = FULL


def qualities(samples: int) -> tuple[Quality, ...]:
    """What a session of so many samples per pixel (0: the raster pass) can be asked for."""
    counts = [samples >> rung for rung in range(samples.bit_length())] or [0]
    return (
        *(Quality(count) for count in counts),
        *(Quality(counts[-1], scale) for scale in SCALES[1:]),
    )


def cost_at(quality: Quality, cost: FrameCost) -> NDArray[np.float64]:
    """Where a frame's work is at a quality: float64 (rows, columns), units; cost: at full size."""
    paths = PATH * quality.samples if quality.samples else 1.0
    if quality.scale == FULL:
        return cost.total * paths
    fewer = (quality.scale / FULL) ** 2
    share = 0.0 if quality.samples else TRIANGLE_SHARE  # the tracer's work is all by the pixel
    drawn = cost.pixels * fewer + cost.triangles * (share + (1 - share) * fewer)
    upscaled: NDArray[np.float64] = drawn * paths + cost.area * UPSCALED_PIXEL
    return upscaled


def ladder(
    choices: Sequence[Quality], cost: FrameCost, tiles: int
) -> tuple[tuple[Quality, ...], tuple[Rung, ...]]:
    """The qualities that are each cheaper than the one before, for a frame like that one.

    Also what each costs and is worth beside the first: its share of the pixels' sides, times what
    noise leaves, whose deviation grows with the root of the samples saved.
    """
    best, *others = choices
    units = TILE * tiles + float(cost_at(best, cost).sum())
    kept, rungs = [best], [Rung(1.0, 1.0)]
    for choice in others:
        spent = (TILE * tiles + float(cost_at(choice, cost).sum())) / units
        if spent < LEAST_GAIN * rungs[-1].cost:
            fewer = max(choice.samples, 1) / max(best.samples, 1)
            kept.append(choice)
            rungs.append(Rung(spent, choice.scale / best.scale * math.sqrt(fewer)))
    return tuple(kept), tuple(rungs)
