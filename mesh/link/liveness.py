"""When to ping, and when silence means that the other end is gone. Pure: `now_us` comes in.

Silence is counted in time that this node itself was awake for: after a stall of our own (a
stopped process, a starved machine) the peer's bytes lie unread in the socket, and a deadline on
the wall would blame the peer for it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """All waits of a link."""

    ping_us: int = 100_000  # between pings
    silent_us: int = 400_000  # nothing received for this long: lost
    stuck_us: int = 5_000_000  # a ping unanswered for this long, though bytes come: lost
    handshake_us: int = 5_000_000  # from dialling or accepting until both ends agreed
    linger_us: int = 500_000  # for the peer to read the last words and say goodbye


class Liveness:
    """The life signs of one peer."""

    _QUICK_PINGS = 8  # sent closer together at first: the clock offset needs a few samples

    def __init__(self, timing: LinkTiming, now_us: int) -> None:
        self._timing = timing
        self._ticked_us = self._heard_us = now_us
        self._silent_us = 0
        self._waiting_us = 0  # for an answer
        self._waiting = False
        self._pings = 0

    def heard(self, now_us: int) -> None:
        """Bytes came."""
        self._heard_us = now_us
        self._silent_us = 0

    def asked(self) -> None:
        """A ping went out."""
        self._pings += 1
        self._waiting = True

    def answered(self) -> None:
        """A pong came."""
        self._waiting = False
        self._waiting_us = 0

    def tick(self, now_us: int) -> str | None:
        """Call every `tick_us`. Why the peer must be taken for lost, or None while it lives."""
        awake_us = min(max(now_us - self._ticked_us, 0), 2 * self._timing.ping_us)
        self._ticked_us = now_us
        self._silent_us += min(awake_us, max(now_us - self._heard_us, 0))
        if self._waiting:
            self._waiting_us += awake_us
        if self._silent_us >= self._timing.silent_us:
            return f"nothing was heard from it for {self._silent_us // 1000} ms"
        if self._waiting_us >= self._timing.stuck_us:
            return f"it answered no ping for {self._waiting_us // 1000} ms"
        return None

    @property
    def tick_us(self) -> int:
        """Until the next ping and tick."""
        quick = self._pings < self._QUICK_PINGS
        return self._timing.ping_us // 5 if quick else self._timing.ping_us
