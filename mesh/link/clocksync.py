"""The other node's monotonic clock in terms of ours, with an error bar.

Four-timestamp exchanges as in NTP (RFC 5905, section 8): we send at t0, they receive at t1 and
answer at t2, we receive at t3. Their clock minus ours is ((t1 - t0) + (t2 - t3)) / 2, wrong by at
most half of the delay (t3 - t0) - (t2 - t1), whatever the path's asymmetry. As in the RFC's clock
filter (section 10) the best of a window of samples counts, each growing less certain with age.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

# Two crystal oscillators drift by up to about 50 ppm each (RFC 5905's PHI of 15 ppm is for
# temperature-controlled rooms), more while one is slewed by its own time daemon.
DRIFT_PPM = 100
_WINDOW = 64  # samples
_HORIZON_US = 500_000  # a link silent for longer is lost, so that no sample is used later than this


class _Sample(NamedTuple):
    taken_us: int  # t3, our clock
    offset_us: int  # theirs minus ours
    delay_us: int


class ClockSync:
    """Maps instants between the two ends' monotonic clocks; `measured` is False before a sample."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=_WINDOW)
        self._offset_us = 0
        self.error_us = 0  # the true offset is within +- this of the one used
        self.rtt_us = 0  # of the sample in use: the shortest path lately seen

    @property
    def measured(self) -> bool:
        """Whether anything is known yet."""
        return bool(self._samples)

    def sample(self, t0_us: int, t1_us: int, t2_us: int, t3_us: int) -> None:
        """One exchange: t0, t3 on our clock, t1, t2 on theirs. Impossible ones are ignored."""
        delay_us = (t3_us - t0_us) - (t2_us - t1_us)
        if t3_us < t0_us or t2_us < t1_us or delay_us < 0:
            return
        offset_us = ((t1_us - t0_us) + (t2_us - t3_us)) // 2
        self._samples.append(_Sample(t3_us, offset_us, delay_us))
        best = min(self._samples, key=lambda sample: _error_us(sample, t3_us))
        self._offset_us = best.offset_us
        self.error_us = _error_us(best, t3_us + _HORIZON_US)
        self.rtt_us = best.delay_us

    def to_local_us(self, remote_us: int) -> int:
        """An instant of their clock on ours, within +- `error_us`."""
        return remote_us - self._offset_us

    def to_remote_us(self, local_us: int) -> int:
        """An instant of our clock on theirs, within +- `error_us`."""
        return local_us + self._offset_us


def _error_us(sample: _Sample, now_us: int) -> int:
    """Half the delay, rounding (the stamps and the halving), and drift since it was taken."""
    return (sample.delay_us + 1) // 2 + 1 + (now_us - sample.taken_us) * DRIFT_PPM // 1_000_000
