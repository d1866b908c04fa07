"""One look for all figures: plain, legible at half size, and clear to the colour-blind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008): told apart with any common colour blindness. In
# place of their yellow, which is faint on white, the wine of P. Tol, "Colour schemes" (2021).
BLACK, GREY, PALE = "#000000", "#7a7a7a", "#e2e2e2"
BLUE, SKY, GREEN, ORANGE, RED, PURPLE, WINE = (
    "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#882255"
)  # fmt: skip

_SETTINGS: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "framemesh",  # the same figure, the same bytes
}


@contextmanager
def drawing(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure of that many inches, written to `path` (SVG) in the end."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        yield figure
        figure.savefig(path, metadata={"Date": None})


def panels(figure: Figure, number: int, **shared: Any) -> list[Axes]:
    """So many plots side by side."""
    found = figure.subplots(1, number, squeeze=False, **shared)
    return list(found[0])
