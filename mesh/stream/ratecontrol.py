"""How many bits a stream is encoded with, decided from what its viewers report. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass

from mesh.core.workload import PictureFormat

LOWEST_BPS, HIGHEST_BPS = 200_000, 50_000_000
USABLE_SHARE = 0.85  # of a viewer's estimate; the rest is headers, retransmissions and data
STALE_US = 10_000_000  # an estimate older than this says nothing any more
STEP = 0.05  # smaller moves are not worth a reconfiguration
FALL = 0.97  # an estimate below this share of the one before: the receiver saw a queue build up
SHORT = 0.9  # an estimate below this share of what was sent: less arrives than leaves
IDLE = 0.5  # sending less than this share of what is allowed tests nothing
MUCH_LOST, LITTLE_LOST = 0.10, 0.02
LOSS_STEP_US = 500_000  # reports cluster in trouble; a step must show before the next is taken
LOSS_HOLD_US = 5_000_000  # after a step down, before the first up
SENT_WINDOW_US = 1_000_000
_BITS_PER_PIXEL = 0.15  # H.264 ultrafast on rendered scenes: little is gained above


def default_bitrate(picture: PictureFormat, fps: float) -> int:
    """What a picture of this size and rate is worth, in bits per second."""
    wanted = int(picture.width * picture.height * fps * _BITS_PER_PIXEL)
    return max(1_000_000, min(wanted, HIGHEST_BPS))


@dataclass(slots=True)
class _Path:
    """What one viewer's reports say about its path. A limit of None: nothing has shown one."""

    estimate_bps: int | None = None
    heard_us: int = 0
    allowed_bps: float | None = None
    delay_limit_bps: float | None = None
    loss_limit_bps: float | None = None
    loss_step_us: int | None = None


class BitrateControl:
    """One bitrate for all viewers of a stream: what the weakest of them can take.

    A viewer that gives transport-wide feedback has a controller of its own
    (mesh.stream.congestion), whose word is taken (`allowed`). For others, from what any browser
    reports, after draft-ietf-rmcat-gcc-02:

    * REMB, the receiver's estimate from delays (section 5). It cannot tell a narrow path from a
      still picture: it starts at, and never passes one and a half times, what it was sent. So it
      limits only once it has fallen, or stayed short of what was sent, and is followed up again.
    * the share of packets lost (section 6): over a tenth lowers the limit, under a fiftieth
      raises it.
    """

    def __init__(self, most_bps: int) -> None:
        self._most_bps = max(LOWEST_BPS, min(most_bps, HIGHEST_BPS))
        self._paths: defaultdict[Hashable, _Path] = defaultdict(_Path)
        self._sent: deque[tuple[int, int]] = deque()  # (when, bytes) within the window
        self._bitrate = self._most_bps

    def sent(self, nbytes: int, now_us: int) -> None:
        """A picture of that size went out."""
        self._sent.append((now_us, nbytes))
        self._forget_sent(now_us)

    def estimated(self, viewer: Hashable, bps: int, now_us: int) -> None:
        """`viewer` believes that its path carries `bps`."""
        path = self._paths[viewer]
        before = path.estimate_bps if path.estimate_bps is not None else bps
        sent_bps = self._sent_bps(now_us)
        usable = bps * USABLE_SHARE
        falls = bps < FALL * before
        short = bps < SHORT * sent_bps and bps <= before  # one that rises only lags behind
        if falls or short:
            idle = sent_bps < IDLE * self._bitrate
            path.delay_limit_bps = max(usable, self._bitrate / 2) if idle else usable
        elif path.delay_limit_bps is not None:
            path.delay_limit_bps = max(path.delay_limit_bps, usable)
        path.estimate_bps, path.heard_us = bps, now_us

    def allowed(self, viewer: Hashable, bps: int, now_us: int) -> None:
        """`viewer`'s own controller allows pictures of `bps`."""
        path = self._paths[viewer]
        path.allowed_bps, path.heard_us = bps, now_us

    def lost(self, viewer: Hashable, share: float, now_us: int) -> None:
        """`viewer` missed that share, 0 to 1, of the packets since its last report."""
        path = self._paths[viewer]
        path.heard_us = now_us
        since_us = now_us - path.loss_step_us if path.loss_step_us is not None else LOSS_HOLD_US
        if share > MUCH_LOST and since_us >= LOSS_STEP_US:
            path.loss_limit_bps = self._bitrate * (1 - 0.5 * share)
            path.loss_step_us = now_us
        elif share < LITTLE_LOST and since_us >= LOSS_HOLD_US and path.loss_limit_bps is not None:
            path.loss_limit_bps *= 1.05

    def forget(self, viewer: Hashable) -> None:
        """`viewer` is gone."""
        self._paths.pop(viewer, None)

    def bitrate(self, now_us: int) -> int:
        """Bits per second to encode with now."""
        limits = [
            limit
            for path in self._paths.values()
            if now_us - path.heard_us <= STALE_US
            for limit in (path.allowed_bps, path.delay_limit_bps, path.loss_limit_bps)
            if limit is not None
        ]
        wanted = int(max(LOWEST_BPS, min([*limits, self._most_bps])))
        at_an_end = wanted in (LOWEST_BPS, self._most_bps)
        if at_an_end or abs(wanted - self._bitrate) > STEP * self._bitrate:
            self._bitrate = wanted
        return self._bitrate

    def _sent_bps(self, now_us: int) -> float:
        self._forget_sent(now_us)
        return sum(nbytes for _, nbytes in self._sent) * 8 * 1_000_000 / SENT_WINDOW_US

    def _forget_sent(self, now_us: int) -> None:
        while self._sent and now_us - self._sent[0][0] > SENT_WINDOW_US:
            self._sent.popleft()
