"""One contest: frames of four classes arrive at a fleet, and every policy serves the same ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple, TypeAlias

from bench.policies.central import PIECES, POLICIES, WHOLE, Central
from bench.policies.ours import serve
from mesh.core.workload import FULL_QUALITY, Rung
from mesh.sim.arrivals import Job, JobClass, arrivals, draw_gaps, read_gaps

ROOT = Path(__file__).resolve().parent.parent.parent
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
OURS, CLOCKWORK, CLOCKWORK_PIECES = "ours", "Clockwork-like", "Clockwork-like on pieces"
# On pieces, besides ours, only what answers whether pieces alone would do.
OTHERS = (
    *((policy.name, policy, WHOLE) for policy in POLICIES),
    *((CLOCKWORK_PIECES, policy, PIECES) for policy in POLICIES if policy.name == CLOCKWORK),
)

Missed: TypeAlias = Mapping[str, tuple[int, int]]  # by class: missed, of how many


class Cell(NamedTuple):
    """What one row of a table is about."""

    trace: str
    fleet: str
    load: float


@dataclass(frozen=True, slots=True)
class Contest:
    """count: of frames, from a place in the trace drawn by chance; None for all of them."""

    cell: Cell
    seed: int
    count: int | None = None

    def jobs(self) -> list[Job]:
        """Frames of all classes in equal numbers, as many as the fleet is worth times the load."""
        return arrivals(
            gaps_of(self.cell.trace),
            CLASSES,
            [1.0] * len(CLASSES),
            work_per_us=self.cell.load * sum(FLEETS[self.cell.fleet]),
            chance=Random(f"{self.seed}/arrivals"),
            count=self.count,
        )


@dataclass(frozen=True, slots=True)
class Result:
    """missed: by policy. ours_per_s: frames on time per second under our schedule. quality: mean
    of those frames.
    """

    missed: Mapping[str, Missed]
    ours_per_s: float
    quality: float


def gaps_of(trace: str) -> list[float]:
    """The trace's gaps; without the file, synthetic ones that vary as much."""
    folder = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data") / "traces"
    path = folder / f"AzureLLMInferenceTrace_{trace}.csv"
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            return read_gaps(lines)
    variation, count = TRACES[trace]
    return draw_gaps(Random(trace), count, variation)


def play(contest: Contest) -> Result:
    """Every policy on the same arrivals."""
    jobs, speeds = contest.jobs(), FLEETS[contest.cell.fleet]
    missed = {
        name: by_class(jobs, Central(policy, costs, speeds, contest.seed).run(jobs))
        for name, policy, costs in OTHERS
    }
    ours = play_ours(contest)
    return Result({**missed, **ours.missed}, ours.ours_per_s, ours.quality)


def play_ours(contest: Contest, ladder: tuple[Rung, ...] = FULL_QUALITY) -> Result:
    """Our schedule alone, with or without a degrade ladder."""
    jobs, speeds = contest.jobs(), FLEETS[contest.cell.fleet]
    outcome = serve(jobs, PIECES, speeds, contest.seed, ladder)
    on_time = len(jobs) - len(outcome.missed)
    return Result(
        {OURS: by_class(jobs, outcome.missed)},
        on_time / (jobs[-1].at_us / 1e6),
        fmean(outcome.quality.values()) if outcome.quality else 0.0,
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


@dataclass(slots=True)
class Tally:
    """The results of one cell over its seeds."""

    results: list[Result] = field(default_factory=list)

    @property
    def policies(self) -> list[str]:
        """In the order they were played."""
        return list(dict.fromkeys(name for result in self.results for name in result.missed))

    def pct(self, policy: str, name: str | None = None) -> float:
        """Missed percent of one class, or of all frames."""
        counts = [
            count
            for result in self.results
            for each, count in result.missed[policy].items()
            if name in {None, each}
        ]
        return 100.0 * sum(m for m, _ in counts) / max(1, sum(n for _, n in counts))

    def ratio(self, policy: str, name: str | None = None) -> float:
        """What ours misses, relative to another; 0.01 % stands in for less than that."""
        return self.pct(OURS, name) / max(self.pct(policy, name), 0.01)

    @property
    def ours_per_s(self) -> float:
        """Frames on time per second under our schedule."""
        return fmean(result.ours_per_s for result in self.results)

    @property
    def quality(self) -> float:
        """Mean quality of those frames."""
        return fmean(result.quality for result in self.results)
