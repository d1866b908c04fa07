import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import Misuse
from mesh.schedule.ids import PieceKey
from mesh.schedule.queue import (
    DUPLICATE,
    FULL,
    LATE,
    TRY_AFTER,
    DeviceQueue,
    Refuse,
    Start,
    Waiting,
)


def piece(index: int, deadline_us: int, predicted_us: int, frame: int = 0) -> Waiting:
    key = PieceKey("s", 1, frame, index)
    return Waiting(key, "gateway/s", "gateway", deadline_us, predicted_us)


def test_the_earliest_deadline_starts_first_and_alone() -> None:
    queue = DeviceQueue()
    late, soon = piece(0, 90_000, 10_000), piece(1, 30_000, 10_000)
    assert queue.submit(late) is None
    assert queue.submit(soon) is None
    assert queue.poll(0) == [Start(soon)]
    assert queue.poll(1_000) == []
    assert queue.running == soon
    queue.finished(10_000)
    assert queue.poll(10_000) == [Start(late)]


def test_what_can_no_longer_finish_is_refused_the_moment_it_would_start() -> None:
    queue = DeviceQueue()
    lost, fine = piece(0, 9_000, 10_000), piece(1, 20_000, 10_000)
    queue.submit(lost)
    queue.submit(fine)
    assert queue.poll(0) == [Refuse(lost, LATE), Start(fine)]


def test_fifo_keeps_the_order_of_arrival_and_drops_nothing() -> None:
    queue = DeviceQueue("fifo")
    first, second = piece(0, 5_000, 10_000), piece(1, 1_000, 10_000)
    queue.submit(first)
    queue.submit(second)
    assert queue.poll(0) == [Start(first)]
    queue.finished(10_000)
    assert queue.poll(10_000) == [Start(second)]


def test_an_unknown_policy_is_named_in_the_error() -> None:
    with pytest.raises(Misuse, match="'lifo'"):
        DeviceQueue("lifo")


def test_a_full_queue_and_a_repeated_piece_are_refused_at_the_door() -> None:
    queue = DeviceQueue(limit=2)
    queue.submit(piece(0, 9_000, 1))
    repeated = piece(0, 9_000, 1)
    assert queue.submit(repeated) == Refuse(repeated, DUPLICATE)
    queue.submit(piece(1, 9_000, 1))
    extra = piece(2, 9_000, 1)
    assert queue.submit(extra) == Refuse(extra, FULL)


def test_a_spoilt_prediction_does_not_refuse_for_ever() -> None:
    """After one stall every prediction may exceed every deadline; something must still run."""
    queue = DeviceQueue()
    outcomes = []
    for frame in range(TRY_AFTER + 1):
        queue.submit(piece(0, frame * 100_000 + 50_000, 2_000_000, frame))
        outcomes += [type(decided) for decided in queue.poll(frame * 100_000)]
    assert outcomes == [Refuse] * TRY_AFTER + [Start]


def test_what_is_past_its_deadline_is_refused_however_often_that_happened() -> None:
    queue = DeviceQueue()
    for frame in range(3 * TRY_AFTER):
        queue.submit(piece(0, 1_000, 10, frame))
        assert [type(decided) for decided in queue.poll(1_000)] == [Refuse]


def test_backlog_counts_what_waits_and_what_is_left_of_what_runs() -> None:
    queue = DeviceQueue()
    queue.submit(piece(0, 90_000, 10_000))
    queue.submit(piece(1, 90_000, 5_000))
    assert queue.backlog_us(0) == 15_000
    queue.poll(0)
    assert queue.backlog_us(4_000) == 11_000
    assert queue.backlog_us(50_000) == 5_000
    queue.finished(50_000)
    assert queue.backlog_us(50_000) == 5_000


def test_cancelling_takes_out_a_piece_a_frame_or_a_session_and_nothing_else() -> None:
    queue = DeviceQueue()
    a, b, c = piece(0, 9_000, 10), piece(1, 9_000, 10), piece(0, 9_000, 10, frame=1)
    other = Waiting(PieceKey("s", 1, 0, 0), "elsewhere/s", "elsewhere", 9_000, 10)
    for waiting in (a, b, c, other):
        assert queue.submit(waiting) is None
    assert queue.cancel("gateway/s", 2, 0, 0) == []
    assert queue.cancel("gateway/s", 1, 0, 0) == [a]
    assert queue.cancel("gateway/s", 1, 0, None) == [b]
    assert queue.cancel_session("gateway/s") == [c]
    assert queue.poll(0) == [Start(other)]
    assert queue.drain() == []


def test_what_is_staged_begins_when_the_device_is_free_and_nothing_is_staged_for_an_idle_one() -> (
    None
):
    queue = DeviceQueue()
    first, second, third = (piece(index, 90_000, 10_000) for index in range(3))
    for waiting in (first, second, third):
        queue.submit(waiting)
    assert queue.stage(0) is None
    queue.poll(0)
    assert queue.stage(0) == second == queue.staged
    assert queue.stage(0) is None
    assert queue.backlog_us(0) == 30_000
    queue.finished(11_000)
    assert (queue.running, queue.staged) == (second, None)
    assert queue.poll(11_000) == []
    assert queue.stage(11_000) == third


def test_a_more_urgent_piece_overtakes_the_staged_one() -> None:
    queue = DeviceQueue()
    running, staged, soon, later = (piece(i, d, 10) for i, d in enumerate((15, 50, 40, 60)))
    for waiting in (running, staged):
        queue.submit(waiting)
    queue.poll(0)
    queue.stage(0)
    assert queue.overtakes(soon) and not queue.overtakes(later) and not queue.overtakes(staged)
    queue.unstaged()
    assert not queue.overtakes(soon)
    queue.submit(soon)
    assert queue.stage(0) == soon
    fifo = DeviceQueue("fifo")
    for waiting in (running, staged):
        fifo.submit(waiting)
    fifo.poll(0)
    assert fifo.stage(0) == staged and not fifo.overtakes(soon)


def test_nothing_is_staged_that_would_be_late_or_may_find_company() -> None:
    queue = DeviceQueue()
    queue.submit(piece(0, 9_000, 5_000))
    queue.poll(0)
    late = piece(1, 9_000, 5_000)
    queue.submit(late)
    assert queue.stage(0) is None
    assert queue.poll(0) == []
    queue.finished(5_000)
    assert queue.poll(5_000) == [Refuse(late, LATE)]
    batched = Waiting(PieceKey("s", 1, 1, 0), "gateway/s", "gateway", 90_000, 10, batch="model")
    queue.submit(piece(2, 80_000, 10))
    queue.poll(6_000)
    queue.submit(batched)
    assert queue.stage(6_000) is None


def test_only_a_queue_that_drops_what_is_late_says_when_it_is_too_late_to_begin() -> None:
    waiting = piece(0, 9_000, 5_000)
    assert DeviceQueue().start_by_us(waiting) == 4_000
    assert DeviceQueue("fifo").start_by_us(waiting) == 0


COMMANDS = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 30), st.integers(0, 2_000), st.integers(1, 300)),
    st.tuples(st.just("poll")),
    st.tuples(st.just("stage")),
    st.tuples(st.just("unstage")),
    st.tuples(st.just("finish"), st.integers(0, 400)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
)


@given(st.lists(COMMANDS, max_size=200), st.sampled_from(["edf", "fifo"]))
def test_every_piece_leaves_exactly_once_and_in_order(commands: list, policy: str) -> None:
    queue, now_us = DeviceQueue(policy, limit=20), 0
    inside: dict[int, Waiting] = {}
    arrived: list[int] = []
    staged: Waiting | None = None

    def leaves_in_order(waiting: Waiting) -> None:
        index = waiting.key.piece
        if policy == "edf":
            assert waiting.deadline_us == min(w.deadline_us for w in inside.values())
        else:
            assert index == next(i for i in arrived if i in inside)
        assert inside.pop(index) is waiting
        arrived.remove(index)

    for command in commands:
        match command:
            case ("submit", index, budget_us, predicted_us):
                waiting = piece(index, now_us + budget_us, predicted_us)
                refused = queue.submit(waiting)
                expected = DUPLICATE if index in inside else FULL if len(inside) >= 20 else None
                assert (refused.reason if refused else None) == expected
                if refused is None:
                    inside[index] = waiting
                    arrived.append(index)
            case ("poll",):
                for decided in queue.poll(now_us):
                    waiting = decided.waiting
                    leaves_in_order(waiting)
                    if isinstance(decided, Refuse):
                        assert policy == "edf"
                        assert now_us + waiting.predicted_us > waiting.deadline_us
            case ("stage",):
                before, waiting = queue.staged, queue.stage(now_us)
                if waiting is not None:
                    assert before is None and queue.running is not None
                    leaves_in_order(waiting)
                    staged = waiting
            case ("unstage",):
                queue.unstaged()
                staged = None
            case ("finish", took_us):
                now_us += took_us
                queue.finished(now_us)
                assert queue.running is staged
                staged = None
            case ("cancel", index):
                gone = queue.cancel("gateway/s", 1, 0, index)
                assert gone == ([inside.pop(index)] if index in inside else [])
                if gone:
                    arrived.remove(index)
        assert len(queue) == len(inside)
        left_us = queue.backlog_us(now_us + 10**9)
        ahead = [*inside.values(), *([staged] if staged else [])]
        assert left_us == sum(waiting.predicted_us for waiting in ahead)
        assert queue.staged is staged
