"""When a session opens its next frame: on a grid of instants, or for each input that comes."""

from __future__ import annotations

from collections import deque
from typing import Final

# So many of the last so many frames with holes are more than bad luck.
CROWDED_AT: Final = 3
CROWDED_OF: Final = 8
# Whole frames in a row before the bound is tried again: twice as many after each relapse.
CALM_AFTER: Final = 30
CALM_AT_MOST: Final = 480
ASK_AGAIN_US: Final = 2_000  # whether the devices have time


class FrameClock:
    """A drift-free grid of opening instants, with a bound on frames in flight.

    An instant that cannot be used (nobody to work, the caller came a whole period late) is skipped
    and counted, never made up for: a queue of stale frames only adds latency. With too many frames
    in flight, or no time for one more on the devices, it is held for up to half a period: a frame
    opened that much late samples its input that much later, where one skipped would leave the
    devices idle until the next instant.
    """

    def __init__(self, period_us: int, start_us: int, *, max_in_flight: int = 2) -> None:
        """period_us: > 0. start_us: the first opening instant. max_in_flight: >= 1."""
        self._period_us = period_us
        self._hold_us = period_us // 2
        self._next_us = start_us
        self._max_in_flight = max_in_flight
        self._in_flight: set[int] = set()
        self._next_frame = 0
        self._no_time_until_us = start_us  # when it is worth asking the devices again
        self.skipped = 0

    @property
    def next_open_us(self) -> int:
        """When to `poll` next, or later: the next instant, or where no frame may be opened now the
        end of its hold.
        """
        if self._full:
            return self._next_us + self._hold_us
        return max(self._next_us, self._no_time_until_us)

    @property
    def _full(self) -> bool:
        return len(self._in_flight) >= self._max_in_flight

    @property
    def opened(self) -> int:
        """Frames opened so far; also the id of the next one."""
        return self._next_frame

    def due(self, now_us: int) -> bool:
        """Whether an instant has come and a frame may be in flight beside the others."""
        return now_us >= self._next_us and not self._full

    def poll(self, now_us: int, *, may_open: bool = True, time: bool = True) -> int | None:
        """The id of the frame to open now, if one is due. `may_open=False` skips the instant.

        time: whether the devices have time for a frame, as far as is known.
        """
        if now_us < self._next_us:
            return None
        missed = (now_us - self._next_us) // self._period_us
        self.skipped += missed
        self._next_us += missed * self._period_us
        if (self._full or not time) and may_open and now_us < self._next_us + self._hold_us:
            if not time:
                self._no_time_until_us = min(now_us + ASK_AGAIN_US, self._next_us + self._hold_us)
            return None
        self._next_us += self._period_us
        if not may_open or self._full:
            self.skipped += 1
            return None
        frame = self._next_frame
        self._next_frame += 1
        self._in_flight.add(frame)
        return frame

    def closed(self, frame: int) -> None:
        """A frame left: composed or abandoned."""
        self._in_flight.discard(frame)

    def limit(self, max_in_flight: int) -> None:
        """Change the bound on frames in flight, >= 1."""
        self._max_in_flight = max_in_flight


class Crowding:
    """Whether frames should go one at a time, because too many together leave holes in all.

    Past what the devices can carry, two frames in flight finish two halves late where one would
    have finished whole: the rate gives way instead (additive increase, multiplicative decrease
    between one and the configured bound, after Chiu and Jain, 1989).
    """

    def __init__(self) -> None:
        self.one_at_a_time = False
        self._holes: deque[bool] = deque(maxlen=CROWDED_OF)
        self._whole_in_a_row = 0
        self._calm_after = CALM_AFTER

    def closed(self, *, whole: bool) -> None:
        """A frame was composed, with nothing missing or with holes."""
        self._holes.append(not whole)
        self._whole_in_a_row = self._whole_in_a_row + 1 if whole else 0
        if sum(self._holes) >= CROWDED_AT:
            if not self.one_at_a_time:
                self._calm_after = min(2 * self._calm_after, CALM_AT_MOST)
            self.one_at_a_time = True
            self._holes.clear()
        elif self.one_at_a_time and self._whole_in_a_row >= self._calm_after // 2:
            self.one_at_a_time = False
        elif self._whole_in_a_row >= CALM_AT_MOST:
            self._calm_after = CALM_AFTER


class DemandClock:
    """Opens one frame per input, at most at the contracted rate and within the bound in flight.

    The rate is policed by the generic cell rate algorithm (ITU-T I.371, annex A) with a tolerance
    of one period, so that a jittering sensor is not punished and a faster one is.
    """

    next_open_us = 1 << 62  # never by itself

    def __init__(self, period_us: int, *, max_in_flight: int = 2) -> None:
        """period_us: > 0. max_in_flight: >= 1."""
        self._period_us = period_us
        self._max_in_flight = max_in_flight
        self._expected_us = -self.next_open_us  # theoretical arrival time
        self._in_flight: set[int] = set()
        self._next_frame = 0
        self.skipped = 0

    @property
    def opened(self) -> int:
        """Frames opened so far; also the id of the next one."""
        return self._next_frame

    def due(self, now_us: int) -> bool:
        """No frame is ever due without an input."""
        return False

    def poll(self, now_us: int, *, may_open: bool = True, time: bool = True) -> int | None:
        """No frame is ever due without an input."""
        return None

    def demand(self, now_us: int) -> int | str:
        """The id of the frame to open for an input that has come, or why there is none."""
        early_us = self._expected_us - self._period_us - now_us
        if early_us > 0:
            self.skipped += 1
            return f"inputs come faster than one each {self._period_us} us"
        if len(self._in_flight) >= self._max_in_flight:
            self.skipped += 1
            return f"{len(self._in_flight)} frames are still being worked on"
        self._expected_us = max(self._expected_us, now_us) + self._period_us
        frame = self._next_frame
        self._next_frame += 1
        self._in_flight.add(frame)
        return frame

    def closed(self, frame: int) -> None:
        """A frame left: composed or abandoned."""
        self._in_flight.discard(frame)

    def limit(self, max_in_flight: int) -> None:
        """Change the bound on frames in flight, >= 1."""
        self._max_in_flight = max_in_flight
