import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.workload import Contract, Piece
from mesh.schedule.cost import CostModel
from mesh.schedule.driver import (
    Action,
    CancelPiece,
    Compose,
    Nudge,
    OpenFrame,
    Send,
    SessionDriver,
)
from mesh.schedule.dues import Stake
from mesh.schedule.ids import DeviceKey, FrameKey, PieceKey
from mesh.schedule.ledger import Verdict
from mesh.schedule.placement import Placer
from mesh.schedule.promises import Want
from mesh.schedule.quantum import longest_us

A, B = DeviceKey("a", "gpu"), DeviceKey("b", "gpu")
RUN_US = 8_000
PERIOD_US = 50_000
BUDGET_US = 40_000


def cut(count: int) -> list[Piece]:
    return [Piece(index, "tile", 1.0, b"", 0) for index in range(count)]


class Bench:
    """A driver with two trusted devices, driven by hand."""

    def __init__(self, *, trusted: bool = True, reserve_us: int = 0) -> None:
        self.costs = CostModel(prior_link_us=0)
        self.placer = Placer(self.costs)
        self.driver = SessionDriver(
            "s",
            3,
            Contract(PERIOD_US, BUDGET_US),
            self.placer,
            start_us=0,
            reserve_us=reserve_us,
        )
        for device in (A, B):
            self.placer.add(device, 0)
            self.driver.device_ready(device, 0)
        if trusted:
            for device in (A, B):
                for _ in range(30):
                    self.costs.observe(device, "tile", 1.0, RUN_US)
            for _ in range(3):
                actions = self.open(2)
                for send in sends(actions):
                    self.done(send)
        self.start_us = self.driver.clock.next_open_us

    def open(self, count: int, now_us: int | None = None) -> list[Action]:
        now_us = self.driver.clock.next_open_us if now_us is None else now_us
        actions = self.driver.tick(now_us)
        (opened,) = [action for action in actions if isinstance(action, OpenFrame)]
        self.opened_us = now_us
        return self.driver.pieces(opened.frame, cut(count), now_us)

    def done(self, send: Send, now_us: int | None = None) -> list[Action]:
        return self.driver.result(
            send.key,
            send.device,
            self.opened_us + RUN_US if now_us is None else now_us,
            queue_us=0,
            run_us=RUN_US,
            backlog_us=0,
            nbytes=0,
        )


def sends(actions: list[Action]) -> list[Send]:
    return [action for action in actions if isinstance(action, Send)]


def composed(actions: list[Action]) -> list[tuple[int, tuple[int, ...]]]:
    return [(a.frame, a.missing) for a in actions if isinstance(a, Compose)]


def test_no_frame_opens_before_a_device_is_ready() -> None:
    placer = Placer(CostModel())
    driver = SessionDriver("s", 1, Contract(PERIOD_US, BUDGET_US), placer, start_us=0)
    assert driver.tick(0) == []
    placer.add(A, 10)
    driver.device_ready(A, 10)
    assert driver.clock.skipped == 1
    (opened,) = driver.tick(PERIOD_US)
    assert isinstance(opened, OpenFrame)
    assert (opened.frame, opened.cutoff_us) == (0, PERIOD_US + BUDGET_US)
    assert opened.hint.devices == 1


def test_the_hint_tells_how_many_devices_there_are_and_what_the_slowest_costs() -> None:
    bench = Bench()
    for _ in range(30):
        bench.costs.observe(B, "tile", 1.0, 3 * RUN_US)
    (opened,) = bench.driver.tick(bench.start_us)
    assert isinstance(opened, OpenFrame)
    assert opened.hint.devices == 2
    assert opened.hint.us_per_unit["tile"] >= 3 * RUN_US


def test_the_hint_bounds_pieces_while_a_tighter_session_holds_a_device_too() -> None:
    bench = Bench()
    tight = SessionDriver("t", 1, Contract(PERIOD_US, BUDGET_US // 2), bench.placer, start_us=0)
    tight.device_ready(B, 0)
    (opened,) = bench.driver.tick(bench.start_us)
    assert isinstance(opened, OpenFrame)
    assert opened.hint.quantum_us == longest_us(BUDGET_US, BUDGET_US // 2) > 0
    bench.driver.pieces(opened.frame, cut(2), bench.start_us)
    tight.close(bench.start_us)
    (after,) = [
        action
        for action in bench.driver.tick(bench.driver.clock.next_open_us)
        if isinstance(action, OpenFrame)
    ]
    assert after.hint.quantum_us == 0


def test_what_the_others_of_a_batch_took_is_neither_run_time_nor_the_links() -> None:
    bench = Bench()
    for send in sends(bench.open(2)):
        bench.driver.result(
            send.key,
            send.device,
            bench.opened_us + 3 * RUN_US,
            queue_us=0,
            run_us=RUN_US,
            backlog_us=0,
            nbytes=0,
            held_us=2 * RUN_US,
        )
    run = bench.costs.run_cost(A, "tile")
    assert run is not None
    assert (run.level, run.held_us) == (RUN_US, 2 * RUN_US)
    assert bench.costs.link("a").rtt_us == 0


def test_time_kept_for_composing_and_encoding_comes_off_the_cut_off() -> None:
    bench = Bench(reserve_us=10_000)
    (opened,) = bench.driver.tick(bench.start_us)
    assert isinstance(opened, OpenFrame)
    assert opened.cutoff_us == bench.start_us + BUDGET_US - 10_000


def test_pieces_go_to_both_devices_and_the_last_answer_composes_the_frame() -> None:
    bench = Bench()
    first, second = sends(bench.open(2))
    assert {first.device, second.device} == {A, B}
    assert bench.opened_us < first.deadline_us <= bench.opened_us + BUDGET_US
    assert composed(bench.done(first)) == []
    assert composed(bench.done(second)) == [(3, ())]


def test_a_frame_without_pieces_is_composed_at_once() -> None:
    assert composed(Bench().open(0)) == [(3, ())]


def test_answers_under_another_epoch_change_nothing() -> None:
    bench = Bench()
    send = sends(bench.open(1))[0]
    for epoch in (2, 4):
        name = send.key._replace(epoch=epoch)
        assert bench.driver.verdict(name, send.device) is Verdict.UNKNOWN
        other = Send(name, send.device, 0, probe=False)
        assert bench.done(other) == []
    assert composed(bench.done(send)) == [(3, ())]


def test_a_refused_piece_goes_at_once_to_the_other_device_only() -> None:
    bench = Bench()
    send = sends(bench.open(1))[0]
    other = B if send.device == A else A
    again = bench.driver.refused(send.key, send.device, bench.opened_us + 500, reason="late")
    assert [(s.key, s.device) for s in sends(again)] == [(send.key, other)]
    nowhere = bench.driver.refused(send.key, other, bench.opened_us + 900, reason="late")
    assert sends(nowhere) == []
    due = bench.driver.tick(bench.opened_us + BUDGET_US)
    assert composed(due) == [(3, (0,))]


def test_a_device_that_does_not_know_the_session_gets_nothing_until_it_is_ready_again() -> None:
    bench = Bench()
    send = sends(bench.open(1))[0]
    bench.driver.refused(send.key, send.device, bench.opened_us + 100, reason="unknown_session")
    assert send.device not in bench.driver.ready
    bench.driver.device_ready(send.device, bench.opened_us + 200)
    assert send.device in bench.driver.ready


def test_a_result_the_workload_rejects_is_made_elsewhere() -> None:
    bench = Bench()
    send = sends(bench.open(1))[0]
    again = bench.driver.refused(send.key, send.device, bench.opened_us + RUN_US, reason="rejected")
    (second,) = sends(again)
    assert composed(bench.done(second, bench.opened_us + 2 * RUN_US)) == [(3, ())]


def test_pieces_of_a_lost_device_are_placed_again() -> None:
    bench = Bench()
    first, second = sends(bench.open(2))
    bench.placer.remove(first.device)
    (again,) = sends(bench.driver.device_lost(first.device, bench.opened_us + 1_000))
    assert (again.key, again.device) == (first.key, second.device)


def test_a_leaving_device_answers_what_it_has_and_gets_nothing_more() -> None:
    bench = Bench()
    first, second = sends(bench.open(2))
    assert sends(bench.driver.device_leaving(first.device, bench.opened_us + 1_000)) == []
    assert bench.driver.ready == (second.device,)
    again = bench.driver.refused(
        second.key, second.device, bench.opened_us + 2_000, reason="rejected"
    )
    assert {send.device for send in sends(again)} <= {second.device}
    assert bench.driver.verdict(first.key, first.device) is Verdict.ACCEPTED


def test_a_piece_without_a_device_waits_for_one_until_its_cut_off() -> None:
    bench = Bench()
    send = sends(bench.open(1))[0]
    for device in (A, B):
        bench.placer.remove(device)
    for device in (A, B):
        assert sends(bench.driver.device_lost(device, bench.opened_us + 100)) == []
    new = DeviceKey("c", "gpu")
    bench.placer.add(new, bench.opened_us + 3_000)
    actions = bench.driver.device_ready(new, bench.opened_us + 3_000)
    assert [(s.key, s.device) for s in sends(actions)] == [(send.key, new)]


def test_small_answers_under_a_large_bound_are_not_waited_for_as_if_they_were_large() -> None:
    """Sweeps: 5 MB allowed, 15 kB answered. A slow first way once made all that followed hopeless:
    it was taken for the price of 15 kB, and the next answer was expected to have 5 MB.
    """
    placer = Placer(CostModel())
    driver = SessionDriver("s", 1, Contract(100_000, 100_000, trigger="input"), placer, start_us=0)
    for device in (A, B):
        placer.add(device, 0)
        driver.device_ready(device, 0)
    pieces = [Piece(i, "sweep", 1.0, b"", 5_000_000, inputs=bytes(600_000)) for i in range(2)]
    for now_us in (0, 200_000, 400_000):
        opened = driver.demand(now_us)
        assert isinstance(opened, OpenFrame)
        asked = [s for s in sends(driver.pieces(opened.frame, pieces, now_us)) if not s.probe]
        assert len({send.key for send in asked}) == 2, f"placed at {now_us}"
        for send in asked:
            driver.result(
                send.key,
                send.device,
                now_us + 70_000,
                queue_us=0,
                run_us=2_000,
                backlog_us=0,
                nbytes=15_000,
            )


def test_a_silent_device_is_hedged_in_the_frame_and_told_to_say_when_it_is_free() -> None:
    """SIGSTOP: nothing fails, nothing answers. The frame must not wait for the link to die."""
    bench = Bench()
    silent, spoken = sends(bench.open(2))
    bench.done(spoken)
    wake_us = bench.driver.wake_us(bench.opened_us + RUN_US)
    assert wake_us < bench.opened_us + BUDGET_US - RUN_US, "early enough to matter"
    (hedge,) = sends(bench.driver.tick(wake_us))
    assert (hedge.key, hedge.device) == (silent.key, spoken.device)
    assert bench.driver.counts.hedges == 1
    actions = bench.done(hedge, wake_us + RUN_US)
    assert composed(actions) == [(3, ())]
    assert CancelPiece(silent.key, silent.device, answer=True) in actions
    assert silent.device not in {s.device for s in sends(bench.open(2))}
    assert bench.done(silent, bench.opened_us + 1_000) == []
    assert bench.driver.counts.too_late == 1
    for send in sends(bench.driver.tick(bench.opened_us + BUDGET_US)):
        bench.done(send)
    assert silent.device in {s.device for s in sends(bench.open(2))}


def test_no_copies_are_made_at_the_cost_of_frames_that_wait_for_room() -> None:
    bench = Bench()
    _, spoken = sends(bench.open(2))
    bench.done(spoken)
    now_us = bench.driver.wake_us(bench.opened_us + RUN_US)
    waiting, admission = FrameKey("other", 1, 0), bench.placer.admission
    want = Want(PieceKey("other", 1, 0, 0), "tile", 1.0, 0, 80_000, 80_000)
    assert admission.enter(
        waiting,
        [want],
        now_us + 10 * BUDGET_US,
        now_us,
        devices=list(bench.placer._devices.values()),
        pool=bench.driver._pool,
        stake=Stake(),
    )
    assert sends(bench.driver.tick(now_us)) == []
    admission.leave(waiting, now_us, whole=False)
    (hedge,) = sends(bench.driver.tick(bench.driver.wake_us(now_us)))
    assert hedge.device == spoken.device


OTHERS = FrameKey("other", 1, 0)


def beside_others() -> tuple[Bench, list[Action]]:
    """A frame of six pieces, opened while there is room for four: what is promised has value."""
    bench = Bench()
    wants = [Want(PieceKey("other", 1, 0, at), "tile", 1.0, 0, 0, 0) for at in range(6)]
    assert bench.placer.admission.enter(
        OTHERS,
        wants,
        bench.start_us + BUDGET_US,
        bench.start_us,
        devices=list(bench.placer._devices.values()),
        pool=bench.driver._pool,
        stake=Stake(value=100.0),
    )
    return bench, bench.open(6)


def test_a_frame_that_is_not_promised_is_taken_on_when_others_need_less_than_was_set_aside() -> (
    None
):
    bench, actions = beside_others()
    assert actions == []
    bench.placer.admission.leave(OTHERS, bench.opened_us, whole=True)
    actions = bench.driver.tick(bench.driver.wake_us(bench.opened_us))
    assert len(sends(actions)) == 6
    for send in sends(actions):
        actions = bench.done(send, bench.opened_us + 3 * RUN_US)
    assert [missing for _, missing in composed(actions)] == [()]
    assert bench.driver.counts.refused == bench.driver.counts.displaced == 0


def test_a_frame_that_is_not_promised_is_refused_while_its_client_can_do_something_else() -> None:
    bench, actions = beside_others()
    now_us = bench.opened_us
    while not composed(actions):
        now_us = bench.driver.wake_us(now_us)
        actions = bench.driver.tick(now_us)
        assert sends(actions) == []
    assert [missing for _, missing in composed(actions)] == [tuple(range(6))]
    assert bench.driver.counts.refused == 1
    assert now_us <= bench.opened_us + (BUDGET_US - 3 * RUN_US) / 2


def crowded_out(bench: Bench) -> tuple[Send, list[Action]]:
    """Three pieces on each device, and others' work comes to B: its last will be late there.

    Which piece that is, and what follows when B says so.
    """
    opened = sends(bench.open(6))
    bench.done(next(send for send in opened if send.device == A))
    first, _, late = (send for send in opened if send.device == B)
    actions = bench.driver.result(
        first.key,
        B,
        bench.opened_us + RUN_US,
        queue_us=0,
        run_us=RUN_US,
        backlog_us=2 * RUN_US + 20_000,
        nbytes=0,
    )
    return late, actions


def test_what_waits_where_it_will_be_late_is_made_by_another_device_instead() -> None:
    """No second copy: it has not begun, so nothing is lost, and it costs no budget."""
    bench = Bench()
    late, actions = crowded_out(bench)
    (moved,) = sends(actions)
    assert (moved.key, moved.device) == (late.key, A)
    assert CancelPiece(late.key, B) in actions
    assert bench.driver.counts.hedges == 0
    assert not bench.placer.owes(late.key, B)


def test_a_moved_piece_that_is_refused_there_is_not_forgotten() -> None:
    """It waits on nobody: not on the device it was taken from either."""
    bench = Bench()
    late, actions = crowded_out(bench)
    (moved,) = sends(actions)
    bench.driver.refused(moved.key, moved.device, bench.opened_us + RUN_US, reason="full")
    assert late.key in bench.driver._unplaced


def test_another_session_hears_that_its_piece_will_be_late() -> None:
    bench = Bench()
    other = SessionDriver(
        "t", 3, Contract(PERIOD_US, BUDGET_US), bench.placer, start_us=bench.start_us
    )
    for device in (A, B):
        other.device_ready(device, bench.start_us)
    opened = sends(bench.open(2))
    (frame,) = [a for a in other.tick(bench.opened_us) if isinstance(a, OpenFrame)]
    other.pieces(frame.frame, cut(4), bench.opened_us)
    slow = next(send for send in opened if send.device == B)
    took_us = BUDGET_US - RUN_US // 2
    actions = bench.driver.result(
        slow.key,
        B,
        bench.opened_us + took_us,
        queue_us=0,
        run_us=took_us,
        backlog_us=RUN_US,
        nbytes=0,
    )
    assert Nudge("t") in actions
    other.nudged(-1, bench.opened_us + took_us)
    assert not bench.placer.turned_late


def test_a_straggler_is_dropped_while_its_copy_is_made() -> None:
    """So that the next frame has its device again."""
    bench = Bench()
    slow, spoken = sends(bench.open(2))
    bench.done(spoken)
    now_us = bench.driver.wake_us(bench.opened_us + RUN_US)
    (copy,) = sends(bench.driver.tick(now_us))
    later_us = bench.driver.wake_us(now_us)
    assert now_us < later_us < now_us + RUN_US
    assert bench.driver.tick(later_us) == [CancelPiece(slow.key, slow.device, True, straggler=True)]
    assert bench.driver.wake_us(later_us) > later_us
    bench.driver.refused(slow.key, slow.device, later_us + 500, reason="cancelled", run_us=RUN_US)
    assert composed(bench.done(copy, now_us + RUN_US)) == [(3, ())]


def test_word_of_a_dropped_piece_clears_its_device_and_is_no_refusal() -> None:
    bench = Bench()
    silent, spoken = sends(bench.open(2))
    bench.done(spoken)
    now_us = bench.opened_us + BUDGET_US - 1_000  # overdue
    hedges = sends(bench.driver.tick(now_us))
    assert silent.device not in {hedge.device for hedge in hedges}
    now_us = bench.opened_us + BUDGET_US
    actions = bench.driver.tick(now_us)
    assert CancelPiece(silent.key, silent.device, answer=True) in actions
    assert bench.placer.usable([silent.device], now_us) == []
    level_us = bench.costs.levels(silent.device)["tile"]
    for _ in range(4):  # lower bounds, by which it slowly becomes known that it is slow
        bench.costs.observe_at_least(silent.device, "tile", 1.0, 3 * RUN_US)
    bench.driver.refused(silent.key, silent.device, now_us, reason="cancelled", run_us=RUN_US)
    assert bench.placer.usable([silent.device], now_us) == [silent.device]
    assert bench.driver.counts.refusals == 0
    assert bench.costs.levels(silent.device)["tile"] == 3 * level_us


def test_the_first_of_two_answers_wins_and_the_other_device_is_told() -> None:
    bench = Bench()
    slow, spoken = sends(bench.open(2))
    bench.done(spoken)
    now_us = bench.driver.wake_us(bench.opened_us + RUN_US)
    (hedge,) = sends(bench.driver.tick(now_us))
    actions = bench.done(slow, now_us + 500)
    assert CancelPiece(hedge.key, hedge.device, answer=True) in actions, "what did it cost?"
    assert composed(actions) == [(3, ())]
    assert bench.driver.verdict(hedge.key, hedge.device) is Verdict.TOO_LATE


def test_at_the_cut_off_the_frame_is_composed_and_what_is_still_out_is_cancelled() -> None:
    bench = Bench(trusted=False)
    out = sends(bench.open(2))
    actions = bench.driver.tick(bench.opened_us + BUDGET_US)
    assert composed(actions) == [(0, (0, 1))]
    cancelled = {(a.key, a.device) for a in actions if isinstance(a, CancelPiece)}
    assert cancelled == {(send.key, send.device) for send in out}
    (compose,) = [action for action in actions if isinstance(action, Compose)]
    assert [piece.maker for piece in compose.closed.pieces] == [None, None]


def test_an_abandoned_frame_makes_room_for_the_next() -> None:
    bench = Bench()
    for _ in range(5):
        now_us = bench.driver.clock.next_open_us
        (opened,) = bench.driver.tick(now_us)
        assert isinstance(opened, OpenFrame)
        bench.driver.abandon(opened.frame)
    assert bench.driver.clock.skipped == 0


def test_after_closing_nothing_is_owed_or_accepted() -> None:
    bench = Bench()
    send = sends(bench.open(1))[0]
    bench.driver.close(bench.opened_us + 10)
    assert bench.placer.outstanding(send.device) == 0
    assert bench.done(send) == []


def test_two_sessions_see_each_others_work_through_the_placer() -> None:
    bench = Bench()
    other = SessionDriver(
        "t", 1, Contract(PERIOD_US, BUDGET_US), bench.placer, start_us=bench.start_us
    )
    for device in (A, B):
        other.device_ready(device, bench.start_us)
    (send,) = sends(bench.open(1, bench.start_us))
    other.tick(bench.start_us)
    (theirs,) = sends(other.pieces(0, cut(1), bench.start_us))
    assert theirs.device != send.device
    assert theirs.key == PieceKey("t", 1, 0, 0)


@given(st.lists(st.tuples(st.sampled_from("tdrlx"), st.integers(0, 12_000)), max_size=80))
def test_after_a_tick_the_next_wake_lies_in_the_future(steps: list[tuple[str, int]]) -> None:
    """Else the caller's loop would spin."""
    bench, now_us = Bench(), 0
    now_us = bench.start_us
    out: list[Send] = []
    for what, wait_us in steps:
        now_us += wait_us
        actions: list[Action] = []
        if what == "t":
            actions = bench.driver.tick(now_us)
            for action in list(actions):
                if isinstance(action, OpenFrame):
                    actions += bench.driver.pieces(action.frame, cut(3), now_us)
            assert bench.driver.wake_us(now_us) > now_us
        elif what == "l":
            bench.placer.remove(A)
            actions = bench.driver.device_lost(A, now_us)
        elif what == "x":
            bench.placer.add(A, now_us)
            actions = bench.driver.device_ready(A, now_us)
        elif out:
            send = out.pop(0)
            if what == "d":
                actions = bench.done(send, now_us)
            else:
                actions = bench.driver.refused(send.key, send.device, now_us, reason="late")
        out += sends(actions)


@pytest.mark.parametrize("late_us", [0, 5_000, 3 * PERIOD_US])
def test_being_called_late_costs_frames_not_correctness(late_us: int) -> None:
    bench = Bench()
    sent = sends(bench.open(2))
    now_us = bench.opened_us + BUDGET_US + late_us
    actions = bench.driver.tick(now_us)
    assert composed(actions) == [(3, (0, 1))]
    assert all(bench.driver.verdict(s.key, s.device) is Verdict.TOO_LATE for s in sent)
