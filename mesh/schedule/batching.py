"""Which waiting pieces run together in one call of their executor. Pure.

A model costs something for each call, whatever it is given, and something for each piece. Together
pieces take less of the device than one after another, and each of them longer. So a batch is
formed only where nobody pays for that with its deadline (as Clipper, Nexus and Clockwork bound
theirs: Crankshaw et al., NSDI 2017; Shen et al., SOSP 2019; Gujarati et al., OSDI 2020):

* what starts is always the first in order of service; others of its model join in that order,
* while the predicted time of all together, at a high quantile, meets the deadline of every member,
* and delays nobody past its deadline who is ahead of one that joins but not of the model;
* and is within the quantum of every member (mesh.schedule.quantum): a batch is not interrupted
  either, and must not block those with tighter deadlines that are still to come;
* those behind the last member start no later than if all had run one after another.

It is formed when the device is free, of what waits then: nothing is held back in the hope of
company. Run times are learnt for each number of pieces. A number that never ran is tried where
even its pieces one after another would be on time; from two known ones on, one more piece is
predicted along the straight line through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from mesh.core.workload import MAX_BATCH
from mesh.schedule.cost import HIGH, TYPICAL, CostModel, RunCost
from mesh.schedule.ids import DeviceKey

if TYPE_CHECKING:
    from mesh.schedule.queue import Waiting

LOOK: Final = 32  # waiting pieces, in order of service, among which companions are sought
GAIN: Final = 0.95  # one more piece must cost less than such a part of what it costs alone
TRIES: Final = 8  # runs before it is believed that a number of pieces saves nothing


class BatchCosts:
    """Run times on one device, by kind and number of pieces, kept in a cost model."""

    def __init__(self, costs: CostModel, device: DeviceKey) -> None:
        self._costs = costs
        self._device = device

    def observe(self, kind: str, units: Sequence[float], run_us: int) -> None:
        """Pieces of these units ran together for `run_us`; one alone counts too."""
        total = sum(units)
        self._costs.observe(self._device, _sized(kind, len(units)), total, run_us)
        for each in units:
            self._costs.observe(self._device, _shared(kind), each, share_us(run_us, each, total))

    def shared_us(self, kind: str, units: float) -> int:
        """What such a piece adds to the device's work, by how many it has lately run with."""
        return self._costs.predict_us(self._device, _shared(kind), units)

    def run_us(self, kind: str, count: int, units: float, quantile: float) -> float:
        """Run time of so many pieces together, `units` in all; infinite while nothing is known."""
        run = self._known(kind, count)
        if run is not None:
            return run.quantile(quantile) * units
        one = self._known(kind, 1)
        if one is None:
            return inf
        each = units / count
        one_us = one.quantile(quantile) * each
        fewer, known = next(
            (n, run) for n in range(count - 1, 0, -1) if (run := self._known(kind, n)) is not None
        )
        fewer_us = known.quantile(quantile) * each * fewer
        if fewer == count - 1 and fewer > 1:
            return fewer_us + max(0.0, fewer_us - one_us) / (fewer - 1)
        return fewer_us + (count - fewer) * one_us

    def saves(self, kind: str, count: int, units: float) -> bool:
        """Whether the last of so many pieces costs less than alone, or that is still to be seen."""
        run = self._known(kind, count)
        if run is None or run.observed < TRIES:
            return True
        each = units / count
        fewer_us = self.run_us(kind, count - 1, units - each, TYPICAL)
        alone_us = self.run_us(kind, 1, each, TYPICAL)
        return run.quantile(TYPICAL) * units - fewer_us < GAIN * alone_us

    def _known(self, kind: str, count: int) -> RunCost | None:
        return self._costs.run_cost(self._device, _sized(kind, count))


@dataclass(frozen=True, slots=True)
class Batch:
    """What joins the piece that starts, in order of service; none if it runs alone.

    run_us: typical time for all of them.
    """

    others: tuple[Waiting, ...]
    run_us: int


def companions(head: Waiting, others: Sequence[Waiting], now_us: int, costs: BatchCosts) -> Batch:
    """Who runs with `head`, which starts now. others: what else waits, in order of service."""
    kind, units, due_us = head.kind, head.units, _due_us(head, now_us)
    batch = Batch((), head.predicted_us)
    for place, candidate in enumerate(others[:LOOK]):
        if candidate.batch != head.batch:
            continue
        count, together = len(batch.others) + 2, units + candidate.units
        if count > MAX_BATCH or not costs.saves(kind, count, together):
            break
        ends_us = now_us + costs.run_us(kind, count, together, HIGH)
        due_with_us = min(due_us, _due_us(candidate, now_us))
        if ends_us > due_with_us or _delays(head, others[:place], batch.others, ends_us, now_us):
            continue
        units, due_us = together, due_with_us
        run_us = round(costs.run_us(kind, count, together, TYPICAL))
        batch = Batch((*batch.others, candidate), run_us)
    return batch


def _due_us(member: Waiting, now_us: int) -> int:
    """When a batch that starts now must have ended for a member's sake, and for its quantum's."""
    quantum_us = member.quantum_us
    return min(member.deadline_us, now_us + quantum_us) if quantum_us else member.deadline_us


def _delays(
    head: Waiting,
    ahead: Sequence[Waiting],
    members: Sequence[Waiting],
    ends_us: float,
    now_us: int,
) -> bool:
    """Whether a batch that ends at `ends_us` makes anybody late who waits ahead of its last piece.

    ahead: they, in order of service, with the members so far among them.
    """
    joined = {id(member) for member in members}
    with_us: float = ends_us
    without_us = now_us + head.predicted_us
    for waiting in ahead:
        without_us += waiting.predicted_us
        if id(waiting) in joined:
            continue
        with_us += waiting.predicted_us
        if without_us <= waiting.deadline_us < with_us:
            return True
    return False


def share_us(run_us: int, units: float, total: float) -> int:
    """What one piece of a batch took of its run time."""
    return round(run_us * units / total) if total > 0 else run_us


def _sized(kind: str, count: int) -> str:
    """The cost model's name for so many pieces of a kind."""
    return kind if count == 1 else f"{kind} x{count}"


def _shared(kind: str) -> str:
    return f"{kind} shared"
