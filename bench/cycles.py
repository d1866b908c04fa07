"""What became of the frames that were due, pictures and sweeps alike. Pure.

A *cycle* is a frame that was due: an instant of a picture's clock, or a sweep. It is on time if the
client had all of it before its deadline, which counts from where the gateway opened the frame.
Whatever else became of it is a miss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any


class Fate(StrEnum):
    """What became of a frame that was due."""

    ON_TIME = "on time"
    FILLED = "filled"  # a tile is of the frame before, or a sector is missing
    LATE = "late"  # whole, but after its deadline
    LOST = "lost"  # opened, and it never came
    REFUSED = "refused"  # never opened: an instant skipped, a sweep not taken


@dataclass(frozen=True, slots=True)
class Cycle:
    """One frame that was due.

    due_us: when it was opened, or should have been. took_us: from its opening until the client
    had all of it, for those that came. stages: microseconds by name, the gateway's. pieces: for
    each that was made, its maker, how long it waited in the device's queue, and how long it ran.
    """

    due_us: int
    fate: Fate
    took_us: int = 0
    stages: Mapping[str, int] = field(default_factory=dict)
    pieces: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Wrongs:
    """What must never happen, counted."""

    wrong: int = 0  # a sweep's result that differs from one node's; a picture without its number
    repeated: int = 0
    backwards: int = 0

    def __add__(self, other: Wrongs) -> Wrongs:
        return Wrongs(
            *(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True))
        )

    @property
    def any(self) -> bool:
        """Whether anything did."""
        return self != Wrongs()


def out_of_order(numbers: Sequence[int]) -> Wrongs:
    """Repetitions and steps back in what should rise strictly."""
    steps = list(pairwise(numbers))
    return Wrongs(
        repeated=sum(a == b for a, b in steps),
        backwards=sum(a > b for a, b in steps),
    )


def judge(facts: Mapping[str, Any], received_us: int | None, deadline_ms: int) -> Cycle:
    """The cycle of a frame whose facts came. received_us: when the client had it, None if never."""
    took_us = received_us - facts["opened_us"] if received_us is not None else 0
    if received_us is None:
        fate = Fate.LOST
    elif facts["filled"]:
        fate = Fate.FILLED
    else:
        fate = Fate.ON_TIME if took_us <= deadline_ms * 1000 else Fate.LATE
    makers = facts["makers"]
    pieces = tuple(
        (makers[maker], queue_us, run_us)
        for *_, maker, queue_us, run_us in facts["pieces"]
        if maker >= 0
    )
    return Cycle(facts["opened_us"], fate, took_us, facts["stages"], pieces)


def with_skipped(cycles: Sequence[Cycle], period_us: int) -> list[Cycle]:
    """The cycles of a clocked session, and those at instants at which none was opened."""
    every: list[Cycle] = []
    for cycle in sorted(cycles, key=lambda cycle: cycle.due_us):
        if every:
            last_us = every[-1].due_us
            for step in range(1, round((cycle.due_us - last_us) / period_us)):
                every.append(Cycle(last_us + step * period_us, Fate.REFUSED))
        every.append(cycle)
    return every


def between(cycles: Iterable[Cycle], from_us: int, until_us: int) -> list[Cycle]:
    """Those due in a stretch of time."""
    return [cycle for cycle in cycles if from_us <= cycle.due_us < until_us]


def miss_pct(cycles: Sequence[Cycle]) -> float:
    """The share that was not on time, in percent."""
    return 100.0 * sum(c.fate is not Fate.ON_TIME for c in cycles) / max(1, len(cycles))
