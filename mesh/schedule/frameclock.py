"""When a session opens its next frame."""

from __future__ import annotations


class FrameClock:
    """A drift-free grid of opening instants, with a bound on frames in flight.

    An instant that cannot be used (too many frames in flight, nobody to work, the caller came a
    whole period late) is skipped and counted, never made up for: a queue of stale frames only
    adds latency.
    """

    def __init__(self, period_us: int, start_us: int, *, max_in_flight: int = 2) -> None:
        """period_us: > 0. start_us: the first opening instant. max_in_flight: >= 1."""
        self._period_us = period_us
        self._next_us = start_us
        self._max_in_flight = max_in_flight
        self._in_flight: set[int] = set()
        self._next_frame = 0
        self.skipped = 0

    @property
    def next_open_us(self) -> int:
        """The next instant of the grid; `poll` then, or later."""
        return self._next_us

    @property
    def opened(self) -> int:
        """Frames opened so far; also the id of the next one."""
        return self._next_frame

    def poll(self, now_us: int, *, may_open: bool = True) -> int | None:
        """The id of the frame to open now, if one is due. `may_open=False` skips the instant."""
        if now_us < self._next_us:
            return None
        missed = (now_us - self._next_us) // self._period_us
        self.skipped += missed
        self._next_us += (missed + 1) * self._period_us
        if not may_open or len(self._in_flight) >= self._max_in_flight:
            self.skipped += 1
            return None
        frame = self._next_frame
        self._next_frame += 1
        self._in_flight.add(frame)
        return frame

    def closed(self, frame: int) -> None:
        """A frame left: composed or abandoned."""
        self._in_flight.discard(frame)
