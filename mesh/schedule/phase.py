"""When to open the next frame so that its input is as fresh as can be once it is shown. Pure.

A frame is sent as soon as it is whole, so its input ages by what passes between sampling and the
first piece's start, and by what had passed since the input came. Both are waste:

* a frame opened while its devices still work on the one before has its pieces wait, at the gateway
  for room (`HORIZON_US` in mesh.schedule.placement) and then on the device. Opened later by that
  wait it is whole at the same instant, with newer input: this is the latest safe start. Where
  frames take longer than the period, the waits return with each frame until the period is
  stretched as well: a rate that the devices can hold, without a queue;
* inputs often come at a rate of their own (a display's). Sampling just after one has come, rather
  than just before, saves up to their whole period. The clock is locked to them as a phase-locked
  loop is (Gardner, "Phaselock Techniques", 3rd ed. 2005): their phase at the opening is averaged
  on the circle, which also tells whether there is a rate to lock to.
"""

from __future__ import annotations

import cmath
from math import tau
from typing import Final

from mesh.schedule.frameclock import FrameClock
from mesh.schedule.ledger import ClosedFrame

WAIT_US: Final = 1_000  # left to the first piece, so that no device runs dry
INPUT_US: Final = 1_500  # left between an input's arrival and its sampling
_WAIT_GAIN: Final = 0.5
_STRETCH_GAIN: Final = 0.15
_MOST_STRETCH: Final = 3.0  # periods
_RELEASE: Final = 0.95  # of the stretch, kept by each frame that did not wait
_INPUT_GAIN: Final = 0.2
_STEP: Final = 1 / 8  # of the period: one correction at most
_LOCKED: Final = 0.7  # how much of the phase is shared, 0 to 1, before it is followed
_SMOOTH: Final = 0.1
_PAUSE: Final = 2.5  # of their period: inputs that stop for longer have stopped
_SLOWEST_INPUT_US: Final = 100_000


class LatestStart:
    """Corrections to a frame clock's instants, in microseconds; above 0 is later."""

    def __init__(self, period_us: int) -> None:
        """period_us: the contracted one, > 0."""
        self._period_us = period_us
        self._stretch_us = 0.0
        self._input_us: int | None = None  # when the last one came
        self._gap_us = 0.0  # between inputs, a running mean; 0 before two have come
        self._jitter_us = 0.0
        self._phase = 0j  # of the openings within the inputs' period, a running mean

    @property
    def stretch_us(self) -> int:
        """What each period should be longer than contracted: the devices hold no higher rate."""
        return round(self._stretch_us)

    def input_came(self, now_us: int) -> None:
        """The client's state changed."""
        last_us, self._input_us = self._input_us, now_us
        if last_us is None:
            return
        gap_us = now_us - last_us
        if not 0 < gap_us <= _SLOWEST_INPUT_US:
            self._gap_us, self._phase = 0.0, 0j
        elif not self._gap_us:
            self._gap_us, self._jitter_us = float(gap_us), 0.0
        else:
            off_us = abs(gap_us - self._gap_us)
            self._gap_us += _SMOOTH * (gap_us - self._gap_us)
            self._jitter_us += _SMOOTH * (off_us - self._jitter_us)

    def opened(self, now_us: int) -> int:
        """A frame samples the newest input now; how to move the instants after it."""
        if self._input_us is None or not self._gap_us:
            return 0
        age_us = now_us - self._input_us
        if age_us > _PAUSE * self._gap_us:
            self._phase = 0j
            return 0
        wanted_us = min(INPUT_US + 2 * self._jitter_us, self._gap_us / 2)
        phase = cmath.exp(1j * tau * (age_us - wanted_us) / self._gap_us)
        self._phase += _SMOOTH * (phase - self._phase)
        if abs(self._phase) < _LOCKED:
            return 0
        error_us = cmath.phase(self._phase) / tau * self._gap_us  # within half a period
        # What is corrected now is not to be corrected again.
        moved_us = self._bounded(-_INPUT_GAIN * error_us)
        self._phase *= cmath.exp(1j * tau * moved_us / self._gap_us)
        return moved_us

    def closed(self, frame: ClosedFrame) -> int:
        """A frame was composed; how to move the instants to come."""
        waits: dict[object, int] = {}
        for piece in frame.pieces:
            if piece.maker is None:
                return 0  # holes are another matter: see Crowding
            wait_us = max(0, piece.sent_us - frame.opened_us) + piece.queue_us
            waits[piece.maker] = min(wait_us, waits.get(piece.maker, wait_us))
        wait_us = min(waits.values(), default=0)
        spare_us = wait_us - WAIT_US
        most_us = _MOST_STRETCH * self._period_us
        self._stretch_us += _STRETCH_GAIN * spare_us
        if spare_us < 0:
            self._stretch_us *= _RELEASE
        self._stretch_us = min(max(self._stretch_us, 0.0), most_us)
        return self._bounded(_WAIT_GAIN * spare_us) if spare_us > 0 else 0

    def _bounded(self, move_us: float) -> int:
        most_us = self._period_us * _STEP
        return round(min(max(move_us, -most_us), most_us))


class LatestStartClock(FrameClock):
    """A frame clock whose instants follow `LatestStart`: no faster than contracted, no grid."""

    def __init__(self, period_us: int, start_us: int, *, max_in_flight: int = 2) -> None:
        """See FrameClock."""
        super().__init__(period_us, start_us, max_in_flight=max_in_flight)
        self._latest = LatestStart(period_us)

    def input_came(self, now_us: int) -> None:
        """The client's state changed."""
        self._latest.input_came(now_us)

    def poll(self, now_us: int, *, may_open: bool = True, time: bool = True) -> int | None:
        """See FrameClock."""
        frame = super().poll(now_us, may_open=may_open, time=time)
        if frame is not None:
            self._next_us += self._latest.stretch_us + self._latest.opened(now_us)
        return frame

    def composed(self, frame: ClosedFrame) -> None:
        """A frame was composed: what its pieces waited for moves the instants to come."""
        self._next_us += self._latest.closed(frame)
