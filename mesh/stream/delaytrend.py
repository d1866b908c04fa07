"""Whether a path's queue grows, told from when packets left and when they arrived. Pure.

The delay-based detector of draft-ietf-rmcat-gcc-02 (sections 5.2 to 5.4), with libwebrtc's
trend line in the place of the Kalman filter. One thing differs: pictures leave in bursts, so what
is looked at is how long the *first* packet of each burst waited. That is what earlier bursts left
in the queue; how large the burst itself is plays no part in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BURST_US = 5_000  # packets sent within this belong together
HOLD_UP_US = 250  # arrivals closer than this come from a hold-up (a busy receiver), not a queue
MAX_HOLD_UP_US = 100_000
WINDOW = 20  # bursts that the line is laid through
FEWEST = 4
BASE_US = 5_000_000  # the least delay of the last one to two times this is that of an empty queue
GAIN, MAX_COUNT = 4.0, 60  # libwebrtc's: a slope counts for more, the more bursts were seen
THRESHOLD_MS, LEAST_THRESHOLD_MS, MOST_THRESHOLD_MS = 12.5, 6.0, 600.0
RISE, FALL = 0.0087, 0.039  # of the threshold, per millisecond (draft, section 5.4)
OUTLIER_MS = 15.0
NOTICEABLE_US = 10_000  # a shorter queue is left alone


@dataclass(frozen=True, slots=True)
class Arrived:
    """A packet that arrived. sent_us: our clock; arrived_us: the viewer's; nbytes: on the wire."""

    sent_us: int
    arrived_us: int
    nbytes: int

    @property
    def delay_us(self) -> int:
        """Between two clocks: only differences of it mean anything."""
        return self.arrived_us - self.sent_us


class DelayTrend:
    """Fed with every packet that arrived, in the order of sending."""

    def __init__(self) -> None:
        self.overused = False  # the queue is noticeable and grows
        self.draining = False  # it shrinks
        self._least: list[int] | None = None  # delays: of the period before, of this one
        self._period_us = 0
        self._began_us: int | None = None  # when the burst's first packet was sent
        self._held_us = 0  # when the first packet of a hold-up arrived
        self._last = Arrived(0, 0, 0)
        self._waits: deque[tuple[float, float]] = deque(maxlen=WINDOW)  # (arrived, waited), ms
        self._count = 0
        self._threshold_ms = THRESHOLD_MS

    def waited_us(self, packet: Arrived) -> int:
        """How much longer than through an empty queue it took."""
        return max(0, packet.delay_us - min(self._least)) if self._least else 0

    def arrived(self, packet: Arrived) -> None:
        """Judge again, if the packet begins a burst."""
        self._note_delay(packet)
        if self._begins_burst(packet):
            self._judge(packet)
        self._last = packet

    def restart(self) -> None:
        """What was sent has changed: forget the line, keep the rest."""
        self._waits.clear()
        self.overused = self.draining = False

    def _note_delay(self, packet: Arrived) -> None:
        delay_us = packet.delay_us
        if self._least is None:
            self._least, self._period_us = [delay_us, delay_us], packet.sent_us
        elif packet.sent_us - self._period_us > BASE_US:
            self._least, self._period_us = [self._least[1], delay_us], packet.sent_us
        else:
            self._least[1] = min(self._least[1], delay_us)

    def _begins_burst(self, packet: Arrived) -> bool:
        if self._began_us is not None:
            if packet.sent_us - self._began_us <= BURST_US:
                return False
            together = packet.arrived_us - self._last.arrived_us <= HOLD_UP_US
            if together and packet.arrived_us - self._held_us <= MAX_HOLD_UP_US:
                self._began_us = packet.sent_us
                return False
        self._began_us, self._held_us = packet.sent_us, packet.arrived_us
        return True

    def _judge(self, packet: Arrived) -> None:
        waited_us = self.waited_us(packet)
        before_ms = self._waits[-1] if self._waits else None
        self._waits.append((packet.arrived_us / 1000, waited_us / 1000))
        self._count = min(self._count + 1, MAX_COUNT)
        if before_ms is None or len(self._waits) < FEWEST:
            return
        trend_ms = self._count * GAIN * slope(self._waits)
        grows = waited_us / 1000 >= before_ms[1] and before_ms[1] > 0
        self.overused = trend_ms > self._threshold_ms and grows and waited_us >= NOTICEABLE_US
        self.draining = trend_ms < -self._threshold_ms
        self._adapt(trend_ms, packet.arrived_us / 1000 - before_ms[0])

    def _adapt(self, trend_ms: float, elapsed_ms: float) -> None:
        """Follow the trend, so that a flow which fills the queue again and again starves nobody."""
        over_ms = abs(trend_ms) - self._threshold_ms
        if over_ms > OUTLIER_MS:
            return
        factor = RISE if over_ms > 0 else FALL
        moved_ms = self._threshold_ms + factor * over_ms * min(max(elapsed_ms, 0.0), 100.0)
        self._threshold_ms = min(max(moved_ms, LEAST_THRESHOLD_MS), MOST_THRESHOLD_MS)


def slope(points: deque[tuple[float, float]]) -> float:
    """Of the line through (x, y) with the least squares; 0 where all x are one."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    if spread <= 0:
        return 0.0
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
