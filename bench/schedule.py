"""Whose frames come in time: the schedule beside published and plain policies, on one set of
arrivals in virtual time.

Frames of four classes arrive with the gaps of two recorded traces, scaled to a load: conversation
(nearly Poisson) and code (bursts). On time means: all of it at the gateway before its deadline;
what is refused, dropped or skipped is missed. Every policy gets the same frames, the same mean
costs, noise and cost per start. The others also get a network that takes no time and know the
mean costs; ours (mesh.schedule, in mesh.sim) has links of 0.2 ms and measures.

bench.stragglers adds its figures of hedging.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean

from bench.policies.central import (
    NOISE,
    PIECES,
    POLICIES,
    QUANTUM_US,
    START_US,
    WHOLE,
    Central,
    Costs,
    Policy,
)
from bench.policies.ours import serve
from bench.report import Report, arguments
from bench.stragglers import SECONDS, hedging
from mesh.core.workload import Rung
from mesh.sim.arrivals import Job, JobClass, arrivals, draw_gaps, read_gaps

ROOT = Path(__file__).resolve().parent.parent
CLASSES = (
    JobClass("VR", 6_000, 11_100),
    JobClass("game", 9_000, 33_300),
    JobClass("LiDAR", 22_000, 100_000),
    JobClass("bench", 60_000, 1_000_000),
)
# Coefficient of variation of the traces' gaps, for where they are absent, and their lengths.
TRACES = {"conv": (1.09, 19_365), "code": (13.15, 8_818)}
FLEETS = {
    "4 equal": (1.0,) * 4,
    "2 mixed": (1.5, 0.75),
    "4 mixed": (2.0, 1.0, 0.75, 0.5),
    "16 mixed": (2.0, 1.5, 1.0, 0.75) * 4,
}
LOADS = (0.5, 0.7, 0.9, 1.0, 1.1, 1.3)
LADDER = (Rung(1.0, 1.0), Rung(0.6, 0.8), Rung(0.35, 0.5))
OURS, CLOCKWORK, CLOCKWORK_PIECES = "ours", "Clockwork-like", "Clockwork-like on pieces"

Missed = Mapping[str, tuple[int, int]]  # by class: missed, of how many


def gaps_of(trace: str) -> list[float]:
    """The trace's gaps; without the file, synthetic ones that vary as much."""
    folder = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data") / "traces"
    path = folder / f"AzureLLMInferenceTrace_{trace}.csv"
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            return read_gaps(lines)
    variation, count = TRACES[trace]
    return draw_gaps(Random(trace), count, variation)


def jobs_of(
    gaps: Sequence[float], load: float, speeds: Sequence[float], seed: int, count: int | None
) -> list[Job]:
    """Frames of all classes in equal numbers."""
    return arrivals(
        gaps,
        CLASSES,
        [1.0] * len(CLASSES),
        work_per_us=load * sum(speeds),
        chance=Random(f"{seed}/arrivals"),
        count=count,
    )


def by_class(jobs: Sequence[Job], missed: set[int]) -> dict[str, tuple[int, int]]:
    """How many of each class were missed, and how many there were."""
    return {
        each.name: (
            sum(job.number in missed for job in jobs if job.job_class is each),
            sum(job.job_class is each for job in jobs),
        )
        for each in CLASSES
    }


def contestants(quick: bool) -> list[tuple[str, Policy, Costs]]:
    """The others. On pieces, only what answers whether pieces alone would do."""
    whole = [(policy.name, policy, WHOLE) for policy in POLICIES]
    clockwork = next(policy for policy in POLICIES if policy.name == CLOCKWORK)
    return [*(whole[3:4] if quick else whole), (CLOCKWORK_PIECES, clockwork, PIECES)]


class Tally:
    """Missed frames over the seeds, by policy and class."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[int]]] = {}

    def add(self, policy: str, result: Missed) -> None:
        sums = self._sums.setdefault(policy, {each.name: [0, 0] for each in CLASSES})
        for name, (missed, count) in result.items():
            sums[name][0] += missed
            sums[name][1] += count

    def pct(self, policy: str, name: str | None = None) -> float:
        """Missed percent of one class, or of all frames."""
        sums = self._sums[policy]
        chosen = [sums[name]] if name is not None else list(sums.values())
        return 100.0 * sum(m for m, _ in chosen) / max(1, sum(n for _, n in chosen))

    @property
    def policies(self) -> list[str]:
        return list(self._sums)


def compare(
    trace: str, fleet: str, load: float, seeds: Sequence[int], count: int | None, quick: bool
) -> tuple[Tally, float]:
    """Every policy on the same arrivals; and ours' frames on time per second."""
    gaps, speeds, tally, goodput = gaps_of(trace), FLEETS[fleet], Tally(), []
    for seed in seeds:
        jobs = jobs_of(gaps, load, speeds, seed, count)
        for name, policy, costs in contestants(quick):
            missed = Central(policy, costs, speeds, seed).run(jobs)
            tally.add(name, by_class(jobs, missed))
        missed = serve(jobs, PIECES, speeds, seed).missed
        tally.add(OURS, by_class(jobs, missed))
        goodput.append((len(jobs) - len(missed)) / (jobs[-1].at_us / 1e6))
    return tally, fmean(goodput)


def show(report: Report, title: str, tally: Tally) -> None:
    """One table: missed percent by policy."""
    names = [each.name for each in CLASSES]
    print(f"\n{title}: missed %")
    report.table(
        ["policy", "all", *names],
        [
            [policy, tally.pct(policy), *(tally.pct(policy, name) for name in names)]
            for policy in tally.policies
        ],
    )


def ladder_table(report: Report, seeds: Sequence[int], count: int, loads: Sequence[float]) -> None:
    """With a degrade ladder, apart from all else: frames on time at any rung, and their quality."""
    speeds = FLEETS["4 equal"]
    rows: list[list[str | float]] = []
    for load in loads:
        missed = frames = 0
        quality: list[float] = []
        for seed in seeds:
            jobs = jobs_of(gaps_of("conv"), load, speeds, seed, count)
            outcome = serve(jobs, PIECES, speeds, seed, LADDER)
            missed, frames = missed + len(outcome.missed), frames + len(jobs)
            quality += outcome.quality.values()
        rows.append([f"{load}", 100.0 * (frames - missed) / frames, fmean(quality)])
    print("\nconv, 4 equal workers, with a ladder of", ", ".join(map(str, LADDER)))
    report.table(["load", "on time % at any rung", "mean quality"], rows)


# --- all ------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    options = arguments(__doc__, parser=parser)
    quick = options.quick
    seeds = list(range(1, 2 if quick else options.seeds + 1))
    counts = {"conv": 2_000 if quick else 6_000, "code": 3_000 if quick else None}
    report = Report(
        "schedule",
        config={"start_us": START_US, "noise": NOISE, "quantum_us": QUANTUM_US, "counts": counts},
        seeds=seeds,
    )
    fleets = ["4 equal"] if quick else list(FLEETS)
    goodput: dict[float, float] = {}
    for fleet in fleets:
        for trace in TRACES:
            loads = LOADS if not quick else (0.9, 1.0, 1.3) if trace == "conv" else (0.9,)
            for load in loads:
                tally, rate = compare(trace, fleet, load, seeds, counts[trace], quick)
                show(report, f"{trace}, {fleet} workers, load {load}", tally)
                if fleet != "4 equal":
                    continue
                if trace == "conv":
                    goodput[load] = rate
                if load == 0.9:
                    keep(report, trace, tally)
    report.figure("goodput_1_3_to_1_0", goodput[1.3] / goodput[1.0])
    ladder_table(report, seeds, 3_000 if quick else 6_000, (1.3,) if quick else LOADS)
    hedging(report, seeds, 12 if quick else SECONDS)
    report.finish(options)


def keep(report: Report, trace: str, tally: Tally) -> None:
    """The figures at load 0.9."""
    report.figure(f"miss_to_clockwork_{trace}_0_9", tally.pct(OURS) / tally.pct(CLOCKWORK))
    if trace == "conv":
        report.figure("vr_miss_pct_conv_0_9", tally.pct(OURS, "VR"))
    else:
        worst = max(
            tally.pct(OURS, each.name) / max(tally.pct(CLOCKWORK, each.name), 0.01)
            for each in CLASSES
        )
        report.figure("worst_class_to_clockwork_code_0_9", worst)


if __name__ == "__main__":
    main()
