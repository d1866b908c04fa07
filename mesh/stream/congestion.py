"""How much one path carries, and whether a picture sent now would wait on it. Pure.

Google Congestion Control (draft-ietf-rmcat-gcc-02) from transport-wide feedback, made for low
latency. What differs from the draft, and why:

* Capacity is measured, not only searched. Packets that arrive out of a queue arrive at the path's
  rate: over a busy time that is the capacity to fall to, and over one picture's burst ("packet
  train") it is the capacity to rise to. So a path that widens is found in a second or two, by the
  pictures themselves; the draft's 8 % a second stays for pictures too small to tell.
* After a fall the queue is emptied at once: the sender's model of it says when a picture would
  still wait, and the stream leaves that picture out (`congested`).
* Trains flatter a path that others share. A rise that ends in over-use doubles the wait before
  the next.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

from mesh.stream.delaytrend import BURST_US, Arrived, DelayTrend
from mesh.stream.transportcc import CLOCK_US, Feedback

LOWEST_BPS = 150_000
BACK_OFF = 0.85  # of what the path was seen to carry (draft, section 5.5)
NEAR = 0.92  # of what trains say: above it, growth is slow
GROWTH = 1.08  # a second
MAX_RISE = 1.5  # in one step, by trains
STEP_BITS = 10_000  # of slow growth, about a packet, each response time
RISE_GAP_US, MAX_RISE_GAP_US = 250_000, 8_000_000
RISE_TRIAL_US = 1_000_000  # over-use so soon after a rise was its doing
UNTESTED = 0.6  # sending less than this share of what is allowed tests nothing
TRAIN_PACKETS, TRAINS, TRAINS_US = 5, 4, 600_000
MAX_TRAINS = 12
BUSY_US, BUSY_PACKETS = 75_000, 10  # what capacity is measured over, at least
MAX_BUSY_US = 500_000
WARY_US = 2_000_000  # after over-use: the model of the queue is heeded
LEAVE_OUT_US, TAKE_UP_US = 40_000, 8_000  # queues at which pictures are left out, and sent again
MUCH_LOST = 0.10
LOSS_WINDOW_US = 500_000
MAX_HISTORY = 8192  # packets; a quarter of what a number of 16 bits tells apart, or less
SHARE_HALF_US = 1_000_000


@dataclass(frozen=True, slots=True)
class _Sent:
    at_us: int
    nbytes: int


class PathControl:
    """One viewer's path. Numbers its packets, is told of each, and hears the viewer's feedback.

    most_bps: where it starts, and what it never passes; bits on the wire, as are all its rates.
    """

    def __init__(self, most_bps: int) -> None:
        self._most_bps = float(most_bps)
        self._target_bps = float(most_bps)
        self._trend = DelayTrend()
        self._trains = _Trains()
        self._shares = _MediaShare()
        self._next = 0
        self._history: dict[int, _Sent] = {}  # number (unwrapped) -> packet, oldest first
        self._arrived: deque[Arrived] = deque()  # within MAX_BUSY_US
        self._newest = -1  # number of the newest packet that is known to have arrived
        self._clock_us: int | None = None  # the viewer's, unwrapped
        self._response_us = 100_000  # from sending to feedback
        self._heard_us: int | None = None
        self._fell_us: int | None = None
        self._rose_us: int | None = None
        self._rise_gap_us = RISE_GAP_US
        self._capacity_bps: float | None = None  # as last seen
        self._free_us = 0.0  # when the bottleneck will be through with all that was sent
        self._leaving_out = False
        self._losses: deque[tuple[int, int, int]] = deque()  # (when, lost, told of)

    @property
    def target_bps(self) -> int:
        """What may be sent, all on the wire counted."""
        return round(self._target_bps)

    @property
    def media_bps(self) -> int:
        """What may be encoded: the target less headers, parity and retransmissions."""
        return round(self._target_bps * self._shares.share)

    def sent(self, nbytes: int, now_us: int, media: int = 0) -> int:
        """A packet leaves: the number, 16 bits, that it must carry.

        nbytes: on the wire. media: bytes in it of pictures that were not sent before.
        """
        number = self._next
        self._next += 1
        self._history[number] = _Sent(now_us, nbytes)
        if len(self._history) > MAX_HISTORY:
            del self._history[next(iter(self._history))]
        self._shares.sent(nbytes, media, now_us)
        self._queue(now_us, nbytes)
        return number & 0xFFFF

    def received(self, feedback: Feedback, now_us: int) -> None:
        """The viewer's report."""
        arrived, lost, told = self._match(feedback)
        if not arrived:
            return
        overused = False
        for packet in arrived:
            self._trend.arrived(packet)
            self._trains.arrived(packet)
            self._arrived.append(packet)
            overused = overused or self._trend.overused
        self._forget_arrivals()
        self._response_us = (7 * self._response_us + now_us - arrived[-1].sent_us) // 8
        self._note_losses(lost, told, now_us)
        fresh = self._fell_us is None or arrived[-1].sent_us > self._fell_us
        if overused and fresh:
            self._fall(self._busy_bps() * BACK_OFF, now_us)
        elif self._much_lost() and fresh:
            self._fall(self._target_bps * (1 - 0.5 * self._loss()), now_us)
        elif not (overused or self._trend.draining):
            self._rise(now_us)
        self._heard_us = now_us
        self._model_queue(arrived[-1])

    def congested(self, now_us: int) -> bool:
        """Whether a picture sent now would wait behind a queue: better to leave it out."""
        wary = self._fell_us is not None and now_us - self._fell_us < WARY_US
        waits_us = self._free_us - now_us
        self._leaving_out = wary and waits_us > (TAKE_UP_US if self._leaving_out else LEAVE_OUT_US)
        return self._leaving_out

    # --- what is known of the path ----------------------------------------------------------

    def _match(self, feedback: Feedback) -> tuple[list[Arrived], int, int]:
        """The packets that arrived, how many did not, of how many."""
        first = self._unwrapped(feedback.first)
        arrived, lost, told = [], 0, 0
        for number, at_us in enumerate(feedback.arrivals_us, first):
            if at_us is None:
                if number in self._history:
                    lost += 1
                    told += 1
                continue
            clock_us = self._viewer_clock(at_us)
            packet = self._history.pop(number, None)
            if packet is None:
                continue
            told += 1
            if number > self._newest:
                self._newest = number
                arrived.append(Arrived(packet.at_us, clock_us, packet.nbytes))
        return arrived, lost, told

    def _unwrapped(self, number: int) -> int:
        """The last sent number, or one before it, that has these lower 16 bits."""
        return self._next - ((self._next - number) & 0xFFFF)

    def _viewer_clock(self, at_us: int) -> int:
        if self._clock_us is None:
            self._clock_us = at_us
        else:
            half_us = CLOCK_US // 2
            self._clock_us += (at_us - self._clock_us + half_us) % CLOCK_US - half_us
        return self._clock_us

    def _forget_arrivals(self) -> None:
        newest_us = self._arrived[-1].arrived_us
        while newest_us - self._arrived[0].arrived_us > MAX_BUSY_US:
            self._arrived.popleft()

    def _busy_bps(self) -> float:
        """What came through lately, while the queue had something in it."""
        newest_us = self._arrived[-1].arrived_us
        nbytes = packets = span_us = 0
        last_bytes = self._arrived[-1].nbytes
        for packet in reversed(self._arrived):
            span_us = newest_us - packet.arrived_us
            if packets > BUSY_PACKETS and span_us > BUSY_US:
                break
            nbytes, packets, last_bytes = nbytes + packet.nbytes, packets + 1, packet.nbytes
        # The first packet's own time on the wire is not within the span.
        return (nbytes - last_bytes) * 8e6 / max(span_us, 1_000)

    def _note_losses(self, lost: int, told: int, now_us: int) -> None:
        self._losses.append((now_us, lost, told))
        while now_us - self._losses[0][0] > LOSS_WINDOW_US:
            self._losses.popleft()

    def _loss(self) -> float:
        told = sum(told for _, _, told in self._losses)
        return sum(lost for _, lost, _ in self._losses) / max(told, 1)

    def _much_lost(self) -> bool:
        enough = sum(told for _, _, told in self._losses) >= 2 * BUSY_PACKETS
        return enough and self._loss() > MUCH_LOST

    # --- the rate ---------------------------------------------------------------------------

    def _fall(self, to_bps: float, now_us: int) -> None:
        self._capacity_bps = self._busy_bps() or None  # one packet alone says nothing
        self._target_bps = max(LOWEST_BPS, min(self._target_bps, to_bps))
        if self._rose_us is not None and now_us - self._rose_us < RISE_TRIAL_US:
            self._rise_gap_us = min(2 * self._rise_gap_us, MAX_RISE_GAP_US)
        self._fell_us, self._rose_us = now_us, None
        self._trend.restart()
        self._trains.restart()
        self._losses.clear()

    def _rise(self, now_us: int) -> None:
        if self._target_bps >= self._most_bps or self._heard_us is None:
            return
        elapsed_s = min(now_us - self._heard_us, 1_000_000) / 1e6
        train_bps = self._trains.bps(now_us)
        if train_bps is not None:
            self._capacity_bps = train_bps
            if self._rise_due(now_us) and NEAR * train_bps > GROWTH * self._target_bps:
                to_bps = min(NEAR * train_bps, MAX_RISE * self._target_bps)
                self._target_bps = min(to_bps, self._most_bps)
                self._rose_us = now_us
                return
        if self._shares.bps(now_us) < UNTESTED * self._target_bps:
            return
        near = self._capacity_bps is not None and self._target_bps > NEAR * self._capacity_bps
        slow_bps = self._target_bps + STEP_BITS * elapsed_s * 1e6 / self._response_us
        grown_bps = slow_bps if near else self._target_bps * GROWTH**elapsed_s
        self._target_bps = min(grown_bps, self._most_bps)

    def _rise_due(self, now_us: int) -> bool:
        last_us = max((at for at in (self._fell_us, self._rose_us) if at is not None), default=None)
        if self._rose_us is not None and now_us - self._rose_us > RISE_TRIAL_US:
            self._rise_gap_us = RISE_GAP_US  # the last one held
        return last_us is None or now_us - last_us >= self._rise_gap_us

    # --- the queue --------------------------------------------------------------------------

    def _queue(self, now_us: float, nbytes: int) -> None:
        """The bottleneck's turn at one more packet, by what is known of its rate."""
        if self._capacity_bps is not None:
            self._free_us = max(self._free_us, now_us) + nbytes * 8e6 / self._capacity_bps

    def _model_queue(self, newest: Arrived) -> None:
        """Begin again from what was measured; what is still on its way comes behind it."""
        self._free_us = newest.sent_us + self._trend.waited_us(newest)
        for number in range(max(self._newest + 1, self._next - MAX_HISTORY), self._next):
            packet = self._history.get(number)
            if packet is not None:
                self._queue(packet.at_us, packet.nbytes)


class _Trains:
    """What the packets of one burst say about the path: they arrive as far apart as it sends them,
    or left that far apart.
    """

    def __init__(self) -> None:
        self._train: list[Arrived] = []
        self._rates: deque[tuple[int, float]] = deque(maxlen=MAX_TRAINS)  # (sent, bps)

    def restart(self) -> None:
        self._train.clear()
        self._rates.clear()

    def arrived(self, packet: Arrived) -> None:
        if self._train and packet.sent_us - self._train[-1].sent_us > BURST_US:
            self._end()
        self._train.append(packet)

    def bps(self, now_us: int) -> float | None:
        """The median of the last ones, or None if too few are recent."""
        recent = [bps for at_us, bps in self._rates if now_us - at_us <= TRAINS_US]
        return statistics.median(recent) if len(recent) >= TRAINS else None

    def _end(self) -> None:
        train, self._train = self._train, []
        if len(train) < TRAIN_PACKETS:
            return
        nbytes = sum(packet.nbytes for packet in train)
        first, last = train[0], train[-1]
        took_us = max(last.arrived_us - first.arrived_us, 250)
        left_us = max(last.sent_us - first.sent_us, 1)
        rate = min((nbytes - first.nbytes) / took_us, (nbytes - last.nbytes) / left_us)
        self._rates.append((last.sent_us, rate * 8e6))


class _MediaShare:
    """How much of what is sent is pictures, lately; and how much is sent."""

    def __init__(self) -> None:
        self._all = self._media = 0.0
        self._at_us = 0

    def sent(self, nbytes: int, media: int, now_us: int) -> None:
        self._age(now_us)
        self._all += nbytes
        self._media += media

    @property
    def share(self) -> float:
        """0.3 to 0.95, also where next to nothing was sent."""
        return min(max(self._media / self._all, 0.3), 0.95) if self._all > 0 else 0.9

    def bps(self, now_us: int) -> float:
        """Bits a second, all counted."""
        self._age(now_us)
        # A steady rate, halved every SHARE_HALF_US, sums up to that times 1 / ln 2.
        return self._all * 8e6 * 0.6931 / SHARE_HALF_US

    def _age(self, now_us: int) -> None:
        kept = 0.5 ** (max(0, now_us - self._at_us) / SHARE_HALF_US)
        self._all, self._media, self._at_us = self._all * kept, self._media * kept, now_us
