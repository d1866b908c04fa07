"""How long something takes that takes longer at times: a mean and how far it strays. Pure."""

from __future__ import annotations

MEAN_GAIN, SPREAD_GAIN = 1 / 8, 1 / 4
SPREADS = 4  # above the mean: rarely exceeded, whatever the distribution


class Estimate:
    """Of durations in microseconds, as TCP times its round trips (Jacobson 1988; RFC 6298).

    high_us: what is rarely exceeded; None before the first observation.
    """

    def __init__(self) -> None:
        self._mean_us: float | None = None
        self._spread_us = 0.0

    @property
    def high_us(self) -> int | None:
        """Mean and four mean deviations."""
        if self._mean_us is None:
            return None
        return round(self._mean_us + SPREADS * self._spread_us)

    def observe(self, took_us: int) -> None:
        """It took so long once."""
        if self._mean_us is None:
            self._mean_us, self._spread_us = float(took_us), took_us / 4
            return
        strays = abs(took_us - self._mean_us)
        self._spread_us += SPREAD_GAIN * (strays - self._spread_us)
        self._mean_us += MEAN_GAIN * (took_us - self._mean_us)

    def doubt(self) -> None:
        """It was not tried again because of this estimate, which may be out of date."""
        self._spread_us *= 1 - SPREAD_GAIN
        if self._mean_us is not None:
            self._mean_us *= 1 - MEAN_GAIN
