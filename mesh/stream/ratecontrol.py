"""How many bits, and when a whole picture: two small decisions from what viewers report. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from mesh.core.workload import PictureFormat

LOWEST_BPS, HIGHEST_BPS = 200_000, 50_000_000
USABLE_SHARE = 0.85  # of a viewer's estimate; the rest is headers, retransmissions and data
STALE_US = 10_000_000  # an estimate older than this says nothing any more
STEP = 0.05  # smaller moves are not worth a reconfiguration
GROWTH_PER_S = 1.08  # how a limit is forgotten; as fast as receivers raise their estimates
FALL = 0.97  # an estimate below this share of the one before: the receiver saw a queue build up
SHORT = 0.9  # an estimate below this share of what was sent: less arrives than leaves
SENT_WINDOW_US = 1_000_000
KEYFRAME_INTERVAL_US = 300_000  # least time between two asked-for keyframes (libwebrtc's value)
_BITS_PER_PIXEL = 0.15  # H.264 ultrafast on rendered scenes: little is gained above


def default_bitrate(picture: PictureFormat, fps: float) -> int:
    """What a picture of this size and rate is worth, in bits per second."""
    wanted = int(picture.width * picture.height * fps * _BITS_PER_PIXEL)
    return max(1_000_000, min(wanted, HIGHEST_BPS))


@dataclass(slots=True)
class _Path:
    """What one viewer has said about its path."""

    estimate_bps: int
    heard_us: int
    limit_bps: float | None = None  # None: nothing has shown that it has one
    limited_us: int = 0

    def limit(self, now_us: int) -> float | None:
        if self.limit_bps is None:
            return None
        return float(self.limit_bps * GROWTH_PER_S ** ((now_us - self.limited_us) / 1_000_000))


class BitrateControl:
    """One bitrate for all viewers of a stream: what the weakest of them can take.

    v1: receiver estimates only (REMB, draft-alvestrand-rmcat-remb-03). A receiver cannot tell a
    narrow path from a still picture: its estimate starts at, and never passes one and a half
    times, what it was sent. So an estimate limits only when it falls, or stays short of what was
    sent; the limit then grows back until the next one that does.
    """

    def __init__(self, most_bps: int) -> None:
        self._most_bps = max(LOWEST_BPS, min(most_bps, HIGHEST_BPS))
        self._paths: dict[Hashable, _Path] = {}
        self._sent: deque[tuple[int, int]] = deque()  # (when, bytes) within the window
        self._bitrate = self._most_bps

    def sent(self, nbytes: int, now_us: int) -> None:
        """A picture of that size went out."""
        self._sent.append((now_us, nbytes))
        self._forget_sent(now_us)

    def estimated(self, viewer: Hashable, bps: int, now_us: int) -> None:
        """`viewer` believes that its path carries `bps`."""
        self._forget_sent(now_us)
        sent_bps = sum(nbytes for _, nbytes in self._sent) * 8 * 1_000_000 / SENT_WINDOW_US
        path = self._paths.setdefault(viewer, _Path(bps, now_us))
        limit = path.limit(now_us)
        usable = bps * USABLE_SHARE
        falls = bps < FALL * path.estimate_bps
        short = bps < SHORT * sent_bps and bps <= path.estimate_bps  # rising: it only lags behind
        lifts = limit is not None and limit < usable
        if falls or short or lifts:
            path.limit_bps, path.limited_us = usable, now_us
        path.estimate_bps, path.heard_us = bps, now_us

    def forget(self, viewer: Hashable) -> None:
        """`viewer` is gone."""
        self._paths.pop(viewer, None)

    def bitrate(self, now_us: int) -> int:
        """Bits per second to encode with now."""
        limits = (
            path.limit(now_us)
            for path in self._paths.values()
            if now_us - path.heard_us <= STALE_US
        )
        lowest = min((limit for limit in limits if limit is not None), default=self._most_bps)
        wanted = max(LOWEST_BPS, min(int(lowest), self._most_bps))
        at_an_end = wanted in (LOWEST_BPS, self._most_bps)
        if at_an_end or abs(wanted - self._bitrate) > STEP * self._bitrate:
            self._bitrate = wanted
        return self._bitrate

    def _forget_sent(self, now_us: int) -> None:
        while self._sent and now_us - self._sent[0][0] > SENT_WINDOW_US:
            self._sent.popleft()


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
