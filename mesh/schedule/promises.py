"""What one device owes, when it should be done with it, and what its silence means."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from mesh.schedule.ids import DeviceKey, PieceKey

LOST_US: Final = 2_000_000  # an attempt this long past its deadline will never be answered
MAX_KINDS: Final = 256  # per device; the one not seen for longest goes when there are more

NEVER_US: Final = 2**62


class Want(NamedTuple):
    """A piece to place, as far as placing cares.

    in_bytes, out_bytes: sizes of what travels there and, as expected, back; at most `most_bytes`.
    exclude: devices not to ask; those that were asked for it before are among them.
    """

    key: PieceKey
    kind: str
    units: float
    in_bytes: int
    out_bytes: int
    most_bytes: int
    exclude: frozenset[DeviceKey] = frozenset()


class Attempt(msgspec.Struct):
    """One piece on one device, unanswered.

    deadline_us: when the answer is needed here. run_us: typical run time. expected_us: when the
    answer should be here. doubt_us: from when its absence makes a copy worth while.
    overdue_us: from when it makes the device suspect. paid_us: from the budget for copies. told:
    to drop it, and to say when that is done.
    """

    want: Want
    deadline_us: int
    run_us: float
    sent_us: int
    expected_us: int
    doubt_us: int
    overdue_us: int
    probe: bool
    paid_us: float
    told: bool = False

    @property
    def late(self) -> bool:
        """Whether the answer is expected after its deadline."""
        return self.expected_us > self.deadline_us


@dataclass(slots=True)
class DeviceAccount:
    """The unanswered attempts on one device, and an estimate of everything else it has to do."""

    key: DeviceKey
    suspended: bool = False
    proven: bool = False  # has answered with a result since it came
    attempts: dict[PieceKey, Attempt] = field(default_factory=dict)
    running: PieceKey | None = None  # which of them it probably runs now
    other_us: float = 0.0  # work of others on it, as of `since_us`
    since_us: int = 0  # last sign of life, or when it got work after being idle
    placed_us: dict[str, int] = field(default_factory=dict)  # when it last got a piece, by kind
    served_us: float = 0.0  # work given so far; breaks ties between equals
    silent_us: int = NEVER_US  # before that no answer becomes overdue

    @property
    def current(self) -> Attempt | None:
        """What it probably runs now, of what is owed."""
        return self.attempts.get(self.running) if self.running is not None else None

    def suspect(self, now_us: int) -> bool:
        """Whether an answer is overdue."""
        if now_us < self.silent_us:
            return False
        overdue = [attempt.overdue_us for attempt in self.attempts.values()]
        self.silent_us = min(overdue, default=NEVER_US)
        return self.silent_us <= now_us

    def late(self, now_us: int) -> bool:
        """Whether an answer is in doubt."""
        return any(attempt.doubt_us <= now_us for attempt in self.attempts.values())

    def due(self, now_us: int) -> bool:
        """Whether an answer should be here by now."""
        return any(attempt.expected_us <= now_us for attempt in self.attempts.values())

    def begun_us(self, now_us: int) -> float:
        """Others' work still ahead of what is owed, less what is done of the running piece."""
        run_us = self.current.run_us if self.current is not None else 0.0
        gone_us = max(0, now_us - self.since_us)
        return max(self.other_us - gone_us, -run_us)

    def backlog_us(self, deadline_us: int, now_us: int) -> float:
        """Predicted work before a new piece of that deadline could start, under EDF.

        The running piece is not interrupted, whatever its deadline. Without a new answer at
        most that piece and others' work can have been done since the last one.
        """
        ahead_us = running_us = 0.0
        for key, attempt in self.attempts.items():
            if key == self.running:
                running_us = attempt.run_us
            elif attempt.deadline_us <= deadline_us:
                ahead_us += attempt.run_us
        begun_us = self.other_us + running_us
        return ahead_us + max(0.0, begun_us - max(0, now_us - self.since_us))

    def bears(self, run_us: float, deadline_us: int) -> bool:
        """Whether so long a piece, of that deadline, makes nothing late that is due after it."""
        return all(
            attempt.late or attempt.expected_us + run_us <= attempt.deadline_us
            for attempt in self.attempts.values()
            if attempt.deadline_us > deadline_us
        )

    def idle_us(self, kind: str, now_us: int) -> int:
        """How long it has got no piece of that kind, however busy it is with others."""
        return now_us - self.placed_us.get(kind, -NEVER_US)

    def owes(self, kind: str) -> bool:
        """Whether a piece of that kind is unanswered."""
        return any(attempt.want.kind == kind for attempt in self.attempts.values())

    def owe(self, attempt: Attempt, *, arrives_us: int, free_us: float) -> None:
        """A piece is sent there; the device was expected to be free at `free_us`."""
        if not self.attempts:
            self.running = attempt.want.key
            self.since_us = arrives_us
            self.other_us = max(0.0, free_us - arrives_us)
        self.attempts[attempt.want.key] = attempt
        self.placed_us.pop(attempt.want.kind, None)
        self.placed_us[attempt.want.kind] = attempt.sent_us
        if len(self.placed_us) > MAX_KINDS:
            del self.placed_us[next(iter(self.placed_us))]
        self.served_us += attempt.run_us
        self.silent_us = min(self.silent_us, attempt.overdue_us)

    def give_up(self, key: PieceKey) -> None:
        """The device is told to drop a piece; what it runs already, it will run to the end."""
        attempt = self.attempts.pop(key)
        if key == self.running:
            self.other_us += attempt.run_us

    def heard(self, now_us: int, backlog_us: int, rtt_us: float) -> list[str]:
        """Re-base what is still owed on the device's own word, in the order it will serve it.

        backlog_us: what the device said it has to do, >= 0; it did not know yet of pieces sent less
        than `rtt_us` ago. A living device is not suspect for what it is late with: its dates
        are put off. Returns the sessions of the attempts that are now expected after their
        deadline and were not before.
        """
        back_us = rtt_us / 2
        self.since_us = round(now_us - back_us)
        if not self.attempts:
            self.other_us, self.running = float(backlog_us), None
            return []
        attempts = self.attempts.values()
        for attempt in [a for a in attempts if now_us - a.deadline_us > LOST_US]:
            del self.attempts[attempt.want.key]
        owed = sorted(attempts, key=attrgetter("deadline_us"))
        seen = [attempt for attempt in owed if attempt.sent_us <= now_us - rtt_us]
        self.other_us = max(0.0, backlog_us - sum([attempt.run_us for attempt in seen]))
        self.running = next((attempt.want.key for attempt in seen or owed), None)
        free_us, turned_late = self.since_us + self.other_us, list[str]()
        for attempt in owed:
            free_us = max(free_us, attempt.sent_us + back_us) + attempt.run_us
            later_us = round(free_us + back_us) - attempt.expected_us
            if attempt.expected_us <= attempt.deadline_us < attempt.expected_us + later_us:
                turned_late.append(attempt.want.key.session)
            attempt.expected_us += later_us
            attempt.doubt_us += max(0, later_us)
            attempt.overdue_us += max(0, later_us)
        return turned_late
