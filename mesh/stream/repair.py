"""What a stream sends to repair losses: whole pictures and packets again, within bounds. Pure."""

from __future__ import annotations

from collections.abc import Iterable

KEYFRAME_INTERVAL_US = 300_000  # least time between two asked-for keyframes (libwebrtc's value)
RETRANSMIT_SHARE = 0.25
RETRANSMIT_CREDIT = 64  # packets at once: a burst lost on a path that is otherwise good
RETRANSMIT_GAP_US = 100_000  # until the round trip is known
REMEMBERED = 2048  # packets; twice the history that they are sent again from
LATE_US = 300_000  # a picture older than this is replaced by a keyframe, which is no later
MAX_REPORTS = 8
MAX_TRIP_US = 5_000_000


class KeyframeGate:
    """Keyframes on request, the requests of many viewers merged and their rate bounded."""

    def __init__(self) -> None:
        self._wanted = False
        self._last_us: int | None = None

    def request(self) -> None:
        """Some viewer cannot decode until it gets a whole picture."""
        self._wanted = True

    def take(self, now_us: int) -> bool:
        """Whether the picture encoded now shall be whole."""
        if not self._wanted:
            return False
        if self._last_us is not None and now_us - self._last_us < KEYFRAME_INTERVAL_US:
            return False
        self._wanted = False
        self._last_us = now_us
        return True


class RetransmitGate:
    """Which of the packets that a viewer missed are sent again.

    A path that loses packets because it is full must not be filled with them a second time:
    retransmissions may add a quarter to what is sent, and no packet goes again before the last
    attempt can have been answered. Nor does one that would come too late: a picture that many
    others refer to is worth waiting for, but not longer than a viewer bears to see nothing.
    """

    def __init__(self) -> None:
        self._credit = float(RETRANSMIT_CREDIT)
        self._round_trip_us: int | None = None
        self._whole_us: int | None = None
        self._sent_us: dict[int, int] = {}  # sequence number -> first time, oldest first
        self._again_us: dict[int, int] = {}  # -> last retransmission

    def sent(self, number: int, now_us: int) -> None:
        """A packet (RTP sequence number) went out for the first time."""
        self._credit = min(RETRANSMIT_CREDIT, self._credit + RETRANSMIT_SHARE)
        self._again_us.pop(number, None)  # another packet's, 65536 packets ago
        self._sent_us.pop(number, None)
        self._sent_us[number] = now_us
        if len(self._sent_us) > REMEMBERED:
            gone = next(iter(self._sent_us))
            del self._sent_us[gone]
            self._again_us.pop(gone, None)

    def round_trip(self, us: int) -> None:
        """How long a packet and its answer take."""
        self._round_trip_us = us

    def whole_picture(self, now_us: int) -> None:
        """A keyframe goes out: what went before it is needed no more."""
        self._whole_us = now_us

    def allow(self, missed: Iterable[int], now_us: int) -> list[int]:
        """Those of `missed` (RTP sequence numbers) to send again now."""
        allowed = []
        for number in missed:
            if self._credit < 1 or not self._worth(number) or self._too_late(number, now_us):
                continue
            again_us = self._again_us.get(number)
            if again_us is not None and now_us - again_us < self._gap_us():
                continue
            self._credit -= 1
            self._again_us[number] = now_us
            allowed.append(number)
        return allowed

    def hopeless(self, missed: Iterable[int], now_us: int) -> bool:
        """Whether the viewer needs a keyframe: a packet it still wants would come too late."""
        return any(self._worth(n) and self._too_late(n, now_us) for n in missed)

    def _worth(self, number: int) -> bool:
        sent_us = self._sent_us.get(number)
        return sent_us is not None and (self._whole_us is None or sent_us >= self._whole_us)

    def _too_late(self, number: int, now_us: int) -> bool:
        arrives_us = now_us + (self._round_trip_us or 0) // 2
        return arrives_us - self._sent_us[number] > LATE_US

    def _gap_us(self) -> int:
        return RETRANSMIT_GAP_US if self._round_trip_us is None else self._round_trip_us


class RoundTrip:
    """A viewer's round-trip time from its receiver reports (RFC 3550, section 6.4.1)."""

    def __init__(self) -> None:
        self._reports: dict[int, int] = {}  # middle of our report's NTP time -> when it was sent
        self.us: int | None = None  # smoothed

    def report_sent(self, ntp_middle: int, now_us: int) -> None:
        """A sender report with these middle 32 bits of NTP time went out."""
        self._reports.pop(ntp_middle, None)
        self._reports[ntp_middle] = now_us
        if len(self._reports) > MAX_REPORTS:
            del self._reports[next(iter(self._reports))]

    def report_received(self, last: int, delay: int, now_us: int) -> bool:
        """The viewer got our report `last` and answered `delay` / 65536 s later.

        True if that says anything new; whatever it says is believed between 0 and MAX_TRIP_US.
        """
        sent_us = self._reports.pop(last, None)
        if sent_us is None:
            return False
        trip_us = now_us - sent_us - delay * 1_000_000 // 65536
        trip_us = max(0, min(trip_us, MAX_TRIP_US))
        self.us = trip_us if self.us is None else (7 * self.us + trip_us) // 8
        return True
