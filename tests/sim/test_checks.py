"""What the scenarios are checked by notices each kind of breach."""

from collections.abc import Callable
from typing import Any

import pytest

ONE = ("node-1", "0")
OTHER = ("node-2", "0")


def piece(number: int, frame: int = 0) -> tuple[str, int, int, int]:
    return "session-1", 0, frame, number


URGENT, LATER = piece(0), piece(1)
SENT = (0, "send", *ONE, *URGENT, False)
QUEUED = (1, "queue", *ONE, *URGENT, 100)
BEGUN = (1, "start", *ONE, *URGENT)
ENDED = (9, "end", *ONE, *URGENT)
MADE = (10, "result", *ONE, *URGENT, "accepted")
SHOWN = (10, "show", "session-1", 0, ())

Check = Callable[[list[tuple[Any, ...]]], set[Any]]


def test_a_piece_that_is_made_once_in_time_is_credited(checks_trace: Check) -> None:
    assert checks_trace([SENT, QUEUED, BEGUN, ENDED, MADE, SHOWN]) == {URGENT}


@pytest.mark.parametrize(
    ("breach", "notes"),
    [
        (
            "a more urgent piece waits",
            [QUEUED, (1, "queue", *ONE, *LATER, 200), (1, "start", *ONE, *LATER)],
        ),
        ("a device rests while pieces wait", [QUEUED, (2, *BEGUN[1:])]),
        ("a device rests while pieces wait", [QUEUED]),
        ("started after its deadline", [(100, *QUEUED[1:]), (100, *BEGUN[1:])]),
        ("two pieces run at once", [QUEUED, BEGUN, (2, "queue", *ONE, *LATER, 90), BEGUN]),
        ("ran the same piece twice", [QUEUED, BEGUN, ENDED, (9, *QUEUED[1:]), (9, *BEGUN[1:])]),
        ("what began has not ended", [QUEUED, BEGUN]),
        ("ended what did not run", [ENDED]),
        ("sent for a closed frame", [SHOWN, (10, *SENT[1:])]),
        ("accepted for a closed frame", [SHOWN, MADE]),
        ("credited twice", [MADE, (10, "result", *OTHER, *URGENT, "accepted")]),
        (
            "executed after its frame closed",
            [
                SHOWN,
                *((10, "queue", *ONE, *piece(number), 100) for number in range(2)),
                *(
                    (10, what, *ONE, *piece(number))
                    for number in range(2)
                    for what in ("start", "end")
                ),
            ],
        ),
    ],
)
def test_every_breach_is_noticed(
    breach: str, notes: list[tuple[Any, ...]], checks_trace: Check
) -> None:
    with pytest.raises(AssertionError, match=breach):
        checks_trace(notes)


def test_what_a_killed_process_had_is_forgotten(checks_trace: Check) -> None:
    checks_trace([QUEUED, BEGUN, (2, "kill", "node-1")])
    checks_trace([QUEUED, BEGUN, (2, "queue", *ONE, *LATER, 200), (2, "kill", "node-1")])


def test_what_was_called_back_may_still_begin_on_the_way(checks_trace: Check) -> None:
    cancelled = (10, "cancel", *ONE, *URGENT)
    later = [(11, *note[1:]) for note in (QUEUED, BEGUN, ENDED)]
    checks_trace([SENT, SHOWN, cancelled, *later])
