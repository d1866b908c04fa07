"""The contact sheet of `bench.render_quality`: ours, the peer's, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ACROSS = 2  # scenes beside one another
PANEL = (240, 180)  # pixels of one picture
TITLE, GAP = 16, 8  # pixels
BRIGHTEST = 0.5  # FLIP that is shown in the lightest colour


@dataclass(frozen=True)
class Row:
    """One scene's pictures, uint8 (h, w, 3) sRGB, and FLIP, float32 (h, w)."""

    name: str
    ours: NDArray[np.uint8]
    theirs: NDArray[np.uint8]
    flip: NDArray[np.float32]
    mean: float


def contact_sheet(rows: Sequence[Row], peer: str = "three.js") -> Image.Image:
    """All scenes, named, with their mean FLIP."""
    width, height = 3 * PANEL[0] + GAP, TITLE + PANEL[1] + GAP
    lines = -(-len(rows) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * width - GAP, lines * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        x, y = number % ACROSS * width, number // ACROSS * height
        title = f"{row.name}: ours | {peer} | FLIP, mean {row.mean:.3f}"
        draw.text((x + 2, y + 2), title, fill="black")
        for column, pixels in enumerate((row.ours, row.theirs, colored(row.flip))):
            panel = Image.fromarray(pixels).resize(PANEL, Image.Resampling.LANCZOS)
            sheet.paste(panel, (x + column * PANEL[0], y + TITLE))
    return sheet


def colored(flip: NDArray[np.float32]) -> NDArray[np.uint8]:
    """FLIP in matplotlib's magma, as its authors show it: black is 0, white `BRIGHTEST`."""
    colors = colormaps["magma"](np.clip(flip / BRIGHTEST, 0, 1))[..., :3]
    return np.asarray(np.rint(255 * colors), np.uint8)
