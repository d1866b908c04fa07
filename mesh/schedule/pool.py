"""Which devices a session holds: a few of the many there are.

A device that is to work for a session must first load its scene or model, and each decision looks
at every device that the session holds. So a session holds no more devices than its work needs at
its rate, with spares for when one fails, and at most `MOST`. In a mesh that has no more than that,
it holds all.

They are drawn by chance and the best of the drawn are taken. Comparing a handful of random
candidates instead of taking one blindly lowers the highest load among n devices from the order of
log n to that of log log n (Azar, Broder, Karlin and Upfal, "Balanced allocations", SIAM J. Comput.
29(1), 1999; Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS
12(10), 2001). Several are taken of one larger draw: (k, d)-choice (Park, "A generalization of
multiple choice balls-into-bins", PODC 2011).

Nobody decides for all. A gateway goes by what its own sessions met and what the devices that it
asked have said, so the choice is put right as sessions run: one that misses frames grows, or swaps
its least useful device for another; one that needs less lets go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Final, NamedTuple

from mesh.core.workload import Contract
from mesh.schedule.directory import SHARE_PER_SESSION, Directory
from mesh.schedule.ids import DeviceKey
from mesh.schedule.ledger import ClosedFrame

MOST: Final = 16  # devices of one session
START: Final = 8  # before anything is measured
LEAST: Final = 4  # an idle session's; it may wake up
SPARES: Final = 2
CHOICES: Final = 8  # candidates drawn for each device wanted
REVIEW_US: Final = 500_000  # between reviews

_MISSED_SHARE: Final = 0.05  # of a review's frames: more than that is short of capacity
_CALM_REVIEWS: Final = 6  # in a row, before anything is let go
_SETTLE_US: Final = 1_000_000  # a device is new for so long, and not judged
_LAZY: Final = 0.125  # of the mean of a session's devices: one that makes less is of no use
_JUDGED_PIECES: Final = 8  # per device and review; fewer tell nothing
_CROWDED: Final = 0.6  # a device is exchanged that has more load than this,
_UNEVEN: Final = 1.5  # and than so many times the mean of the session's devices
_WAITED_US: Final = 500  # a first piece that waited longer found its device at work
_SMOOTH: Final = 0.1
_IDLE: Final = 0.5  # what a review without a frame leaves of the work believed to come


class Release(NamedTuple):
    """Let go of the device; `why` is for logs."""

    device: DeviceKey
    why: str


@dataclass(slots=True)
class _Held:
    since_us: int
    made: int = 0  # pieces since the last review


class SessionPool:
    """The devices of one session.

    The caller asks for what is missing with `wanted`, `draw` and `take`, opens the session on what
    `take` returns, tells of every loss and every composed frame, and calls `review` each
    `REVIEW_US`. It decides nothing.
    """

    def __init__(
        self,
        directory: Directory,
        workload: str,
        contract: Contract,
        random: Random,
        *,
        most: int = MOST,
    ) -> None:
        """random: seeded. most: devices held at once, >= 1, where more are known."""
        self._directory = directory
        self._workload = workload
        self._contract = contract
        self._random = random
        self._most = most
        self._held: dict[DeviceKey, _Held] = {}
        self._unfit: dict[DeviceKey, None] = {}  # could not open the session: not asked again
        self._work_us: float | None = None  # run time of a frame's pieces together
        self._extra = 0  # devices beyond the computed need, because frames were missed
        self._calm = 0  # reviews in a row with next to nothing missed
        self._frames = 0  # since the last review
        self._missed = 0

    def __contains__(self, device: DeviceKey) -> bool:
        return device in self._held

    @property
    def held(self) -> tuple[DeviceKey, ...]:
        """The devices, in the order they were taken."""
        return tuple(self._held)

    @property
    def holds_all(self) -> bool:
        """Whether the mesh is so small that the session holds every device there is."""
        return self._directory.count(self._workload) <= self._most

    @property
    def target(self) -> int:
        """How many devices the session should hold."""
        known = self._directory.count(self._workload)
        if known <= self._most:
            return known
        least = min(LEAST, self._most)
        if self._work_us is None:
            return max(least, min(START, self._most))
        usable_us = SHARE_PER_SESSION * min(self._contract.period_us, self._contract.deadline_us)
        need = ceil(self._work_us / usable_us) + SPARES + self._extra
        return max(least, min(need, self._most))

    @property
    def wanted(self) -> int:
        """How many devices are missing."""
        return max(0, self.target - len(self._held))

    # --- taking ------------------------------------------------------------------------------

    def draw(self) -> list[DeviceKey]:
        """Candidates for what is missing. Ask them for their load if you can, then `take`."""
        if not self.wanted:
            return []
        exclude = self._held.keys() | self._unfit.keys()
        if self.holds_all:
            return [d for d in self._directory.all(self._workload) if d not in exclude]
        return self._directory.draw(self._workload, CHOICES * self.wanted, self._random, exclude)

    def take(self, candidates: Iterable[DeviceKey], now_us: int) -> list[DeviceKey]:
        """The best of the candidates that are still there, as many as are missing."""
        budget_us = self._contract.deadline_us
        fit = [
            device
            for device in dict.fromkeys(candidates)
            if device not in self._held
            and device not in self._unfit
            and self._directory.serves(device, self._workload)
        ]
        fit.sort(key=lambda device: self._directory.price(device, self._workload, budget_us))
        taken = fit[: self.wanted]
        for device in taken:
            self._held[device] = _Held(now_us)
            self._directory.held(device, self._workload)
        return taken

    def lost(self, device: DeviceKey) -> None:
        """The device is gone, or was let go."""
        if self._held.pop(device, None) is not None:
            self._directory.released(device)

    def unfit(self, device: DeviceKey) -> None:
        """The device could not open the session, or was no good: in a small mesh it stays.

        In a large one it is let go, and not taken again before `most` others were.
        """
        if not self.holds_all:
            self._unfit[device] = None
            if len(self._unfit) > self._most:
                del self._unfit[next(iter(self._unfit))]
            self.lost(device)

    def close(self) -> None:
        """The session ends."""
        for device in self.held:
            self.lost(device)

    # --- learning ----------------------------------------------------------------------------

    def composed(self, frame: ClosedFrame) -> None:
        """A frame was composed: what it took, and where."""
        self._frames += 1
        self._missed += bool(frame.missing)
        work_us, waits = 0, dict[DeviceKey, int]()
        for piece in frame.pieces:
            if piece.maker is not None:
                work_us += piece.run_us
                waits[piece.maker] = min(piece.queue_us, waits.get(piece.maker, piece.queue_us))
                held = self._held.get(piece.maker)
                if held is not None:
                    held.made += 1
        for device, wait_us in waits.items():
            self._directory.found(device, busy=wait_us > _WAITED_US)
        if self._work_us is None:
            self._work_us = float(work_us)
        elif not frame.missing or work_us > self._work_us:  # part of a frame is not its work
            self._work_us += _SMOOTH * (work_us - self._work_us)

    def review(self, now_us: int) -> list[Release]:
        """Judge the time since the last review; what to let go. Then see what is `wanted`."""
        if not self._frames and self._work_us is not None:
            self._work_us *= _IDLE
        short = self._missed > _MISSED_SHARE * self._frames
        self._calm = 0 if short else self._calm + 1
        released: list[Release] = []
        if not self.holds_all:
            if short and self.target < self._most:
                self._extra += max(1, len(self._held) // 4)
            elif self._calm >= _CALM_REVIEWS and self._extra:
                self._extra -= 1
            # One at a time, so that a wrong judgement costs little.
            worst = self._worst(now_us)
            if worst is not None:
                self.unfit(worst.device)  # it is warm, and would be the first to be taken again
                released.append(worst)
        self._frames = self._missed = 0
        for held in self._held.values():
            held.made = 0
        return released

    def _worst(self, now_us: int) -> Release | None:
        """The device to let go, if one is superfluous or a stranger is likely to be better."""
        judged = [key for key, held in self._held.items() if now_us - held.since_us > _SETTLE_US]
        if not judged:
            return None
        load = self._directory.load
        idlest = min(judged, key=lambda device: (self._held[device].made, -load(device)))
        if len(self._held) > self.target:
            return Release(idlest, "it is not needed") if self._calm >= _CALM_REVIEWS else None
        if self.wanted:
            return None
        mean = sum(held.made for held in self._held.values()) / len(self._held)
        if mean >= _JUDGED_PIECES and self._held[idlest].made < _LAZY * mean:
            return Release(idlest, "it makes next to nothing")
        fullest = max(judged, key=load)
        even = sum(map(load, self._held)) / len(self._held)
        if load(fullest) > max(_CROWDED, _UNEVEN * even):
            return Release(fullest, "others keep it busy")
        return None
