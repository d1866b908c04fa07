"""The queue of one device: what to start next, and what to refuse because it can no longer finish.

Earliest deadline first is optimal on one machine for jobs it can meet at all (Liu and Layland,
"Scheduling algorithms for multiprogramming in a hard-real-time environment", JACM 20(1), 1973;
Dertouzos 1974), but collapses in overload by finishing everything late. So the default policy
also refuses, at the moment it would start it, whatever its prediction says is lost. A piece is
never interrupted: pieces are the preemption points (see docs/architecture.md, "quantum").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

import msgspec

from mesh.core.errors import Misuse
from mesh.schedule.batching import Batch, BatchCosts, companions
from mesh.schedule.ids import PieceKey

FULL: Final = "full"
LATE: Final = "late"
DUPLICATE: Final = "duplicate"

# An idle device that refused this many pieces in a row for its prediction alone tries the next
# one anyway: a prediction spoilt by one stall is only ever corrected by running something.
TRY_AFTER: Final = 4

_SLACK: Final = 64  # cancelled entries the heap may carry before it is rebuilt


class Waiting(msgspec.Struct, frozen=True):
    """A piece in the queue.

    session: the session's name on this worker (two gateways may use one session id).
    node: the gateway that wants the answer.
    deadline_us: local clock; when the result must have left the device.
    predicted_us: expected run time alone; what cannot finish even then is refused.
    batch: what it has in common with pieces that it may run together with; "" to run alone.
    kind, units: of the piece, by which batches are predicted.
    quantum_us: the longest that a batch with it should take; 0 for no bound.
    shared_us: what it adds to the device's work, by how many it is likely to run with.
    """

    key: PieceKey
    session: str
    node: str
    deadline_us: int
    predicted_us: int
    batch: str = ""
    kind: str = ""
    units: float = 1.0
    quantum_us: int = 0
    shared_us: int = 0

    @property
    def work_us(self) -> int:
        """What it adds to the device's work."""
        return self.shared_us if self.batch else self.predicted_us


class Start(msgspec.Struct, frozen=True):
    """Run this now, with `others` in the same call; `finished` when it ended in whatever way."""

    waiting: Waiting
    others: tuple[Waiting, ...] = ()


class Refuse(msgspec.Struct, frozen=True):
    """Answer that this will not be run: `FULL`, `LATE` or `DUPLICATE`."""

    waiting: Waiting
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """An order of service. `rank` gives lower numbers to what starts earlier."""

    rank: Callable[[Waiting], int]
    drops_late: bool


POLICIES: Final[dict[str, Policy]] = {
    "edf": Policy(rank=lambda waiting: waiting.deadline_us, drops_late=True),
    # Order of arrival, running even what is already lost: what most servers do; for comparison.
    "fifo": Policy(rank=lambda waiting: 0, drops_late=False),
}

_Name: TypeAlias = tuple[str, int, int, int]  # session here, epoch, frame, piece


def _name(waiting: Waiting) -> _Name:
    _, epoch, frame, piece = waiting.key
    return waiting.session, epoch, frame, piece


class DeviceQueue:
    """Waiting pieces of one device, and what it runs. Safe to poll early or twice."""

    def __init__(
        self, policy: str = "edf", limit: int = 256, batching: BatchCosts | None = None
    ) -> None:
        """policy: a key of POLICIES. limit: longest queue before pieces are refused as full.

        batching: what batches cost; without it every piece runs alone.
        """
        if policy not in POLICIES:
            raise Misuse(
                what=f"queue policy '{policy}' does not exist",
                why=f"known are {', '.join(POLICIES)}",
                fix="Correct [device] queue in the configuration.",
            )
        self._policy = POLICIES[policy]
        self._limit = limit
        self._batching = batching
        self._heap: list[tuple[int, int, Waiting]] = []
        self._waiting: dict[_Name, Waiting] = {}
        self._arrivals = 0
        self._queued_us = 0
        self._running: Waiting | None = None
        self._running_until_us = 0
        self._staged: Waiting | None = None
        self._refused_in_a_row = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> Waiting | None:
        """What the device runs now."""
        return self._running

    @property
    def staged(self) -> Waiting | None:
        """What the device runs next, unless something more urgent comes."""
        return self._staged

    def submit(self, waiting: Waiting) -> Refuse | None:
        """Take a piece in, or say at once why not."""
        name = _name(waiting)
        if name in self._waiting:
            return Refuse(waiting, DUPLICATE)
        if len(self._waiting) >= self._limit:
            return Refuse(waiting, FULL)
        self._waiting[name] = waiting
        self._queued_us += waiting.work_us
        self._arrivals += 1
        heappush(self._heap, (self._policy.rank(waiting), self._arrivals, waiting))
        return None

    def poll(self, now_us: int) -> list[Start | Refuse]:
        """Refusals due now, then at most one `Start`; nothing while a piece runs."""
        decided: list[Start | Refuse] = []
        while self._running is None and self._waiting:
            _, _, waiting = heappop(self._heap)
            if self._waiting.get(_name(waiting)) is not waiting:
                continue  # cancelled while it waited
            self._remove(_name(waiting))
            if self._policy.drops_late and self._is_lost(waiting, now_us):
                self._refused_in_a_row += 1
                decided.append(Refuse(waiting, LATE))
                continue
            self._refused_in_a_row = 0
            batch = self._company(waiting, now_us)
            self._running = waiting
            self._running_until_us = now_us + batch.run_us
            decided.append(Start(waiting, batch.others))
        return decided

    def stage(self, now_us: int) -> Waiting | None:
        """What the device may be given now to begin as soon as it is free; it leaves the queue.

        Nothing, unless it runs something and has nothing staged. Nor is anything staged that would
        be too late then by what is predicted, or that may find company to run with until then: of
        these `poll` decides when the device is free.
        """
        if self._running is None or self._staged is not None:
            return None
        head = self._head()
        if head is None or head.batch:
            return None
        free_us = max(now_us, self._running_until_us)
        if self._policy.drops_late and free_us + head.predicted_us > head.deadline_us:
            return None
        heappop(self._heap)
        self._remove(_name(head))
        self._staged = head
        return head

    def overtakes(self, waiting: Waiting) -> bool:
        """Whether a piece should begin before the one that is staged."""
        return self._staged is not None and self._policy.rank(waiting) < self._policy.rank(
            self._staged
        )

    def start_by_us(self, staged: Waiting) -> int:
        """When it is too late for the staged piece to begin; 0 for never."""
        return staged.deadline_us - staged.predicted_us if self._policy.drops_late else 0

    def unstaged(self) -> None:
        """What was staged did not begin: it was taken back, or too late."""
        self._staged = None

    def _head(self) -> Waiting | None:
        while self._heap:
            waiting = self._heap[0][2]
            if self._waiting.get(_name(waiting)) is waiting:
                return waiting
            heappop(self._heap)  # cancelled while it waited
        return None

    def _company(self, head: Waiting, now_us: int) -> Batch:
        """Who runs with the piece that starts; they leave the queue."""
        if self._batching is None or not head.batch:
            return Batch((), head.predicted_us)
        entries = sorted(e for e in self._heap if self._waiting.get(_name(e[2])) is e[2])
        batch = companions(head, [waiting for _, _, waiting in entries], now_us, self._batching)
        for waiting in batch.others:
            self._remove(_name(waiting))
        return batch

    def finished(self, now_us: int) -> None:
        """The running piece ended (done, failed or killed); what was staged begins."""
        self._running, self._staged = self._staged, None
        self._running_until_us = now_us + (self._running.predicted_us if self._running else 0)

    def cancel(self, session: str, epoch: int, frame: int, piece: int | None) -> list[Waiting]:
        """Take out one piece, or the whole frame when `piece` is None; returns what waited."""
        if piece is not None:
            return self._take([(session, epoch, frame, piece)])
        return self._take(name for name in self._waiting if name[:3] == (session, epoch, frame))

    def cancel_session(self, session: str) -> list[Waiting]:
        """Take out everything of a session; returns what waited."""
        return self._take(name for name in self._waiting if name[0] == session)

    def drain(self) -> list[Waiting]:
        """Take out everything (the device is gone); returns what waited."""
        return self._take(iter(self._waiting))

    def backlog_us(self, now_us: int) -> int:
        """Predicted work between now and an empty device."""
        left_us = max(0, self._running_until_us - now_us) if self._running is not None else 0
        staged_us = self._staged.predicted_us if self._staged is not None else 0
        return self._queued_us + staged_us + left_us

    def _is_lost(self, waiting: Waiting, now_us: int) -> bool:
        if now_us >= waiting.deadline_us:
            return True
        if now_us + waiting.predicted_us <= waiting.deadline_us:
            return False
        return self._refused_in_a_row < TRY_AFTER

    def _take(self, names: Iterable[_Name]) -> list[Waiting]:
        return [w for name in list(names) if (w := self._remove(name)) is not None]

    def _remove(self, name: _Name) -> Waiting | None:
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            self._queued_us -= waiting.work_us
            if len(self._heap) > 2 * len(self._waiting) + _SLACK:
                self._heap = [e for e in self._heap if self._waiting.get(_name(e[2])) is e[2]]
                heapify(self._heap)
        return waiting
