"""The beat that every sender keeps, and its record of when each frame was made."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


def now_us() -> int:
    """CLOCK_MONOTONIC, which all processes of a machine share."""
    return time.monotonic_ns() // 1000


@dataclass(slots=True)
class Beat:
    """Even instants, `fps` a second. A beat that is missed by a whole period is left out."""

    fps: float
    number: int = -1
    missed: int = 0
    _began_us: int = field(default_factory=now_us)

    def next_us(self) -> int:
        """Go on to the next beat that is not over yet; when it is due."""
        self.number += 1
        behind = int((now_us() - self.due_us) * self.fps / 1e6)
        if behind > 0:
            self.missed += behind
            self.number += behind
        return self.due_us

    @property
    def due_us(self) -> int:
        return self._began_us + round(self.number * 1e6 / self.fps)


@dataclass(slots=True)
class Made:
    """When each frame was complete, and handed to the sender to be encoded."""

    at_us: dict[int, int] = field(default_factory=dict)

    def note(self, number: int) -> None:
        self.at_us[number] = now_us()
