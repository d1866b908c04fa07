"""When frames arrive: gaps taken from a trace, or drawn as bursty as one, scaled to a load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import sqrt
from random import Random
from typing import Final

from mesh.core.errors import ContentRefused

DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class JobClass:
    """A kind of frame: its work on one device of speed 1, and its deadline from arrival."""

    name: str
    work_us: int
    deadline_us: int


@dataclass(frozen=True, slots=True)
class Job:
    """One frame that arrives. `number` counts them from 0."""

    number: int
    at_us: int
    job_class: JobClass


def read_gaps(lines: Iterable[str]) -> list[float]:
    """Times between requests in seconds, from a CSV whose first column is `date hh:mm:ss.f`.

    The format of the Azure LLM inference traces (2023), header included. Raises ContentRefused.
    """
    instants: list[float] = []
    for number, line in enumerate(lines):
        if number == 0 or not line.strip():
            continue
        stamp = line.split(",", 1)[0]
        try:
            hours, minutes, seconds = stamp.split(" ")[1].split(":")
            instants.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
        except (IndexError, ValueError) as problem:
            raise ContentRefused(
                what=f"line {number + 1} of the trace is refused",
                why=f"it begins with {stamp[:40]!r}, which is no date and time",
                fix="Give a CSV whose first column is a date and a time, below one header line.",
            ) from problem
    return [(later - sooner) % DAY_S for sooner, later in pairwise(instants)]


def draw_gaps(chance: Random, count: int, variation: float) -> list[float]:
    """Independent times between arrivals with mean 1 and that coefficient of variation, >= 1.

    Two exponential phases with balanced means, the usual stand-in for bursty traffic (Whitt,
    "Approximating a point process by a renewal process", Operations Research 30(1), 1982).
    """
    square = variation * variation
    likely = 0.5 * (1.0 + sqrt((square - 1.0) / (square + 1.0)))
    rates = (2.0 * likely, 2.0 * (1.0 - likely))
    return [chance.expovariate(rates[chance.random() >= likely]) for _ in range(count)]


def variation_of(gaps: Sequence[float]) -> float:
    """Coefficient of variation: standard deviation over mean."""
    mean = sum(gaps) / len(gaps)
    return sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean


def arrivals(
    gaps: Sequence[float],
    classes: Sequence[JobClass],
    weights: Sequence[float],
    *,
    work_per_us: float,
    chance: Random,
    count: int | None = None,
) -> list[Job]:
    """Frames that come at these gaps, stretched so that they bring that much work on average.

    work_per_us: of devices of speed 1, so load times their number. count: of frames, from a place
    in the trace drawn by chance; None for all of them in order. Classes are drawn by weight.
    """
    if count is not None:
        first = chance.randrange(len(gaps))
        gaps = [gaps[(first + index) % len(gaps)] for index in range(count)]
    drawn = chance.choices(classes, weights, k=len(gaps))
    stretch = sum(job.work_us for job in drawn) / work_per_us / sum(gaps)
    instants = accumulate(gap * stretch for gap in gaps)
    return [
        Job(number, round(at_us), job_class)
        for number, (at_us, job_class) in enumerate(zip(instants, drawn, strict=True))
    ]
