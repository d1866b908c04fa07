"""Which gateways a vehicle is at, and which of them its sweeps go to. Pure.

It keeps sessions at two of the gateways that it knows, if there are as many: a *home*, which gets
every sweep, and a *standby*, which gets one now and then, so that both are known by how soon they
answer. So a home that leaves, is lost or grows slow is replaced between two sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from infer.offload.estimate import Estimate

KEPT = 2  # sessions at a time
PROBE_EVERY = 8  # cycles; 1 of them goes to the standby too
BETTER = 0.8  # of the home's time: what a standby must promise to become the home,
CONFIRMED = 3  # so many times in a row
RETRY_FIRST_US, RETRY_MOST_US = 500_000, 10_000_000

_NEVER = 1 << 53

State: TypeAlias = Literal["away", "opening", "open", "leaving", "closing"]


@dataclass(frozen=True, slots=True)
class Open:
    """Open a session at the gateway."""

    name: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the session there: the gateway is leaving, and nothing is waited for from it."""

    name: str


@dataclass(slots=True)
class _Door:
    state: State = "away"
    took: Estimate = field(default_factory=Estimate)
    waiting: dict[int, int] = field(default_factory=dict)  # cycles sent there, and when
    retry_us: int | None = None  # None: at once
    failures: int = 0


class Homes:
    """The gateways of one vehicle, by name, those to be tried first first."""

    def __init__(self, names: Sequence[str]) -> None:
        self._doors = {name: _Door() for name in names}
        self._home: str | None = None
        self._confirmed = 0
        self._last: str | None = None  # that was the home
        self.moves = 0  # from one home to another

    @property
    def home(self) -> str | None:
        """Where every sweep goes; None while there is nowhere."""
        return self._home

    # --- what happens ----------------------------------------------------------------------

    def opened(self, name: str) -> None:
        """A session is open there."""
        door = self._doors[name]
        door.state, door.failures, door.took = "open", 0, Estimate()
        self._settle()

    def leaving(self, name: str) -> None:
        """The gateway says that it will be gone soon: it gets no more sweeps."""
        door = self._doors[name]
        if door.state == "open":
            door.state = "leaving"
            self._settle()

    def lost(self, name: str, now_us: int) -> list[int]:
        """There is no session, or it could not be opened. Returns the cycles it had not answered.

        One that breaks off is tried again at once, what could not be opened after a while, twice
        as long each time that it fails.
        """
        door = self._doors[name]
        wait_us = min(RETRY_FIRST_US << min(door.failures, 8), RETRY_MOST_US)
        if door.state == "open":
            wait_us = 0
        unanswered = list(door.waiting)
        door.state, door.retry_us = "away", now_us + wait_us
        door.failures += 1
        door.waiting.clear()
        self._settle()
        return unanswered

    def sent(self, name: str, cycle: int, now_us: int) -> None:
        """A cycle's sweep goes there."""
        self._doors[name].waiting[cycle] = now_us

    def answered(self, name: str, cycle: int, now_us: int) -> None:
        """It was answered by that gateway."""
        sent_us = self._doors[name].waiting.pop(cycle, None)
        if sent_us is not None:
            self._doors[name].took.observe(now_us - sent_us)
            if name != self._home:
                self._compare()

    def refused(self, name: str, cycle: int) -> None:
        """The gateway did not take it."""
        self._doors[name].waiting.pop(cycle, None)

    def over(self, cycle: int, now_us: int) -> None:
        """The cycle's deadline is over: who has not answered took longer than that."""
        for name in self._doors:
            self.answered(name, cycle, now_us)

    # --- what follows ----------------------------------------------------------------------

    def targets(self, cycle: int) -> tuple[str, ...]:
        """Where the cycle's sweep goes, the home first."""
        if self._home is None:
            return ()
        if cycle % PROBE_EVERY:
            return (self._home,)
        others = (name for name in self._doors if self._is_open(name) and name != self._home)
        return (self._home, *others)

    def finish_us(self, cycle: int, now_us: int) -> int | None:
        """When a remote answer to the cycle should be here; None: nobody is at it.

        Of a gateway that never answered nothing is known: it may be at it for ever.
        """
        finishes = [
            _NEVER if (takes_us := door.took.high_us) is None else door.waiting[cycle] + takes_us
            for door in self._doors.values()
            if cycle in door.waiting
        ]
        return min(finishes, default=None)

    def poll(self, now_us: int) -> list[Open | Leave]:
        """What is to be opened and closed now."""
        decided: list[Open | Leave] = []
        for name, door in self._doors.items():
            if door.state == "leaving" and not door.waiting:
                door.state = "closing"
                decided.append(Leave(name))
        kept = sum(door.state in ("open", "opening") for door in self._doors.values())
        due = [n for n, d in self._doors.items() if d.state == "away" and _is_due(d, now_us)]
        for name in due[: max(0, KEPT - kept)]:
            self._doors[name].state = "opening"
            decided.append(Open(name))
        return decided

    def wake_us(self, now_us: int) -> int | None:
        """When to poll next, if nothing happens; None: not before something does."""
        if sum(door.state in ("open", "opening") for door in self._doors.values()) >= KEPT:
            return None
        waits = [d.retry_us or now_us for d in self._doors.values() if d.state == "away"]
        return min(waits, default=None)

    def _is_open(self, name: str) -> bool:
        return self._doors[name].state == "open"

    def _settle(self) -> None:
        """Have a home, if there can be one: the one that answers soonest."""
        if self._home is not None and self._is_open(self._home):
            return
        ready = [name for name in self._doors if self._is_open(name)]
        best = min(ready, key=lambda name: self._doors[name].took.high_us or _NEVER, default=None)
        self._move(best)

    def _move(self, name: str | None) -> None:
        self._home, self._confirmed = name, 0
        if name is not None:
            self.moves += self._last not in (None, name)
            self._last = name

    def _compare(self) -> None:
        """Whether the standby has promised to be better for long enough."""
        if self._home is None:
            return
        home_us = self._doors[self._home].took.high_us
        known = {
            name: takes_us
            for name, door in self._doors.items()
            if door.state == "open" and name != self._home
            if (takes_us := door.took.high_us) is not None
        }
        if home_us is None or not known:
            return
        best = min(known, key=known.__getitem__)
        self._confirmed = self._confirmed + 1 if known[best] < BETTER * home_us else 0
        if self._confirmed >= CONFIRMED:
            self._move(best)


def _is_due(door: _Door, now_us: int) -> bool:
    return door.retry_us is None or now_us >= door.retry_us
