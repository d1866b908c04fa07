"""When a device process that ended is started again. Pure: the clock is an argument."""

from __future__ import annotations

FIRST_DELAY_US = 250_000
LONGEST_DELAY_US = 10_000_000
FORGIVEN_AFTER_US = 10_000_000  # of service
GIVE_UP_AFTER = 6  # starts in a row that never came to serve


class RestartPolicy:
    """The first restart is immediate; then each waits twice as long, until the device serves again.

    A process that crashes on each piece must not spend the machine on restarts, and a driver that
    never comes up must be said to have failed rather than be tried for ever.
    """

    def __init__(self) -> None:
        self._quick_ends = 0
        self._failed_starts = 0

    def ended(self, now_us: int, served_since_us: int | None) -> int | None:
        """Microseconds to wait before the next start, or None to give up.

        served_since_us: when the ended process came to serve; None if it never did.
        """
        if served_since_us is None:
            self._failed_starts += 1
            if self._failed_starts >= GIVE_UP_AFTER:
                return None
        else:
            self._failed_starts = 0
            if now_us - served_since_us >= FORGIVEN_AFTER_US:
                self._quick_ends = 0
        self._quick_ends += 1
        if self._quick_ends == 1:
            return 0
        return min(FIRST_DELAY_US << min(self._quick_ends - 2, 16), LONGEST_DELAY_US)
