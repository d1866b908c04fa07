"""Who has been served how much, and who is owed more. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp
from typing import Final, NamedTuple

from mesh.core.workload import Criticality

# Of the part of its work that a class is served on the whole, what each of its sessions gets at
# least. Not all of it: the slack lets many short frames through where a long one gives way.
GUARANTEE: Final = 0.94
MEMORY_US: Final = 30_000_000  # how long it counts
MAX_SESSIONS: Final = 4096


class Stake(NamedTuple):
    """What a session has a claim to: see `mesh.core.workload.Contract`."""

    criticality: Criticality = Criticality.STANDARD
    share: float = 1.0
    value: float = 1.0


@dataclass(slots=True)
class _Served:
    """Work asked for and done, fading with time."""

    asked_us: float = 0.0
    done_us: float = 0.0
    weighted_us: float = 0.0  # asked, times the asker's share
    at_us: int = 0

    def add(self, asked_us: float, done_us: float, share: float, now_us: int) -> None:
        kept = exp(-max(0, now_us - self.at_us) / MEMORY_US)
        self.at_us = now_us
        self.asked_us = self.asked_us * kept + asked_us
        self.done_us = self.done_us * kept + done_us
        self.weighted_us = self.weighted_us * kept + asked_us * share

    @property
    def part(self) -> float:
        return self.done_us / self.asked_us if self.asked_us > 0 else 1.0


@dataclass(slots=True)
class Dues:
    """The sessions of one gateway, each beside the others of its class."""

    _sessions: dict[str, _Served] = field(default_factory=dict)
    _classes: dict[Criticality, _Served] = field(default_factory=dict)

    def account(
        self, session: str, stake: Stake, work_us: float, now_us: int, *, whole: bool
    ) -> None:
        """A frame of so much work was delivered whole, or was not."""
        done_us = work_us if whole else 0.0
        for served in (
            self._sessions.setdefault(session, _Served()),
            self._classes.setdefault(stake.criticality, _Served()),
        ):
            served.add(work_us, done_us, stake.share, now_us)
        if len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def owed(self, session: str, stake: Stake) -> bool:
        """Whether the session has been served less than is guaranteed to it."""
        served = self._sessions.get(session)
        everybody = self._classes.get(stake.criticality)
        if served is None or everybody is None or everybody.weighted_us <= 0:
            return False
        weight = stake.share * everybody.asked_us / everybody.weighted_us
        return served.part < GUARANTEE * weight * everybody.part

    def forget(self, session: str) -> None:
        """A session ended."""
        self._sessions.pop(session, None)
