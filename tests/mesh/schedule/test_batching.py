"""A model that takes 4 ms a call and 1 ms a piece, in the queue of one device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mesh.core.workload import MAX_BATCH
from mesh.schedule.batching import TRIES, BatchCosts, share_us
from mesh.schedule.cost import HIGH, TYPICAL, CostModel
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.queue import LATE, DeviceQueue, Refuse, Start, Waiting

DEVICE = DeviceKey("", "gpu")
CALL_US, PIECE_US = 4_000, 1_000
ALONE_US = CALL_US + PIECE_US
LONG_US = 10_000_000
MODEL = "infer/model/net"


def took_us(count: int) -> int:
    return CALL_US + count * PIECE_US


def learnt(most: int = MAX_BATCH, us=took_us) -> BatchCosts:
    """What is known once batches of every number up to `most` ran often."""
    costs = BatchCosts(CostModel(), DEVICE)
    for _ in range(140):  # what was believed before is forgotten
        for count in range(1, most + 1):
            costs.observe("net", [1.0] * count, us(count))
    return costs


def piece(number: int, deadline_us: int, batch: str = MODEL, predicted_us: int = ALONE_US):
    return Waiting(
        PieceKey("s", 1, 0, number),
        "gateway/s",
        "gateway",
        deadline_us,
        predicted_us,
        batch,
        "net",
        shared_us=2_000,
    )


def filled(costs: BatchCosts, *pieces: Waiting) -> DeviceQueue:
    queue = DeviceQueue(batching=costs)
    for waiting in pieces:
        assert queue.submit(waiting) is None
    return queue


def numbers(decided: list[Start | Refuse]) -> list[list[int]]:
    """Pieces of each start, by number."""
    return [
        [waiting.key.piece for waiting in (start.waiting, *start.others)]
        for start in decided
        if isinstance(start, Start)
    ]


# --- who joins ----------------------------------------------------------------------------------


def test_pieces_of_one_model_start_together() -> None:
    queue = filled(learnt(), *(piece(n, LONG_US + n) for n in range(3)))
    assert numbers(queue.poll(0)) == [[0, 1, 2]]
    assert len(queue) == 0


def test_no_more_than_a_batch_may_have() -> None:
    queue = filled(learnt(), *(piece(n, LONG_US + n) for n in range(MAX_BATCH + 2)))
    assert numbers(queue.poll(0)) == [list(range(MAX_BATCH))]
    assert len(queue) == 2


def test_other_models_and_pieces_that_run_alone_stay_out() -> None:
    queue = filled(
        learnt(),
        piece(0, LONG_US),
        piece(1, LONG_US + 1, batch="infer/other/net"),
        piece(2, LONG_US + 2, batch=""),
        piece(3, LONG_US + 3),
    )
    assert numbers(queue.poll(0)) == [[0, 3]]
    queue.finished(0)
    assert numbers(queue.poll(0)) == [[1]]


def test_without_costs_of_batches_every_piece_runs_alone() -> None:
    queue = DeviceQueue()
    queue.submit(piece(0, LONG_US))
    queue.submit(piece(1, LONG_US))
    assert numbers(queue.poll(0)) == [[0]]


@pytest.mark.parametrize(("slack_us", "size"), [(100, 1), (1_600, 2), (2_800, 3)])
def test_the_first_ones_deadline_bounds_the_batch(slack_us, size) -> None:
    first = piece(0, ALONE_US + slack_us)
    queue = filled(learnt(), first, *(piece(n, LONG_US) for n in range(1, 5)))
    assert numbers(queue.poll(0)) == [list(range(size))]


@pytest.mark.parametrize(("quantum_us", "started"), [(7_500, [0, 1, 2]), (0, [0, 1, 2, 3])])
def test_no_batch_is_longer_than_the_quantum_of_its_members(quantum_us, started) -> None:
    pieces = [replace(piece(n, LONG_US + n), quantum_us=quantum_us) for n in range(4)]
    assert numbers(filled(learnt(), *pieces).poll(0)) == [started]


def test_who_may_only_run_briefly_joins_no_long_batch() -> None:
    brief = replace(piece(1, LONG_US + 1), quantum_us=CALL_US)
    queue = filled(learnt(), piece(0, LONG_US), brief, piece(2, LONG_US + 2))
    assert numbers(queue.poll(0)) == [[0, 2]]


def test_nobody_ahead_of_a_member_is_made_late() -> None:
    ahead = piece(1, ALONE_US + 3_200, batch="", predicted_us=3_000)
    queue = filled(learnt(), piece(0, ALONE_US + 3_000), ahead, piece(2, LONG_US))
    assert numbers(queue.poll(0)) == [[0]]
    relaxed = piece(1, ALONE_US + 9_000, batch="", predicted_us=3_000)
    queue = filled(learnt(), piece(0, ALONE_US + 3_000), relaxed, piece(2, LONG_US))
    assert numbers(queue.poll(0)) == [[0, 2]]


def test_who_is_late_anyway_holds_nobody_up() -> None:
    lost = piece(1, ALONE_US + 1, batch="", predicted_us=3_000)
    queue = filled(learnt(), piece(0, ALONE_US), lost, piece(2, LONG_US))
    queue.poll(0)
    queue.finished(ALONE_US)
    assert queue.poll(ALONE_US) == [Refuse(lost, LATE), Start(piece(2, LONG_US))]


# --- what is known ------------------------------------------------------------------------------


def test_while_nothing_is_known_of_a_model_its_pieces_run_alone() -> None:
    queue = filled(BatchCosts(CostModel(), DEVICE), piece(0, LONG_US), piece(1, LONG_US))
    assert numbers(queue.poll(0)) == [[0]]


def test_a_number_that_never_ran_is_tried_where_one_after_another_would_do_too() -> None:
    tight = 2 * ALONE_US - 1
    queue = filled(learnt(1), piece(0, tight), piece(1, LONG_US))
    assert numbers(queue.poll(0)) == [[0]]
    queue = filled(learnt(1), piece(0, round(2.5 * ALONE_US)), piece(1, LONG_US))
    assert numbers(queue.poll(0)) == [[0, 1]]


def test_one_more_than_is_known_lies_on_the_line_through_what_is() -> None:
    costs = learnt(2)
    assert costs.run_us("net", 3, 3.0, TYPICAL) == pytest.approx(took_us(3), rel=0.02)
    assert costs.run_us("net", 4, 4.0, TYPICAL) == pytest.approx(
        took_us(2) + 2 * ALONE_US, rel=0.02
    )


def test_a_model_that_gains_nothing_is_left_alone_once_that_is_sure() -> None:
    costs = learnt(1, us=lambda count: count * ALONE_US)
    for _ in range(TRIES - 1):
        costs.observe("net", [1.0, 1.0], 2 * ALONE_US)
    assert costs.saves("net", 2, 2.0)
    costs.observe("net", [1.0, 1.0], 2 * ALONE_US)
    assert not costs.saves("net", 2, 2.0)
    queue = filled(costs, piece(0, LONG_US), piece(1, LONG_US))
    assert numbers(queue.poll(0)) == [[0]]


def test_the_backlog_counts_pieces_as_they_lately_ran() -> None:
    costs = learnt(4)
    assert costs.shared_us("net", 1.0) == pytest.approx(took_us(4) / 4, rel=0.3)
    queue = filled(costs, *(piece(n, LONG_US) for n in range(3)))
    assert queue.backlog_us(0) == 3 * 2_000
    queue.poll(0)
    assert queue.backlog_us(0) == pytest.approx(took_us(3), rel=0.05)


def test_shares_are_by_units_and_add_up() -> None:
    assert [share_us(9_000, units, 3.0) for units in (1.0, 2.0)] == [3_000, 6_000]
    assert share_us(9_000, 0.0, 0.0) == 9_000


# --- whatever comes -----------------------------------------------------------------------------

arrivals = st.lists(
    st.tuples(
        st.integers(0, 20_000),  # since the one before
        st.integers(1_000, 60_000),  # until its deadline
        st.sampled_from(["", MODEL, "infer/other/net"]),
    ),
    max_size=40,
)


@given(arrivals)
def test_no_piece_is_lost_and_no_batch_makes_anybody_late_by_prediction(coming) -> None:
    device = Device()
    now_us = 0
    for number, (gap_us, left_us, batch) in enumerate(coming):
        now_us += gap_us
        device.run_until(now_us)
        device.take(piece(number, now_us + left_us, batch), now_us)
    device.run_until(LONG_US)
    assert not device.waiting
    assert len(device.queue) == 0
    assert sorted(device.answered) == list(range(len(coming)))


COSTS = learnt()


class Device:
    """A queue with its device, and what waits there in order of service."""

    def __init__(self) -> None:
        self.queue = DeviceQueue(batching=COSTS)
        self.waiting: list[Waiting] = []
        self.answered: list[int] = []
        self.free_us = 0

    def take(self, waiting: Waiting, now_us: int) -> None:
        self.free_us = max(self.free_us, now_us)
        assert self.queue.submit(waiting) is None
        self.waiting.append(waiting)
        self.waiting.sort(key=lambda each: each.deadline_us)  # stable: then by arrival

    def run_until(self, until_us: int) -> None:
        while self.free_us < until_us and self.waiting:
            self.queue.finished(self.free_us)
            for decided in self.queue.poll(self.free_us):
                if isinstance(decided, Start):
                    self.start(decided)
                else:
                    self.answer(decided.waiting)

    def start(self, started: Start) -> None:
        members = (started.waiting, *started.others)
        assert started.waiting is self.waiting[0]
        assert all(member.batch == started.waiting.batch for member in members)
        count = len(members)
        if count > 1:
            ends_us = self.free_us + COSTS.run_us("net", count, float(count), HIGH)
            assert all(ends_us <= member.deadline_us for member in members)
            self.check_others(members, ends_us)
        for member in members:
            self.answer(member)
        self.free_us += took_us(count)

    def check_others(self, members: tuple[Waiting, ...], ends_us: float) -> None:
        """Nobody ahead of the last member who would be on time is late because of the batch."""
        last = max(self.waiting.index(member) for member in members)
        with_us, without_us = ends_us, float(self.free_us)
        for waiting in self.waiting[:last]:
            without_us += waiting.predicted_us
            if waiting not in members:
                with_us += waiting.predicted_us
                assert with_us <= waiting.deadline_us or without_us > waiting.deadline_us

    def answer(self, waiting: Waiting) -> None:
        self.waiting.remove(waiting)
        self.answered.append(waiting.key.piece)
