"""The event loop's clock, and how late the loop runs: a first-class metric."""

from __future__ import annotations

import asyncio
import time
from typing import Any

# Upper bounds of the lag histogram's buckets, in microseconds; the last is open.
LAG_BOUNDS_US = (500, 1_000, 2_000, 5_000, 10_000, 50_000, 200_000)
# A sample that costs next to nothing: at 50 Hz, an idle node's probes were most of what it did.
PROBE_S = 0.1


def monotonic_us() -> int:
    """Whole microseconds of the monotonic clock; uvloop's own is millisecond-coarse."""
    return time.monotonic_ns() // 1000


class LoopLag:
    """Histogram of how much later than asked the loop wakes a sleeper.

    uvloop's timers are a millisecond coarse, so a quiet loop shows up to 1 ms.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(LAG_BOUNDS_US) + 1)
        self.worst_us = 0

    def record(self, late_us: int) -> None:
        """Count one wake-up."""
        self.worst_us = max(self.worst_us, late_us)
        for i, bound in enumerate(LAG_BOUNDS_US):
            if late_us <= bound:
                self.counts[i] += 1
                return
        self.counts[-1] += 1

    def summary(self) -> dict[str, Any]:
        """JSON-ready: wake-ups counted by bucket, and the worst since the start."""
        buckets = [f"<= {bound} us" for bound in LAG_BOUNDS_US] + [f"> {LAG_BOUNDS_US[-1]} us"]
        return {"counts": dict(zip(buckets, self.counts, strict=True)), "worst_us": self.worst_us}

    async def watch(self) -> None:
        """Probe until cancelled."""
        while True:
            asked_us = monotonic_us() + round(PROBE_S * 1e6)
            await asyncio.sleep(PROBE_S)
            self.record(max(0, monotonic_us() - asked_us))
