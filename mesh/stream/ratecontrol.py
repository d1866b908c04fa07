"""How many bits, and when a whole picture: two small decisions from what viewers report. Pure."""

from __future__ import annotations

from collections.abc import Hashable

from mesh.core.workload import PictureFormat

LOWEST_BPS, HIGHEST_BPS = 200_000, 50_000_000
USABLE_SHARE = 0.85  # of a viewer's estimate; the rest is headers, retransmissions and data
STALE_US = 10_000_000  # an estimate older than this says nothing any more
STEP = 0.05  # smaller moves are not worth a reconfiguration
KEYFRAME_INTERVAL_US = 300_000  # least time between two asked-for keyframes (libwebrtc's value)
_BITS_PER_PIXEL = 0.15  # H.264 ultrafast on rendered scenes: little is gained above


def default_bitrate(picture: PictureFormat, fps: float) -> int:
    """What a picture of this size and rate is worth, in bits per second."""
    wanted = int(picture.width * picture.height * fps * _BITS_PER_PIXEL)
    return max(1_000_000, min(wanted, HIGHEST_BPS))


class BitrateControl:
    """One bitrate for all viewers of a stream: what the weakest of them can take.

    v1: receiver estimates only (REMB, draft-alvestrand-rmcat-remb-03), scaled and clamped.
    """

    def __init__(self, most_bps: int) -> None:
        self._most_bps = max(LOWEST_BPS, min(most_bps, HIGHEST_BPS))
        self._estimates: dict[Hashable, tuple[int, int]] = {}  # viewer -> (bps, when)
        self._bitrate = self._most_bps

    def estimated(self, viewer: Hashable, bps: int, now_us: int) -> None:
        """`viewer` believes that its path carries `bps`."""
        self._estimates[viewer] = (bps, now_us)

    def forget(self, viewer: Hashable) -> None:
        """`viewer` is gone."""
        self._estimates.pop(viewer, None)

    def bitrate(self, now_us: int) -> int:
        """Bits per second to encode with now."""
        fresh = [bps for bps, when in self._estimates.values() if now_us - when <= STALE_US]
        share = int(min(fresh) * USABLE_SHARE) if fresh else self._most_bps
        wanted = max(LOWEST_BPS, min(share, self._most_bps))
        at_an_end = wanted in (LOWEST_BPS, self._most_bps)
        if at_an_end or abs(wanted - self._bitrate) > STEP * self._bitrate:
            self._bitrate = wanted
        return self._bitrate


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
