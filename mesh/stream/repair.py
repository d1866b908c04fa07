"""What a stream sends to repair losses: whole pictures and packets again, within bounds. Pure."""

from __future__ import annotations

from collections.abc import Iterable

KEYFRAME_INTERVAL_US = 300_000  # least time between two asked-for keyframes (libwebrtc's value)
RETRANSMIT_SHARE = 0.25
RETRANSMIT_CREDIT = 64  # packets at once: a burst lost on a path that is otherwise good
RETRANSMIT_GAP_US = 100_000


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
    attempt can have arrived.
    """

    def __init__(self) -> None:
        self._credit = float(RETRANSMIT_CREDIT)
        self._sent_us: dict[int, int] = {}  # sequence number -> last retransmission

    def sent(self) -> None:
        """One packet went out."""
        self._credit = min(RETRANSMIT_CREDIT, self._credit + RETRANSMIT_SHARE)

    def allow(self, missed: Iterable[int], now_us: int) -> list[int]:
        """Those of `missed` (RTP sequence numbers) to send again now."""
        allowed = []
        for number in missed:
            last_us = self._sent_us.get(number)
            if self._credit < 1 or (last_us is not None and now_us - last_us < RETRANSMIT_GAP_US):
                continue
            self._credit -= 1
            self._sent_us[number] = now_us
            allowed.append(number)
        if len(self._sent_us) > 4 * RETRANSMIT_CREDIT:
            self._sent_us = {
                number: sent_us
                for number, sent_us in self._sent_us.items()
                if now_us - sent_us < RETRANSMIT_GAP_US
            }
        return allowed
