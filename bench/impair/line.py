"""What one direction of a path does to packets. Pure: times come in and go out.

Packets meet, in this order: loss, a bottleneck with a bounded queue, then delay and jitter.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

Rates = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One direction.

    delay_ms: of every packet. jitter_ms: up to so much more, keeping the order.
    loss: share of packets lost, each by itself. burst: chance of a packet to begin a burst, which
        takes it and the ones after it, burst_packets in all.
    reorder: share of packets held back for reorder_ms while later ones pass.
    rate_bps: (from second, bits per second) pairs, the first from second 0; empty: no bottleneck.
    queue_ms: a packet that would wait longer in front of the bottleneck is dropped.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    burst: float = 0.0
    burst_packets: int = 8
    reorder: float = 0.0
    reorder_ms: float = 5.0
    rate_bps: Rates = ()
    queue_ms: float = 100.0


@dataclass(frozen=True, slots=True)
class Link:
    """Both directions, and the seed of what is random in them."""

    down: Line = Line()
    up: Line = Line()
    seed: int = 1

    def as_json(self) -> dict[str, Any]:
        """For a report's `config`, and for the relay's process."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Link:
        """The inverse of `as_json`."""

        def line(fields: dict[str, Any]) -> Line:
            rates = tuple((float(at), float(bps)) for at, bps in fields["rate_bps"])
            return Line(**{**fields, "rate_bps": rates})

        return cls(line(told["down"]), line(told["up"]), told["seed"])


@dataclass(slots=True)
class Counts:
    """What became of the packets of one direction."""

    packets: int = 0  # that came
    sent_bytes: int = 0  # of those that were passed on, as they count against the rate
    lost: int = 0
    overflowed: int = 0  # found the queue full
    queue_us_max: int = 0
    late_us_max: int = 0  # behind the time that was decided: the relay's own doing
    late: int = 0  # packets over a millisecond behind


class LineModel:
    """Decides about one packet after the other. Reads no clock.

    origin_us: second 0 of the line's `rate_bps`; before it the first rate holds.
    """

    def __init__(self, line: Line, seed: str, origin_us: int = 0) -> None:
        self.line, self.counts = line, Counts()
        self._random = random.Random(seed)
        self._in_burst = 0
        self._free_us = 0.0  # when the bottleneck has served all before
        self._last_us = 0  # when the last packet in order arrives
        self.start(origin_us)

    def start(self, origin_us: int) -> None:
        """Second 0 is at `origin_us`; count from there."""
        self._rates = [(origin_us + at * 1e6, bps / 1e6) for at, bps in self.line.rate_bps]
        self.counts = Counts()

    def arrival_us(self, nbytes: int, now_us: int) -> int | None:
        """When a packet that comes now is at the other end; None if never.

        nbytes: all that counts against the rate, headers too.
        """
        self.counts.packets += 1
        # Four draws for each packet, whatever becomes of it: the next one's luck is its own.
        lost, burst, jitter, reorder = (self._random.random() for _ in range(4))
        if self._loses(lost, burst):
            self.counts.lost += 1
            return None
        served_us = self._served(nbytes, now_us)
        if served_us is None:
            self.counts.overflowed += 1
            return None
        self.counts.sent_bytes += nbytes
        at_us = round(served_us + self.line.delay_ms * 1e3 + jitter * self.line.jitter_ms * 1e3)
        if reorder < self.line.reorder:
            return at_us + round(self.line.reorder_ms * 1e3)
        self._last_us = max(self._last_us, at_us)
        return self._last_us

    def _loses(self, lost: float, burst: float) -> bool:
        if self._in_burst:
            self._in_burst -= 1
            return True
        if burst < self.line.burst:
            self._in_burst = self.line.burst_packets - 1
            return True
        return lost < self.line.loss

    def _served(self, nbytes: int, now_us: int) -> float | None:
        """When the bottleneck is through with a packet; None if its queue is full."""
        if not self._rates:
            return now_us
        begin_us = max(self._free_us, now_us)
        wait_us = begin_us - now_us
        if wait_us > self.line.queue_ms * 1e3:
            return None
        self.counts.queue_us_max = max(self.counts.queue_us_max, round(wait_us))
        bits = nbytes * 8.0
        for (_, rate), (until_us, _) in zip(self._rates, self._rates[1:], strict=False):
            room = max(0.0, until_us - begin_us) * rate
            if bits <= room:
                self._free_us = begin_us + bits / rate
                return self._free_us
            bits -= room
            begin_us = max(begin_us, until_us)
        self._free_us = begin_us + bits / self._rates[-1][1]
        return self._free_us
