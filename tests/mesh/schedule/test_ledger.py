from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mesh.core.errors import Misuse
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.ledger import Answer, FrameLedger, Verdict

A, B, C = (DeviceKey(name, "gpu") for name in "abc")


def key(piece: int, frame: int = 0, epoch: int = 1, session: str = "s") -> PieceKey:
    return PieceKey(session, epoch, frame, piece)


def ledger_with(pieces: int = 2, cutoff_us: int = 100, frame: int = 0) -> FrameLedger:
    ledger = FrameLedger("s", 1)
    ledger.open(frame, pieces, cutoff_us, now_us=0)
    return ledger


def test_the_first_answer_wins_and_names_who_works_for_nothing() -> None:
    ledger = ledger_with()
    ledger.asked(key(0), A, 1)
    ledger.asked(key(0), B, 2)
    assert ledger.result(key(0), B, 10) == Answer(Verdict.ACCEPTED, (A,))
    assert ledger.result(key(0), A, 11) == Answer(Verdict.DUPLICATE)


def test_a_frame_is_composed_as_soon_as_it_is_complete() -> None:
    ledger = ledger_with()
    for index, device in enumerate((A, B)):
        ledger.asked(key(index), device, 0)
        assert ledger.poll(20) == []
        ledger.result(key(index), device, 20, queue_us=3, run_us=5)
    (closed,) = ledger.poll(20)
    assert (closed.frame, closed.missing, closed.closed_us) == (0, (), 20)
    assert [piece.maker for piece in closed.pieces] == [A, B]
    assert (closed.pieces[0].queue_us, closed.pieces[0].run_us) == (3, 5)
    assert ledger.poll(99) == []


def test_at_the_cut_off_a_frame_is_composed_with_what_is_there() -> None:
    ledger = ledger_with(cutoff_us=100)
    ledger.asked(key(0), A, 0)
    ledger.asked(key(1), B, 0)
    ledger.result(key(1), B, 50)
    assert ledger.poll(99) == []
    assert ledger.next_cutoff_us == 100
    (closed,) = ledger.poll(100)
    assert closed.missing == (0,)
    assert list(closed.outstanding) == [(0, A)]
    assert ledger.result(key(0), A, 101) == Answer(Verdict.TOO_LATE)


def test_a_complete_frame_waits_for_an_older_one_no_longer_than_its_cut_off() -> None:
    ledger = ledger_with(pieces=1, cutoff_us=100)
    ledger.open(1, 1, 160, now_us=60)
    ledger.asked(key(0, frame=1), A, 60)
    ledger.result(key(0, frame=1), A, 70)
    assert ledger.poll(99) == []
    assert [closed.frame for closed in ledger.poll(100)] == [0, 1]


@pytest.mark.parametrize(
    ("name", "device"),
    [
        (key(0, epoch=0), A),
        (key(0, epoch=2), A),
        (key(0, session="t"), A),
        (key(7), A),
        (key(-1), A),
        (key(0, frame=5), A),
        (key(0, frame=-1), A),
        (key(0), C),
    ],
)
def test_answers_nobody_asked_for_are_unknown_and_change_nothing(
    name: PieceKey, device: DeviceKey
) -> None:
    ledger = ledger_with()
    ledger.asked(key(0), A, 0)
    assert ledger.result(name, device, 1) == Answer(Verdict.UNKNOWN)
    assert ledger.failed(name, device) is False
    assert ledger.verdict(key(0), A) is Verdict.ACCEPTED


def test_a_refused_piece_is_wanted_again_only_when_nobody_else_has_it() -> None:
    ledger = ledger_with()
    ledger.asked(key(0), A, 0)
    ledger.asked(key(0), B, 0)
    assert ledger.failed(key(0), A) is False
    assert ledger.failed(key(0), B) is True
    assert ledger.tried(key(0)) == {A, B}
    assert ledger.verdict(key(0), A) is Verdict.UNKNOWN


def test_a_lost_device_leaves_orphans() -> None:
    ledger = ledger_with(pieces=3)
    ledger.asked(key(0), A, 0)
    ledger.asked(key(1), A, 0)
    ledger.asked(key(1), B, 0)
    ledger.asked(key(2), A, 0)
    ledger.result(key(2), A, 5)
    assert ledger.device_lost(A) == [key(0)]


def test_frames_open_in_order_and_pieces_go_out_only_while_open() -> None:
    ledger = ledger_with(frame=4)
    with pytest.raises(Misuse, match="frame 4 was opened"):
        ledger.open(4, 1, 100, now_us=0)
    with pytest.raises(Misuse, match="no such piece"):
        ledger.asked(key(9, frame=4), A, 0)


class LedgerMachine(RuleBasedStateMachine):
    """Random orders, answers, losses and polls against the simplest possible books."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = FrameLedger("s", 1)
        self.now_us = 0
        self.next_frame = 0
        self.cutoff: dict[int, int] = {}
        self.size: dict[int, int] = {}
        self.credit: dict[PieceKey, DeviceKey] = {}
        self.out: set[tuple[PieceKey, DeviceKey]] = set()
        self.shown: list[int] = []

    @rule(pieces=st.integers(0, 3), budget_us=st.integers(0, 30))
    def open(self, pieces: int, budget_us: int) -> None:
        frame, self.next_frame = self.next_frame, self.next_frame + 1
        self.ledger.open(frame, pieces, self.now_us + budget_us, self.now_us)
        self.size[frame], self.cutoff[frame] = pieces, self.now_us + budget_us

    def _some_key(self, data: st.DataObject) -> PieceKey:
        return key(data.draw(st.integers(0, 2)), data.draw(st.integers(0, self.next_frame)))

    @rule(data=st.data(), device=st.sampled_from([A, B, C]))
    def ask(self, data: Any, device: DeviceKey) -> None:
        name = self._some_key(data)
        is_open = name.frame in self.size and name.frame not in self.shown
        if is_open and name.piece < self.size[name.frame] and name not in self.credit:
            self.ledger.asked(name, device, self.now_us)
            self.out.add((name, device))

    @rule(data=st.data(), device=st.sampled_from([A, B, C]))
    def answer(self, data: Any, device: DeviceKey) -> None:
        name = self._some_key(data)
        answer = self.ledger.result(name, device, self.now_us)
        wanted = (name, device) in self.out and name not in self.credit
        assert (answer.verdict is Verdict.ACCEPTED) == (wanted and name.frame not in self.shown)
        if answer.verdict is Verdict.ACCEPTED:
            self.credit[name] = device
            self.out.discard((name, device))
            assert set(answer.others) == {d for n, d in self.out if n == name}

    @rule(device=st.sampled_from([A, B, C]))
    def lose(self, device: DeviceKey) -> None:
        before = {n for n, d in self.out if d == device}
        self.out = {(n, d) for n, d in self.out if d != device}
        expected = {
            name
            for name in before
            if name not in self.credit
            and name.frame not in self.shown
            and not any(n == name for n, _ in self.out)
        }
        assert set(self.ledger.device_lost(device)) == expected

    @rule(wait_us=st.integers(0, 20))
    def poll(self, wait_us: int) -> None:
        self.now_us += wait_us
        for closed in self.ledger.poll(self.now_us):
            made = [key(i, closed.frame) in self.credit for i in range(self.size[closed.frame])]
            assert closed.missing == tuple(i for i, done in enumerate(made) if not done)
            assert all(made) or self.now_us >= self.cutoff[closed.frame]
            self.shown.append(closed.frame)

    @invariant()
    def frames_are_shown_once_in_order_and_never_past_their_cut_off(self) -> None:
        assert self.shown == list(range(len(self.shown)))
        self.poll(0)
        due = [f for f, cutoff_us in self.cutoff.items() if cutoff_us <= self.now_us]
        blocking = min((f for f in self.size if f not in self.shown), default=self.next_frame)
        assert all(frame in self.shown for frame in due if frame <= blocking)


TestLedgerAgainstSimpleBooks = LedgerMachine.TestCase
TestLedgerAgainstSimpleBooks.settings = settings(max_examples=60, deadline=None)
