"""Who is promised time, and who gives way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.core.workload import Criticality
from mesh.schedule.agenda import Agenda, Devices, Task
from mesh.schedule.dues import GUARANTEE, Dues, Stake
from mesh.schedule.ids import FrameKey

IDLE = Devices(0.0, 1, {})


def task(
    frame: int,
    work_us: float,
    ends_by_us: float,
    *,
    session: str = "s",
    criticality: Criticality = Criticality.STANDARD,
    value: float = 1.0,
) -> Task:
    stake = Stake(criticality, value=value)
    return Task(FrameKey(session, 1, frame), stake, ends_by_us, ends_by_us - work_us, {}, work_us)


def test_what_fits_is_promised_and_nobody_gives_way() -> None:
    agenda = Agenda(Dues())
    assert agenda.enter(task(0, 10, 30), IDLE) == []
    assert agenda.enter(task(1, 10, 20), IDLE) == []
    assert agenda.fits(task(2, 10, 30), IDLE)
    assert not agenda.fits(task(2, 11, 30), IDLE)
    assert len(agenda) == 2


def test_the_lower_value_for_the_work_left_gives_way_be_it_the_newcomer() -> None:
    agenda, long, short = Agenda(Dues()), task(0, 60, 80), task(1, 30, 70)
    agenda.enter(long, IDLE)
    assert agenda.enter(short, IDLE) == [long]
    late = task(2, 60, 80)
    assert agenda.enter(late, IDLE) == [late]
    dear = task(3, 60, 80, value=3.0)
    assert agenda.enter(dear, IDLE) == [short]


def test_the_lower_class_gives_way_whatever_it_is_worth() -> None:
    agenda = Agenda(Dues())
    batch = task(0, 5, 50, criticality=Criticality.BATCH, value=1e9)
    agenda.enter(batch, IDLE)
    vital = task(1, 48, 50, criticality=Criticality.CRITICAL, value=1e-9)
    assert agenda.enter(vital, IDLE) == [batch]
    again = task(2, 5, 50, criticality=Criticality.BATCH, value=1e9)
    assert agenda.enter(again, IDLE) == [again]


def test_a_frame_that_is_begun_gives_way_only_to_what_is_far_shorter_than_what_is_left() -> None:
    agenda, long = Agenda(Dues()), task(0, 60, 62)
    agenda.enter(long, IDLE)
    running = Devices(0.0, 1, {long.key: 20.0})
    short = task(1, 4, 60)
    assert agenda.enter(short, running) == [short]
    shorter = task(2, 3, 60)
    assert agenda.enter(shorter, running) == [long]


def test_a_session_that_is_owed_displaces_one_that_is_not() -> None:
    dues = Dues()
    for session, whole in (("poor", False), ("rich", True)):
        dues.account(session, Stake(), 100.0, 0, whole=whole)
    assert dues.owed("poor", Stake()) and not dues.owed("rich", Stake())
    agenda, short = Agenda(dues), task(0, 30, 70, session="rich")
    agenda.enter(short, IDLE)
    assert agenda.enter(task(1, 60, 80, session="poor"), IDLE) == [short]
    long = task(2, 200, 200, session="poor")
    assert agenda.enter(long, IDLE) == [long], "however much it is owed"


def test_shares_say_how_much_is_due_to_whom() -> None:
    dues, double = Dues(), Stake(share=2.0)
    for number in range(100):
        dues.account("double", double, 1.0, 0, whole=number % 10 < 6)
        dues.account("single", Stake(), 1.0, 0, whole=number % 10 < 4)
    assert dues.owed("double", double), "1.5 times as much, where twice is due"
    assert not dues.owed("single", Stake())
    assert GUARANTEE < 1.0


tasks = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 200), st.sampled_from(list(Criticality))),
    max_size=30,
)


@given(tasks, st.integers(1, 4))
def test_whatever_comes_the_promised_can_all_be_made_by_deadline(
    wanted: list[tuple[int, int, Criticality]], number: int
) -> None:
    agenda, devices = Agenda(Dues()), Devices(0.0, number, {})
    promised: list[Task] = []
    for frame, (work_us, ends_by_us, criticality) in enumerate(wanted):
        newcomer = task(frame, work_us, ends_by_us, criticality=criticality)
        gone = agenda.enter(newcomer, devices)
        promised = [each for each in (*promised, newcomer) if each not in gone]
        if newcomer not in gone:
            assert all(loser.stake.criticality <= criticality for loser in gone)
    assert len(agenda) == len(promised)
    done_us = 0.0
    for each in sorted(promised, key=lambda each: each.ends_by_us):
        done_us += each.left_us
        assert done_us / number <= each.ends_by_us
