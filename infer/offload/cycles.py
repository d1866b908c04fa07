"""When a cycle is answered, and with what: exactly once, by its deadline. Pure.

A cycle is one sweep that wants an answer. There are three, in order of preference: *remote*, by the
mesh; *local*, by a small pipeline of the vehicle's own; *extrapolated*, from what was known before.
The last is always there, so no cycle is without an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from infer.offload.estimate import Estimate

Mark: TypeAlias = Literal["remote", "local", "extrapolated"]

LATE_KEPT = 0.98  # of the worst lateness of our own timers, from one cycle to the next
MARGIN_MOST = 0.5  # of a cycle's time


@dataclass(frozen=True, slots=True)
class Give:
    """Answer the cycle now. It is the only answer that it gets."""

    cycle: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class StartLocal:
    """Have the local pipeline look at the cycle's sweep."""

    cycle: int


@dataclass(frozen=True, slots=True)
class StopLocal:
    """Nobody needs what the local pipeline is at."""

    cycle: int


Decision: TypeAlias = Give | StartLocal | StopLocal


@dataclass(slots=True)
class _Cycle:
    opened_us: int
    deadline_us: int
    foreseen_us: int | None = None  # when a remote answer should be here; None: it will not
    remote: bool = False
    local: bool = False
    tried: bool = False  # the local pipeline was asked, or could not be


class Cycles:
    """The open cycles of one vehicle. Tell it what happens, and `poll` when `wake_us` says.

    An answer is due a margin before the deadline: what waits for it needs time to hear of it, and
    so does whoever polls. The margin is at least `margin_us`, and more where polls come late.

    local: how long the local pipeline takes, kept up to date here.
    """

    def __init__(self, margin_us: int) -> None:
        self.local = Estimate()
        self._least_margin_us = margin_us
        self._late_us = 0.0  # the worst of the last polls
        self._promised_us: int | None = None  # when the next was due
        self._cycles: dict[int, _Cycle] = {}
        self._local_ready = False
        self._running: int | None = None  # the cycle that the local pipeline is at
        self._started_us = 0

    # --- what happens ----------------------------------------------------------------------

    def open(self, cycle: int, deadline_us: int, now_us: int) -> None:
        """A sweep was taken. cycle: above all before."""
        self._late_us *= LATE_KEPT
        self._cycles[cycle] = _Cycle(now_us, deadline_us)

    def foresee(self, cycle: int, finish_us: int | None) -> None:
        """A remote answer should be here by then; None: nobody is at it, or not any more."""
        if cycle in self._cycles:
            self._cycles[cycle].foreseen_us = finish_us

    def remote_came(self, cycle: int) -> None:
        """A remote answer is here. One for a cycle that was answered changes nothing."""
        if cycle in self._cycles:
            self._cycles[cycle].remote = True

    def local_up(self, ready: bool) -> None:
        """The local pipeline can be asked, or cannot: its process is gone."""
        self._local_ready = ready

    def local_came(self, cycle: int, now_us: int) -> None:
        """The local pipeline has looked at the cycle's sweep."""
        self._local_ended(now_us)
        if cycle in self._cycles:
            self._cycles[cycle].local = True

    def local_failed(self, now_us: int) -> None:
        """The local pipeline has no answer to what it was asked."""
        self._running = None

    def _local_ended(self, now_us: int) -> None:
        if self._running is not None:
            self.local.observe(now_us - self._started_us)
        self._running = None

    # --- what follows ----------------------------------------------------------------------

    def poll(self, now_us: int) -> list[Decision]:
        """What is to be done now, in this order."""
        if self._promised_us is not None:
            self._late_us = max(self._late_us, now_us - self._promised_us)
        decided: list[Decision] = []
        for number, cycle in list(self._cycles.items()):
            mark = self._mark(cycle, now_us)
            if mark is not None:
                del self._cycles[number]
                decided.append(Give(number, mark))
                if self._running == number and mark == "remote":
                    decided.append(StopLocal(number))
            elif self._may_start(cycle, now_us):
                self._start(number, now_us)
                decided.append(StartLocal(number))
        self._promised_us = self.wake_us()
        return decided

    def wake_us(self) -> int | None:
        """When to poll next, if nothing happens; None: no cycle is open."""
        return min(map(self._wake_us, self._cycles.values()), default=None)

    def answer_by_us(self, cycle: int) -> int | None:
        """When the cycle's answer is due; None if it was given."""
        found = self._cycles.get(cycle)
        return self._due_us(found) if found is not None else None

    def _wake_us(self, cycle: _Cycle) -> int:
        due_us, start_us = self._due_us(cycle), self._start_us(cycle)
        if cycle.tried or start_us is None or not self._local_free():
            return due_us
        return min(due_us, start_us)

    def _due_us(self, cycle: _Cycle) -> int:
        most_us = MARGIN_MOST * (cycle.deadline_us - cycle.opened_us)
        margin_us = min(max(self._least_margin_us, 2 * self._late_us), most_us)
        return cycle.deadline_us - round(margin_us)

    def _start_us(self, cycle: _Cycle) -> int | None:
        """The latest safe instant to ask the local pipeline; None where that is not known."""
        takes_us = self.local.high_us
        return None if takes_us is None else self._due_us(cycle) - takes_us

    def _mark(self, cycle: _Cycle, now_us: int) -> Mark | None:
        due = now_us >= self._due_us(cycle)
        if cycle.remote:
            return "remote"
        if cycle.local and (due or cycle.foreseen_us is None):
            return "local"  # else there may be a better one until it is due
        return "extrapolated" if due else None

    def _hopeful(self, cycle: _Cycle, now_us: int) -> bool:
        """Whether a remote answer should still be here when it is due."""
        finish_us = cycle.foreseen_us
        return finish_us is not None and now_us < finish_us <= self._due_us(cycle)

    def _local_free(self) -> bool:
        return self._local_ready and self._running is None

    def _may_start(self, cycle: _Cycle, now_us: int) -> bool:
        """Whether now is when to ask the local pipeline: at once if nobody else is at it."""
        if cycle.tried or cycle.remote or not self._local_free():
            return False
        start_us = self._start_us(cycle)
        if start_us is None or (cycle.foreseen_us is not None and now_us < start_us):
            return False
        if self._hopeful(cycle, now_us):
            cycle.tried = True  # the last moment has passed, trusting in the mesh
            return False
        if now_us > start_us + self._slack_us(cycle):
            cycle.tried = True
            self.local.doubt()
            return False
        return True

    def _slack_us(self, cycle: _Cycle) -> int:
        """How late a start is still worth it: the margin is there for late polls."""
        return (cycle.deadline_us - self._due_us(cycle)) // 2

    def _start(self, number: int, now_us: int) -> None:
        self._cycles[number].tried = True
        self._running, self._started_us = number, now_us
