"""How the figures are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.figures.calibration import STATED, TOLERANCE
from bench.figures.rescue import FROZEN, Bar, Mark, Rescue
from bench.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    RED,
    SKY,
    WINE,
    drawing,
    panels,
)

Curve: TypeAlias = Sequence[tuple[float, float]]  # load, missed percent


# --- calibration ----------------------------------------------------------------------------------


def draw_calibration(path: Path, shares: Mapping[str, Sequence[float]]) -> None:
    """Stated quantile against covered share, and how far apart the two are.

    shares: by kind of noise, the share of runs covered by each quantile of STATED.
    """
    stated = [100 * each for each in STATED]
    looks = zip((BLUE, SKY, GREEN, RED, ORANGE, PURPLE), "osD^vX", strict=True)
    with drawing(path, (9.0, 3.9)) as figure:
        plain, apart = panels(figure, 2)
        plain.plot([45, 100], [45, 100], color=GREY, linewidth=1, linestyle="--", label="exact")
        apart.axhspan(-100 * TOLERANCE, 100 * TOLERANCE, color=PALE, label="tolerated: ± 2")
        apart.axhline(0, color=GREY, linewidth=1, linestyle="--")
        for (name, found), (colour, marker) in zip(shares.items(), looks, strict=False):
            errors = [100 * (one - other) for one, other in zip(found, STATED, strict=True)]
            plain.plot(stated, [100 * each for each in found], marker, color=colour, label=name)
            apart.plot(stated, errors, marker=marker, color=colour, linewidth=1)
        plain.set(xlabel="stated quantile, %", ylabel="runs covered, %", title="Coverage")
        plain.legend(loc="lower right")
        apart.set(
            xlabel="stated quantile, %",
            ylabel="covered - stated, percentage points",
            title="Error",
            ylim=(-4, 4),
        )
        apart.legend(loc="upper right")
        apart.axvline(95, color=BLACK, linewidth=0.8, linestyle=":")
        apart.text(94.4, -3.7, "used for promises", rotation=90, fontsize=9, ha="right")


# --- misses ---------------------------------------------------------------------------------------


TICKS = (0, 0.5, 1, 2, 5, 10, 20, 30, 50, 100)


def draw_misses(path: Path, curves: Mapping[str, Mapping[str, Curve]], ours: str) -> None:
    """What each policy misses as the load rises; one panel for each title.

    ours: the policy that stands out. The scale is linear up to 1 % and logarithmic above, so that
    no misses at all have a place on it; each panel has its own range.
    """
    others = dict.fromkeys(name for panel in curves.values() for name in panel if name != ours)
    looks = zip((GREY, SKY, GREEN, ORANGE, PURPLE, RED, WINE, BLACK), "osD^v<>P", strict=True)
    look = dict(zip(others, looks, strict=False))
    with drawing(path, (9.0, 4.6)) as figure:
        plots = panels(figure, len(curves))
        for axes, (title, panel) in zip(plots, curves.items(), strict=True):
            for name in (*others, ours):
                loads, missed = zip(*panel[name], strict=True)
                colour, marker = look.get(name, (BLUE, "o"))
                width = 3.0 if name == ours else 1.0
                axes.plot(loads, missed, color=colour, marker=marker, linewidth=width, label=name)
            axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
            least = min(missed for curve in panel.values() for _, missed in curve)
            axes.set(xlabel="load: work that comes, over capacity", title=title)
            axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
            axes.set_ylim(0.85 * least if least > 1 else 0, 115)
        plots[0].set_ylabel("frames missed, %")
        figure.legend(*plots[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


# --- a rescued frame ------------------------------------------------------------------------------

MARKS: dict[str, dict[str, Any]] = {
    "doubt": {"marker": "v", "color": RED, "label": "its answer is in doubt"},
    "copy": {"marker": "D", "color": ORANGE, "label": "a copy is sent"},
    "cancel": {"marker": "X", "color": BLACK, "label": "the other one is cancelled"},
}
HEIGHT = 0.56  # of a bar, in lanes


def draw_rescue(path: Path, rescue: Rescue) -> None:
    """Who ran what, and when: a lane for each device, times from the frame's opening."""
    lanes = {device: at for at, device in enumerate(rescue.devices)}
    end_ms = _ms(rescue, rescue.deadline_us) + 2.0
    with drawing(path, (9.0, 4.2)) as figure:
        (axes,) = panels(figure, 1)
        axes.grid(axis="y", visible=False)
        for bar in rescue.bars:
            _draw_bar(axes, rescue, bar, lanes[bar.device], end_ms)
        _draw_marks(axes, rescue, lanes)
        _draw_instants(axes, rescue)
        _draw_freeze(axes, rescue, lanes, end_ms)
        axes.set(
            xlim=(-0.6, end_ms), ylim=(len(lanes) - 0.5, -0.75),
            xlabel=f"ms since frame {rescue.frame} was opened (seed {rescue.seed})",
        )  # fmt: skip
        axes.set_yticks(list(lanes.values()), [device.node for device in lanes])
        figure.legend(handles=_explained(rescue), loc="outside lower center", ncols=3)


def _ms(rescue: Rescue, instant_us: int) -> float:
    return (instant_us - rescue.opened_us) / 1000


def _draw_bar(axes: Axes, rescue: Rescue, bar: Bar, lane: int, end_ms: float) -> None:
    start_ms = _ms(rescue, bar.start_us)
    stop_ms = end_ms if bar.end_us is None else _ms(rescue, bar.end_us)
    shown = rescue.is_shown(bar.key)
    axes.barh(
        lane, stop_ms - start_ms, left=start_ms, height=HEIGHT, edgecolor="white",
        color=(ORANGE if bar.copy else SKY) if shown else PALE,
        hatch="///" if bar.end_us is None else None, alpha=0.5 if bar.end_us is None else 1.0,
    )  # fmt: skip
    if stop_ms > -0.2:
        text = str(bar.key.piece) if shown else f"f{bar.key.frame}"
        left, right = max(start_ms, -0.6), min(stop_ms, start_ms + 3.0, end_ms)
        axes.text((left + right) / 2, lane, text, ha="center", va="center", clip_on=True,
                  color=BLACK if shown else GREY, fontsize=9 if shown else 7)  # fmt: skip


def _draw_freeze(axes: Axes, rescue: Rescue, lanes: Mapping[Any, int], end_ms: float) -> None:
    """When the frozen device's time stood still, and what became of what it had."""
    lane = next(at for device, at in lanes.items() if device.node == FROZEN)
    begun = {bar.key.piece for bar in rescue.bars if bar.device.node == FROZEN}
    owed = {mark.key.piece for mark in rescue.marks if mark.what == "doubt"}
    ends, starts = (", ".join(map(str, sorted(each))) for each in (owed & begun, owed - begun))
    text = f"frozen: {ends} does not end" + (f"; {starts} never start" if starts else "")
    axes.text(end_ms - 0.2, lane, text, va="center", ha="right", fontsize=9,
              bbox={"facecolor": "white", "edgecolor": "none"})  # fmt: skip
    at_ms = _ms(rescue, rescue.frozen_us)
    axes.plot([at_ms] * 2, [lane - 0.35, lane + 0.35], color=RED, linewidth=2.5)


def _draw_marks(axes: Axes, rescue: Rescue, lanes: Mapping[Any, int]) -> None:
    """Doubts and cancellations above the lane asked first, copies above the one asked next; those
    of one instant side by side.
    """
    beside: dict[tuple[str, int, int], int] = {}
    for mark in rescue.marks:
        at_ms, lane = _ms(rescue, mark.at_us), lanes[mark.device]
        place = mark.what, lane, round(at_ms * 4)
        number = beside[place] = beside.get(place, -1) + 1
        look = {key: value for key, value in MARKS[mark.what].items() if key != "label"}
        axes.plot(at_ms + 0.5 * number, lane - 0.42, linestyle="", markersize=6, zorder=5, **look)
        if mark.what == "copy":
            _draw_way(axes, rescue, mark, lanes)


def _draw_way(axes: Axes, rescue: Rescue, copy: Mark, lanes: Mapping[Any, int]) -> None:
    """An arrow from the device in doubt to the one asked now."""
    doubted = next(m for m in rescue.marks if m.what == "doubt" and m.key == copy.key)
    at_ms = _ms(rescue, copy.at_us)
    axes.annotate(
        "", xy=(at_ms, lanes[copy.device] - 0.42), xytext=(at_ms, lanes[doubted.device] - 0.42),
        arrowprops={"arrowstyle": "->", "color": ORANGE, "linewidth": 1.0},
    )  # fmt: skip


def _draw_instants(axes: Axes, rescue: Rescue) -> None:
    for instant_us, colour, text in (
        (rescue.opened_us, GREY, "opened"),
        (rescue.frozen_us, RED, f"{FROZEN} freezes"),
        (rescue.whole_us, GREEN, "whole"),
        (rescue.deadline_us, BLACK, "deadline"),
    ):
        at_ms = _ms(rescue, instant_us)
        axes.axvline(at_ms, color=colour, linewidth=1.2, linestyle="--", zorder=0)
        axes.text(at_ms + 0.1, -0.62, text, color=colour, fontsize=9)


def _explained(rescue: Rescue) -> list[Any]:
    return [
        Patch(color=SKY, label=f"piece of frame {rescue.frame}, by number"),
        Patch(color=ORANGE, label="copy of one"),
        Patch(color=PALE, label="other sessions' frames"),
        *(Line2D([], [], linestyle="", markersize=6, **look) for look in MARKS.values()),
    ]
