"""The controller in virtual time, with pictures over the bottleneck that the benchmark uses."""

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.impair.line import Line, LineModel
from mesh.stream.congestion import LOWEST_BPS, PathControl
from mesh.stream.transportcc import CLOCK_US, Feedback

FRAME_US = 1_000_000 // 60
REPORT_US = 50_000  # Chromium's
PACKET_BYTES = 1_250
SECOND = 1_000_000


@dataclass
class Path:
    """Pictures of the size that the controller allows go over a line; reports come back."""

    line: Line
    most_bps: int = 16_000_000
    encoder_bps: int = 16_000_000  # what the pictures take at most
    others_bps: float = 0.0  # steady traffic of somebody else's
    seed: int = 1
    now_us: int = 0
    waits_us: list[tuple[int, int]] = field(default_factory=list)  # of pictures: (sent, took)
    left_out: list[int] = field(default_factory=list)
    lost: int = 0
    carried: list[tuple[int, int]] = field(default_factory=list)  # (arrived, bytes)

    def __post_init__(self) -> None:
        self.control = PathControl(self.most_bps)
        self._model = LineModel(self.line, f"seed {self.seed}")
        self._random = random.Random(self.seed)
        self._arrivals: dict[int, int] = {}  # number -> when
        self._reported = 0
        self._numbers = 0
        self._reports: deque[tuple[int, Feedback]] = deque()
        self._credit = 0.0
        self._viewer_ahead_us = self._random.randrange(CLOCK_US)

    def run(self, until_us: int) -> "Path":
        while self.now_us < until_us:
            self.now_us += FRAME_US
            self._deliver_reports()
            self._others()
            if self.control.congested(self.now_us):
                self.left_out.append(self.now_us)
            else:
                self._send_picture()
            if self.now_us // REPORT_US != (self.now_us - FRAME_US) // REPORT_US:
                self._report()
        return self

    def _others(self) -> None:
        self._credit += self.others_bps * FRAME_US / 8e6
        while self._credit >= PACKET_BYTES:
            self._credit -= PACKET_BYTES
            self._model.arrival_us(PACKET_BYTES, self.now_us)

    def _send_picture(self) -> None:
        bps = min(self.control.target_bps, self.encoder_bps)
        size = bps * FRAME_US / 8e6 * self._random.uniform(0.7, 1.3)
        last_us = self.now_us
        for n in range(max(1, round(size / PACKET_BYTES))):
            sent_us = self.now_us + 50 * n
            number = self.control.sent(PACKET_BYTES, sent_us, PACKET_BYTES)
            assert number == self._numbers & 0xFFFF
            at_us = self._model.arrival_us(PACKET_BYTES, sent_us)
            if at_us is None:
                self.lost += 1
            else:
                self._arrivals[self._numbers] = at_us
                self.carried.append((at_us, PACKET_BYTES))
                last_us = max(last_us, at_us)
            self._numbers += 1
        self.waits_us.append((self.now_us, last_us - self.now_us))

    def _report(self) -> None:
        """All up to the newest that has arrived by now."""
        here = [n for n, at_us in self._arrivals.items() if at_us <= self.now_us]
        if not here:
            return
        told = range(self._reported, max(here) + 1)
        arrivals = tuple(self._clock(self._arrivals.pop(n, None)) for n in told)
        self._reported = told.stop
        if arrivals:
            self._reports.append((self.now_us, Feedback(told.start & 0xFFFF, arrivals)))

    def _clock(self, at_us: int | None) -> int | None:
        if at_us is None or at_us > self.now_us:
            return None
        return (at_us + self._viewer_ahead_us) // 250 * 250 % CLOCK_US

    def _deliver_reports(self) -> None:
        delay_us = round(self.line.delay_ms * 1000)
        while self._reports and self._reports[0][0] + delay_us <= self.now_us:
            self.control.received(self._reports.popleft()[1], self.now_us)

    def carried_bps(self, begin_us: int, end_us: int) -> float:
        nbytes = sum(size for at_us, size in self.carried if begin_us <= at_us < end_us)
        return nbytes * 8e6 / (end_us - begin_us)

    def slowest_ms(self, begin_us: int, end_us: int) -> float:
        return max(took for at_us, took in self.waits_us if begin_us <= at_us < end_us) / 1000


STEP = Line(rate_bps=((0, 8e6), (5, 4e6), (12, 8e6)), queue_ms=100)


@pytest.mark.parametrize("delay_ms", [0, 20, 50])
def test_a_path_that_narrows_and_widens_is_followed(delay_ms):
    line = Line(delay_ms=delay_ms, rate_bps=STEP.rate_bps, queue_ms=100)
    path = Path(line).run(19 * SECOND)
    for begin_s, end_s, bps in ((6, 12, 4e6), (15, 19, 8e6)):
        begin_us, end_us = begin_s * SECOND, end_s * SECOND
        assert path.slowest_ms(begin_us, end_us) < 120 + delay_ms
        assert path.carried_bps(begin_us, end_us) > 0.8 * bps


def test_pictures_are_left_out_while_the_queue_empties_and_at_no_other_time():
    path = Path(STEP).run(19 * SECOND)
    after_fall = [at_us for at_us in path.left_out if 5 * SECOND <= at_us < 5.5 * SECOND]
    assert 1 <= len(after_fall) <= 15
    assert not [at_us for at_us in path.left_out if 6 * SECOND <= at_us < 12 * SECOND]


def test_a_path_with_room_is_never_limited():
    path = Path(Line(delay_ms=5, jitter_ms=4, rate_bps=((0, 50e6),), queue_ms=100))
    path.run(20 * SECOND)
    assert path.control.target_bps == path.most_bps
    assert not path.left_out


def test_random_loss_alone_limits_nothing():
    path = Path(Line(delay_ms=20, loss=0.05, rate_bps=((0, 50e6),), queue_ms=100))
    path.run(20 * SECOND)
    assert path.control.target_bps == path.most_bps


def test_heavy_loss_without_a_queue_is_a_limit():
    """A policer: what is over the rate is dropped, and waits for nothing."""
    path = Path(Line(delay_ms=10, rate_bps=((0, 6e6),), queue_ms=8)).run(20 * SECOND)
    assert path.control.target_bps < 9_000_000


def test_pictures_that_take_little_do_not_let_the_target_fall():
    path = Path(STEP, encoder_bps=1_000_000).run(19 * SECOND)
    assert path.control.target_bps == path.most_bps


def test_somebody_elses_traffic_is_given_way_to():
    path = Path(Line(rate_bps=((0, 8e6),), queue_ms=100), others_bps=4e6).run(20 * SECOND)
    assert 2.5e6 < path.carried_bps(5 * SECOND, 20 * SECOND) < 4.2e6


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.floats(0.3e6, 30e6), min_size=1, max_size=4),
    st.integers(0, 60),
    st.floats(0, 0.2),
    st.integers(0, 30),
    st.integers(0, 2**16),
)
@example([0.3e6], 0, 0.0, 0, 3)  # the first packet alone is late: no rate can be read from it
def test_the_target_keeps_its_bounds_on_any_path(rates, delay_ms, loss, jitter_ms, seed):
    line = Line(
        delay_ms=delay_ms,
        loss=loss,
        jitter_ms=jitter_ms,
        reorder=0.01,
        reorder_ms=5,
        rate_bps=tuple((2.0 * n, bps) for n, bps in enumerate(rates)),
        queue_ms=100,
    )
    path = Path(line, seed=seed)
    while path.now_us < 4 * SECOND:
        path.run(path.now_us + SECOND // 4)
        assert LOWEST_BPS <= path.control.target_bps <= path.most_bps
        assert 0 < path.control.media_bps <= path.control.target_bps


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, CLOCK_US - 1)), max_size=30))
def test_reports_that_lie_break_nothing(reports):
    control = PathControl(8_000_000)
    for now_us, (first, at_us) in enumerate(reports):
        control.sent(PACKET_BYTES, now_us)
        control.received(Feedback(first, (at_us, None, at_us)), now_us)
        assert LOWEST_BPS <= control.target_bps <= 8_000_000
        control.congested(now_us)
