"""What copies of pieces may cost. Pure.

A piece that is late is asked of a second device as well, and the first answer wins (hedged
requests: Dean and Barroso, "The tail at scale", CACM 56(2), 2013). A copy is work that others
could have had, most of all when all are late because there is too much to do: so copies are paid
from a budget that grows with the work that is given out. The two are tied: as soon as one is
answered the other is cancelled, and a copy costs what it ran until then.
"""

from __future__ import annotations

from typing import Final

SHARE: Final = (
    0.015  # of the work given out, for copies; what runs longer than believed comes on top
)
MOST_US: Final = 200_000.0  # never more than this saved up: what a device's end may need at once


class HedgeBudget:
    """A token bucket in microseconds of device time."""

    def __init__(self) -> None:
        self._left_us = MOST_US

    def given(self, run_us: float) -> None:
        """So much work was given out."""
        self._left_us = min(MOST_US, self._left_us + SHARE * run_us)

    def take(self, run_us: float) -> bool:
        """Pay for a copy, if there is enough left."""
        if run_us > self._left_us:
            return False
        self._left_us -= run_us
        return True

    def give_back(self, run_us: float) -> None:
        """So much of what was paid for a copy was not spent: it was cancelled."""
        self._left_us = min(MOST_US, self._left_us + run_us)
