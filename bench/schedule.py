"""Whose frames come in time: the schedule beside published and plain policies, on one set of
arrivals in virtual time.

Frames of four classes arrive with the gaps of two recorded traces, scaled to a load: conversation
(nearly Poisson) and code (bursts). On time means: all of it at the gateway before its deadline;
what is refused, dropped or skipped is missed. Every policy gets the same frames, the same mean
costs, noise and cost per start. The others also get a network that takes no time and know the
mean costs; ours (mesh.schedule, in mesh.sim) has links of 0.2 ms and measures.

bench.stragglers adds its figures of hedging. Runs are spread over the cores; in full they take
a quarter of an hour on two. --figures DIR draws what docs/scheduling.md shows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path

from bench.figures import calibration, rescue
from bench.policies.central import NOISE, QUANTUM_US, START_US
from bench.policies.contest import (
    CLASSES,
    CLOCKWORK,
    CLOCKWORK_PIECES,
    FLEETS,
    OURS,
    TRACES,
    Cell,
    Contest,
    Result,
    Tally,
    play,
    play_ours,
)
from bench.report import Report, arguments
from bench.stragglers import SECONDS, hedging
from mesh.core.workload import Rung

EQUAL = "4 equal"
LOADS = (0.5, 0.7, 0.9, 1.0, 1.1, 1.3)  # of the equal workers
MIXED_LOADS = (0.7, 0.9, 1.1)
LADDER_LOADS = (0.9, 1.1, 1.3)
LADDER = (Rung(1.0, 1.0), Rung(0.6, 0.8), Rung(0.35, 0.5))
JUDGED = 0.9  # the load whose figures are kept

# Frames per run, by trace; None for the whole of it. Sixteen workers are done with 2,500 frames in
# three seconds, of which bench jobs may take one: no time to be overloaded.
FEW: dict[str, int | None] = {"conv": 2_500, "code": 3_000}
MANY: dict[str, int | None] = {"conv": 6_000, "code": 6_000}
COUNTS = {EQUAL: {**MANY, "code": None}, "2 mixed": FEW, "4 mixed": FEW, "16 mixed": MANY}
FEWEST: dict[str, int | None] = {"conv": 2_000, "code": 3_000}  # for a quick look


# --- what is run ----------------------------------------------------------------------------------


def cells(quick: bool) -> list[Cell]:
    """Every fleet, trace and load."""
    if quick:
        return [*(Cell("conv", EQUAL, load) for load in (0.9, 1.0, 1.3)), Cell("code", EQUAL, 0.9)]
    return [
        Cell(trace, fleet, load)
        for fleet in FLEETS
        for trace in TRACES
        for load in (LOADS if fleet == EQUAL else MIXED_LOADS)
    ]


def contests(planned: Iterable[Cell], seeds: Sequence[int], quick: bool) -> list[Contest]:
    """Each cell with each seed, a cell's next to each other."""
    return [
        Contest(cell, seed, (FEWEST if quick else COUNTS[cell.fleet])[cell.trace])
        for cell in planned
        for seed in seeds
    ]


def tallies(
    pool: Executor, run: Callable[[Contest], Result], planned: Sequence[Contest]
) -> Iterator[tuple[Cell, Tally]]:
    """Run the contests, and sum up each cell as soon as all of it is there."""
    both = zip(planned, pool.map(run, planned), strict=True)
    for cell, group in groupby(both, key=lambda pair: pair[0].cell):
        yield cell, Tally([result for _, result in group])


# --- what is shown --------------------------------------------------------------------------------


def show(report: Report, cell: Cell, tally: Tally) -> None:
    """One table: missed percent by policy."""
    names = [each.name for each in CLASSES]
    print(f"\n{cell.trace}, {cell.fleet} workers, load {cell.load}: missed %")
    report.table(
        ["policy", "all", *names],
        [
            [policy, tally.pct(policy), *(tally.pct(policy, name) for name in names)]
            for policy in tally.policies
        ],
    )


def show_ladder(report: Report, results: Iterable[tuple[Cell, Tally]]) -> None:
    """With a degrade ladder, apart from all else: frames on time at any rung, and their quality."""
    rungs = ", ".join(f"{rung.quality:g} for {rung.cost:g} of the work" for rung in LADDER)
    rows: list[list[str | float]] = [
        [f"{cell.load}", 100.0 - tally.pct(OURS), tally.quality] for cell, tally in results
    ]
    print(f"\nconv, {EQUAL} workers, with a ladder of qualities: {rungs}")
    report.table(["load", "on time % at any rung", "mean quality"], rows)


def keep(report: Report, results: Mapping[Cell, Tally]) -> None:
    """The figures that are judged."""
    for trace in TRACES:
        tally = results[Cell(trace, EQUAL, JUDGED)]
        others = [policy for policy in tally.policies if policy != OURS]
        report.figure(f"miss_to_clockwork_{trace}_0_9", tally.ratio(CLOCKWORK))
        report.figure(f"miss_to_clockwork_pieces_{trace}_0_9", tally.ratio(CLOCKWORK_PIECES))
        report.figure(f"miss_to_best_other_{trace}_0_9", max(map(tally.ratio, others)))
    conv, code = (results[Cell(trace, EQUAL, JUDGED)] for trace in ("conv", "code"))
    report.figure("vr_miss_pct_conv_0_9", conv.pct(OURS, "VR"))
    worst = max(code.ratio(CLOCKWORK, each.name) for each in CLASSES)
    report.figure("worst_class_to_clockwork_code_0_9", worst)
    per_s = {load: results[Cell("conv", EQUAL, load)].ours_per_s for load in (1.0, 1.3)}
    report.figure("goodput_1_3_to_1_0", per_s[1.3] / per_s[1.0])


# --- figures --------------------------------------------------------------------------------------


def curves(results: Mapping[Cell, Tally], trace: str) -> dict[str, list[tuple[float, float]]]:
    """Load and missed percent by policy, on the equal workers."""
    found: dict[str, list[tuple[float, float]]] = {}
    for cell, tally in results.items():
        if cell[:2] == (trace, EQUAL):
            for policy in tally.policies:
                found.setdefault(policy, []).append((cell.load, tally.pct(policy)))
    return found


def draw(folder: Path, results: Mapping[Cell, Tally], seeds: Sequence[int]) -> None:
    """The figures of docs/scheduling.md. Needs matplotlib (the extra `bench`)."""
    from bench.figures import drawing  # noqa: PLC0415  matplotlib only where it is wanted

    folder.mkdir(parents=True, exist_ok=True)
    titles = {"conv": "conversation trace", "code": "code trace (bursts)"}
    drawing.draw_misses(
        folder / "schedule-misses.svg",
        {title: curves(results, trace) for trace, title in titles.items()},
        OURS,
    )
    drawing.draw_calibration(
        folder / "schedule-calibration.svg",
        {noise.name: calibration.covered(noise, seeds) for noise in calibration.NOISES},
    )
    drawing.draw_rescue(folder / "schedule-rescue.svg", rescue.find())


# --- all ------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5, help="of the full run")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw the figures there too")
    options = arguments(__doc__, parser=parser)
    quick, seeds = options.quick, range(1, 2 if options.quick else options.seeds + 1)
    report = Report(
        "schedule",
        config={
            "start_us": START_US,
            "noise": NOISE,
            "quantum_us": QUANTUM_US,
            "counts": FEWEST if quick else COUNTS,
        },
        seeds=seeds,
    )
    spawn = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=spawn) as pool:
        results: dict[Cell, Tally] = {}
        for cell, tally in tallies(pool, play, contests(cells(quick), seeds, quick)):
            results[cell] = tally
            show(report, cell, tally)
        ladder = [
            Cell("conv", EQUAL, load) for load in (LADDER_LOADS[-1:] if quick else LADDER_LOADS)
        ]
        climbs = [Contest(cell, seed, FEW["conv"]) for cell in ladder for seed in seeds]
        show_ladder(report, tallies(pool, partial(play_ours, ladder=LADDER), climbs))
    keep(report, results)
    hedging(report, seeds, SECONDS // 5 if quick else SECONDS)
    if options.figures is not None:
        draw(options.figures, results, seeds)
    report.finish(options)


if __name__ == "__main__":
    main()
