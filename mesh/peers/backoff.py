"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackOff:
    """Exponential back-off with "equal jitter": half of each delay is fixed, half is drawn.

    The jitter keeps nodes that lost the same peer at the same time from coming back together
    (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    first_us: int = 100_000
    longest_us: int = 10_000_000

    def delay_us(self, failures: int, draw: random.Random) -> int:
        """The wait after `failures` attempts in a row that failed (at least 1)."""
        doublings = min(failures - 1, 32)  # beyond any `longest_us`; keeps the number small
        whole = min(self.longest_us, self.first_us << doublings)
        return whole // 2 + draw.randrange(whole // 2 + 1)
