"""How to cut a picture into parts of given sizes: a kd-tree beside rows and columns of it.

Random lopsided cost maps of 80 x 45 cells (1280x720), sizes all equal and drawn from 1, 2 and 4 in
turn. How far the worst part is over its size says how much later the frame is than it could be;
the length of the parts' edges is what work that is repeated at edges depends on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.report import Report, arguments
from mesh.schedule.cut import Cells, divide_line, divide_plane

ROWS, COLUMNS = 45, 80
COUNTS = (2, 4, 8, 16)

Costs = NDArray[np.float64]
Cut = Callable[[Costs, Sequence[float]], list[Cells]]


def in_rows(costs: Costs, sizes: Sequence[float]) -> list[Cells]:
    edges = divide_line(costs.sum(axis=1), sizes).tolist()
    return [(0, top, COLUMNS, bottom) for top, bottom in pairwise(edges)]


def in_columns(costs: Costs, sizes: Sequence[float]) -> list[Cells]:
    edges = divide_line(costs.sum(axis=0), sizes).tolist()
    return [(left, 0, right, ROWS) for left, right in pairwise(edges)]


CUTS: dict[str, Cut] = {"kd-tree": divide_plane, "rows": in_rows, "columns": in_columns}


def lopsided(draw: np.random.Generator) -> Costs:
    """A floor, and four hills of any height and width."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    costs = np.ones((ROWS, COLUMNS))
    for _ in range(4):
        away = (x - draw.random() * COLUMNS) ** 2 + (y - draw.random() * ROWS) ** 2
        costs += draw.random() * 20 * np.exp(-away / draw.uniform(20, 400))
    return costs


def excess(costs: Costs, parts: Sequence[Cells], sizes: Sequence[float]) -> float:
    """How many times its size the worst part is; parts that are missing make the others worse."""
    found = [costs[top:bottom, left:right].sum() for left, top, right, bottom in parts]
    shares = zip(sorted(found, reverse=True), sorted(sizes, reverse=True), strict=False)
    return max(float(part / costs.sum() / (size / sum(sizes))) for part, size in shares)


def main() -> None:
    options = arguments(__doc__)
    maps = 100 if options.quick else 1000
    draw = np.random.default_rng(1)
    rows: list[list[str | float]] = []
    report = Report("cutting", config={"maps": maps, "cells": (COLUMNS, ROWS)}, seeds=[1])
    for count in COUNTS:
        over: dict[str, list[float]] = {name: [] for name in CUTS}
        edges: dict[str, list[int]] = {name: [] for name in CUTS}
        for number in range(maps):
            costs = lopsided(draw)
            sizes = [1.0] * count if number % 2 else draw.choice([1.0, 2.0, 4.0], count).tolist()
            sizes.sort(reverse=True)
            for name, cut in CUTS.items():
                parts = cut(costs, sizes)
                over[name].append(excess(costs, parts, sizes))
                edges[name].append(sum(r - le + b - t for le, t, r, b in parts))
        for name in CUTS:
            worst = sorted(over[name])
            rows.append(
                [
                    f"{count} parts",
                    name,
                    statistics.median(worst),
                    worst[int(0.95 * maps)],
                    statistics.mean(edges[name]),
                ]
            )
        report.figure(f"kd_over_{count}", statistics.median(over["kd-tree"]))
        report.figure(f"rows_over_{count}", statistics.median(over["rows"]))
    report.table(["", "cut", "worst over its size", "p95", "edges, cells"], rows)
    began = time.perf_counter_ns()
    for _ in range(maps):
        divide_plane(costs, [1.0] * 8)
    report.figure("kd_us_8", (time.perf_counter_ns() - began) / 1000 / maps)
    report.finish(options)


if __name__ == "__main__":
    main()
