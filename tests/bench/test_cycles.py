from __future__ import annotations

import pytest

from bench.cycles import Cycle, Fate, Wrongs, between, judge, miss_pct, out_of_order, with_skipped

FACTS = {
    "opened_us": 1_000,
    "filled": 0,
    "stages": {"open": 5},
    "makers": ["a@1/cpu", "b@2/cpu"],
    "pieces": [[0, 0, 16, 16, 1, 7, 8], [16, 0, 16, 16, 0, 3, 4]],
}


@pytest.mark.parametrize(
    ("received_us", "filled", "fate"),
    [
        (51_000, 0, Fate.ON_TIME),
        (51_001, 0, Fate.LATE),
        (2_000, 1, Fate.FILLED),
        (99_000, 1, Fate.FILLED),
        (None, 0, Fate.LOST),
    ],
)
def test_on_time_is_whole_and_with_the_client_by_its_deadline(received_us, filled, fate):
    cycle = judge({**FACTS, "filled": filled}, received_us, deadline_ms=50)
    assert cycle.fate is fate
    assert cycle.due_us == 1_000
    assert cycle.took_us == (received_us - 1_000 if received_us else 0)


def test_each_piece_that_was_made_has_its_maker_and_its_times():
    filled = [32, 0, 16, 16, -1, 0, 0]
    cycle = judge({**FACTS, "pieces": [*FACTS["pieces"], filled]}, 2_000, deadline_ms=50)
    assert cycle.pieces == (("b@2/cpu", 7, 8), ("a@1/cpu", 3, 4))
    assert cycle.stages == {"open": 5}


def on_time(*due_us: int) -> list[Cycle]:
    return [Cycle(due, Fate.ON_TIME) for due in due_us]


def test_instants_without_a_frame_are_cycles_too():
    every = with_skipped(on_time(310, 0, 100), period_us=100)
    assert [(c.due_us, c.fate is Fate.ON_TIME) for c in every] == [
        (0, True),
        (100, True),
        (200, False),
        (310, True),
    ]
    assert with_skipped([], 100) == []
    assert with_skipped(on_time(0, 60, 200), 100) == on_time(0, 60, 200), "late openings skip none"


def test_a_stretch_holds_its_first_instant_and_not_its_last():
    assert between(on_time(9, 10, 19, 20), 10, 20) == on_time(10, 19)


def test_every_other_fate_is_a_miss():
    assert miss_pct([Cycle(0, fate) for fate in Fate]) == pytest.approx(80.0)
    assert miss_pct([]) == 0


def test_what_must_rise_strictly_is_held_to_it():
    assert not out_of_order([1, 2, 5]).any
    assert out_of_order([1, 1, 2, 1]) == Wrongs(repeated=1, backwards=1)
    assert Wrongs(1, 2, 3) + Wrongs(1, 0, 0) == Wrongs(2, 2, 3)
