from collections import Counter
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.schedule.cost import CostModel
from mesh.schedule.hedging import MOST_US, SHARE
from mesh.schedule.ids import DeviceKey, PieceKey
from mesh.schedule.placement import PROBE_COLD_US, Hopeless, Place, Placer
from mesh.schedule.promises import Want

A, B, C = (DeviceKey(name, "gpu") for name in "abc")
FAR_US = 1_000_000


def want(
    index: int,
    units: float = 1.0,
    *,
    frame: int = 0,
    exclude: frozenset[DeviceKey] = frozenset(),
    kind: str = "tile",
) -> Want:
    return Want(PieceKey("s", 1, frame, index), kind, units, 0, 0, 0, exclude)


def placer_with(speeds: dict[DeviceKey, int], link_us: int = 0) -> Placer:
    """A placer that knows each device's us per unit, all of them proven and idle at time 0."""
    costs = CostModel(prior_link_us=link_us)
    placer = Placer(costs)
    for device, speed_us in speeds.items():
        placer.add(device, -FAR_US)
        for _ in range(30):
            costs.observe(device, "tile", 1.0, speed_us)
    for device in speeds:
        others = frozenset(speeds) - {device}
        proof = want(99, frame=-1, exclude=others)
        placer.place([proof], FAR_US, -10, [device], probe=False)
        placer.answered(proof.key, device, -5, 0, result=True)
    return placer


def makers(decisions: list[Place | Hopeless]) -> list[DeviceKey]:
    return [d.device for d in decisions if isinstance(d, Place)]


def test_unequal_devices_finish_together() -> None:
    placer = placer_with({A: 1_000, B: 4_000})
    placed = placer.place([want(i) for i in range(10)], FAR_US, 0, [A, B])
    assert Counter(makers(placed)) == {A: 8, B: 2}


def test_the_longest_piece_is_placed_first() -> None:
    placer = placer_with({A: 1_000, B: 1_000})
    placed = placer.place([want(0, 1.0), want(1, 1.0), want(2, 2.0)], FAR_US, 0, [A, B])
    assert [p.key.piece for p in placed] == [2, 0, 1]
    assert makers(placed)[1] == makers(placed)[2] != makers(placed)[0]


def test_equal_devices_get_equal_shares_even_of_single_pieces() -> None:
    placer, served = placer_with({A: 5_000, B: 5_000, C: 5_000}), Counter[DeviceKey]()
    for frame in range(60):
        now_us = frame * 20_000
        (place,) = placer.place([want(0, frame=frame)], now_us + FAR_US, now_us, [A, B, C])
        assert isinstance(place, Place)
        served[place.device] += 1
        placer.answered(place.key, place.device, now_us + 6_000, 0, result=True)
    assert set(served.values()) == {20}


def test_transfer_counts_so_that_a_near_device_beats_a_slightly_faster_far_one() -> None:
    placer = placer_with({A: 4_000, B: 5_000})
    for _ in range(40):
        placer.costs.observe_transfer("a", 1_000, 9_000)
        placer.costs.observe_transfer("b", 1_000, 100)
    assert makers(placer.place([want(0)], FAR_US, 0, [A, B])) == [B]


def test_what_is_promised_counts_as_backlog_until_it_is_answered() -> None:
    placer = placer_with({A: 5_000, B: 8_000})
    first, second = (placer.place([want(i)], FAR_US, 0, [A, B])[0] for i in range(2))
    assert isinstance(first, Place) and isinstance(second, Place)
    assert (first.device, second.device) == (A, B)
    placer.answered(first.key, A, 5_000, 0, result=True)
    assert makers(placer.place([want(2)], FAR_US, 5_000, [A, B])) == [A]


def test_a_device_that_reports_work_of_others_gets_less() -> None:
    placer = placer_with({A: 5_000, B: 5_500})
    busy = want(0, exclude=frozenset({B}))
    placer.place([busy], FAR_US, 0, [A, B])
    placer.answered(busy.key, A, 5_000, backlog_us=50_000, result=True)
    placed = placer.place([want(i) for i in range(1, 5)], FAR_US, 5_000, [A, B])
    assert makers(placed) == [B] * 4


def test_work_of_later_deadline_is_overtaken_but_for_the_piece_that_runs() -> None:
    placer = placer_with({A: 10_000})
    placer.place([want(i) for i in range(20)], 10 * FAR_US, 0, [A])
    (urgent,) = placer.place([want(0, frame=1)], 25_000, 0, [A])
    assert isinstance(urgent, Place)
    assert urgent.expected_us == 20_000
    (hopeless,) = placer.place([want(1, frame=1)], 25_000, 0, [A])
    assert hopeless == Hopeless(want(1, frame=1).key, 5_000)


def test_the_deadline_sent_leaves_time_for_the_way_back() -> None:
    placer = placer_with({A: 5_000}, link_us=4_000)
    (place,) = placer.place([want(0)], 50_000, 0, [A])
    assert isinstance(place, Place)
    assert 48_000 <= place.deadline_us < 50_000


def test_nothing_goes_to_devices_that_are_excluded_suspended_unready_or_gone() -> None:
    placer = placer_with({A: 1_000, B: 5_000, C: 9_000})
    assert makers(placer.place([want(0)], FAR_US, 0, [B, C])) == [B]
    assert makers(placer.place([want(1, exclude=frozenset({A}))], FAR_US, 0, [A, B])) == [B]
    placer.suspend(A)
    assert A not in makers(placer.place([want(2)], FAR_US, 0, [A, B]))
    placer.resume(A)
    assert makers(placer.place([want(3)], FAR_US, 0, [A, C])) == [A]
    placer.remove(A)
    assert A not in placer
    assert placer.place([want(4)], FAR_US, 0, [A]) == [Hopeless(want(4).key, None)]


def test_a_silent_device_is_suspect_gets_nothing_and_is_trusted_again_when_it_speaks() -> None:
    placer = placer_with({A: 5_000, B: 6_000})
    (place,) = placer.place([want(0)], FAR_US, 0, [A, B])
    assert isinstance(place, Place) and place.device == A
    later_us = place.overdue_us
    assert placer.usable([A, B], later_us - 1) == [A, B]
    assert placer.usable([A, B], later_us) == [B]
    assert placer.doubt_us(place.key, A, later_us) <= later_us
    placed = placer.place([want(i) for i in range(1, 5)], FAR_US, later_us, [A, B])
    assert makers(placed) == [B] * 4
    placer.answered(place.key, A, later_us + 100, 0, result=False)
    assert placer.usable([A, B], later_us + 100) == [A, B]


def test_what_a_suspect_device_drops_stays_owed_because_its_word_clears_it() -> None:
    placer = placer_with({A: 5_000, B: 5_000})
    placed = placer.place([want(0), want(1)], FAR_US, 0, [A, B])
    place = next(p for p in placed if isinstance(p, Place) and p.device == A)
    assert placer.withdraw(place.key, A, place.overdue_us) is True
    assert placer.owes(place.key, A)
    other = next(p for p in placed if isinstance(p, Place) and p.device == B)
    assert placer.withdraw(other.key, B, 0) is True
    assert placer.withdraw(other.key, B, 0) is False
    assert (placer.outstanding(A), placer.outstanding(B)) == (1, 0)


def test_what_waits_behind_others_moves_to_a_device_that_is_free() -> None:
    placer = placer_with({A: 5_000, B: 5_000, C: 5_000})
    ahead, behind = placer.place([want(0), want(1)], FAR_US, 0, [A])
    assert isinstance(ahead, Place)
    assert isinstance(behind, Place)
    assert placer.move(want(0), A, [B], FAR_US, 100) is None, "it probably runs"
    assert placer.move(want(1), B, [C], FAR_US, 100) is None, "B does not owe it"
    assert placer.move(want(1), A, [B], FAR_US, 6_000) is None, "it comes no sooner"
    moved = placer.move(want(1), A, [B], FAR_US, 100)
    assert moved is not None
    assert (moved.device, moved.expected_us < behind.expected_us) == (B, True)
    assert not placer.owes(behind.key, A)
    assert placer.owes(behind.key, B)


def test_a_piece_moves_only_where_it_is_in_time_and_makes_nothing_else_late() -> None:
    placer = placer_with({A: 5_000, B: 5_000, C: 6_000})
    placer.place([want(i) for i in range(3)], 20_000, 0, [A])
    assert placer.move(want(2), A, [C], 5_500, 100) is None, "it would be late there"
    placer.place([want(3), want(4)], 12_000, 0, [B])
    assert placer.move(want(2), A, [B], 11_900, 100) is None, "it would make another one late"
    moved = placer.move(want(2), A, [B, C], 11_900, 100)
    assert moved is not None
    assert moved.device == C


def test_no_copy_goes_to_a_device_that_is_late_itself() -> None:
    placer = placer_with({A: 5_000, B: 5_000})
    (late,) = placer.place([want(0)], FAR_US, 0, [A])
    assert isinstance(late, Place)
    assert placer.hedge(want(1), FAR_US, late.doubt_us, [A]) is None
    copy = placer.hedge(want(1), FAR_US, late.doubt_us, [A, B])
    assert copy is not None
    assert copy.device == B


def test_copies_rather_go_where_no_answer_is_due() -> None:
    placer = placer_with({A: 5_000, B: 5_000, C: 5_000})
    (due,) = placer.place([want(0)], FAR_US, 0, [A], probe=False)
    placer.place([want(1), want(2)], FAR_US, 0, [B], probe=False)
    assert isinstance(due, Place)
    now_us = due.expected_us
    placer.answered(want(1).key, B, now_us - 1_000, 5_000, result=True)
    copy = placer.hedge(want(3), FAR_US, now_us, [A, B])
    assert copy is not None
    assert copy.device == B, "A would be free now, if all were well"
    assert placer.hedge(want(4), FAR_US, now_us, [A]) is not None, "there is no other"


def test_with_only_suspect_devices_left_they_get_the_work() -> None:
    placer = placer_with({A: 5_000})
    (place,) = placer.place([want(0)], FAR_US, 0, [A])
    assert isinstance(place, Place)
    assert makers(placer.place([want(1)], FAR_US, place.overdue_us, [A])) == [A]


def test_an_answer_puts_off_what_else_the_device_owes() -> None:
    """Behind a straggler nothing is on time, but the device lives: it is not suspect."""
    placer = placer_with({A: 5_000})
    first, second = placer.place([want(0), want(1)], 80_000, 0, [A])
    assert isinstance(first, Place) and isinstance(second, Place)
    placer.answered(first.key, A, 60_000, backlog_us=5_000, result=True)
    assert second.overdue_us < 60_000
    assert placer.doubt_us(second.key, A, 60_000) > 60_000
    placer_late = placer_with({A: 5_000})
    placer_late.place([want(0), want(1)], 30_000, 0, [A])
    placer_late.answered(first.key, A, 28_000, backlog_us=5_000, result=True)
    assert list(placer_late.turned_late) == ["s"]
    assert placer_late.doubt_us(second.key, A, 28_000) <= 28_000


def test_a_cold_device_is_tried_with_one_copy_and_no_frame_depends_on_it() -> None:
    placer = placer_with({A: 5_000})
    placer.add(B, 0)
    placed = placer.place([want(0), want(1)], FAR_US, 0, [A, B])
    assert [(p.device, p.probe) for p in placed if isinstance(p, Place)] == [
        (A, False),
        (A, False),
        (B, True),
    ]
    for place in placed[:2]:
        placer.answered(place.key, A, 10_000, 0, result=True)
    again = placer.place([want(2)], FAR_US, 3 * PROBE_COLD_US, [A, B])
    assert makers(again) == [A], "one probe at a time"
    probe = placed[2]
    assert placer.withdraw(probe.key, B, 0) is False
    placer.answered(probe.key, B, 1_000, 0, result=True)
    for _ in range(2):
        placer.costs.observe(B, "tile", 1.0, 1_000)
    later = placer.place([want(3)], 60 * FAR_US, 50 * FAR_US, [A, B], probe=False)
    assert makers(later) == [B]


def test_a_device_that_comes_back_is_cold_and_its_warm_up_is_not_held_against_it() -> None:
    placer = placer_with({A: 5_000, B: 4_000})
    before = placer.costs.predict_us(B, "tile", 1.0)
    placer.remove(B)
    placer.add(B, 0)
    placed = placer.place([want(0)], FAR_US, 0, [A, B])
    assert [(p.device, p.probe) for p in placed if isinstance(p, Place)] == [(A, False), (B, True)]
    placer.costs.observe(B, "tile", 1.0, 90_000)
    assert placer.costs.predict_us(B, "tile", 1.0) == before
    placer.answered(want(0).key, B, 90_000, 0, result=True)
    assert makers(placer.place([want(1)], FAR_US, 90_000, [B], probe=False)) == [B]


def test_when_all_are_cold_they_share_the_frame() -> None:
    placer = Placer(CostModel())
    for device in (A, B, C):
        placer.add(device, 0)
    placed = placer.place([want(i) for i in range(6)], FAR_US, 0, [A, B, C])
    assert Counter(makers(placed)) == {A: 2, B: 2, C: 2}
    assert not any(p.probe for p in placed if isinstance(p, Place))


def test_a_prediction_that_forbids_everything_is_tried_again() -> None:
    placer = placer_with({A: 500_000})
    decided = placer.place([want(0)], 200_000, 100_000, [A])
    assert decided[0] == Hopeless(want(0).key, 400_000)
    assert [(d.device, d.probe) for d in decided[1:] if isinstance(d, Place)] == [(A, True)]


def test_for_hedging_only_a_trusted_device_that_is_surely_in_time_is_asked() -> None:
    placer = placer_with({A: 5_000, B: 40_000})
    placer.add(C, 0)
    spare = want(0, exclude=frozenset({A}))
    assert placer.hedge(spare, 30_000, 0, [A, B, C]) is None
    place = placer.hedge(spare, 90_000, 0, [A, B, C])
    assert place is not None and place.device == B


def copies(placer: Placer, frame: int) -> int:
    """How many pieces can be copied before the budget is spent."""
    wants = (want(i, frame=frame) for i in range(100))
    return sum(placer.hedge(copied, FAR_US, 0, [A, B]) is not None for copied in wants)


def test_copies_are_paid_from_a_budget_that_grows_with_the_work() -> None:
    placer = placer_with({A: 5_000, B: 5_000})
    assert copies(placer, frame=1) == pytest.approx(MOST_US / 5_000, abs=1)
    assert placer.hedge(want(0, frame=2), FAR_US, 0, [A, B]) is None
    for frame in range(3, 3 + ceil(2 / SHARE / 50)):
        placer.drop_session("s")
        placer.place([want(i, frame=frame) for i in range(50)], FAR_US, 0, [A, B])
    assert placer.hedge(want(0, frame=2), FAR_US, 0, [A, B]) is not None


def test_a_copy_that_never_began_is_paid_back() -> None:
    placer = placer_with({A: 5_000, B: 5_000})
    placer.place([want(99)], FAR_US, 0, [B], probe=False)
    spent = copies(placer, frame=1)
    assert placer.hedge(want(0, frame=2), FAR_US, 0, [A, B]) is None
    last = want(spent - 1, frame=1).key
    assert placer.withdraw(last, A, 0) or placer.withdraw(last, B, 0)
    assert placer.hedge(want(0, frame=2), FAR_US, 0, [A, B]) is not None


def test_what_a_dropped_copy_has_not_spent_is_paid_back() -> None:
    placer = placer_with({A: 5_000, B: 5_000})
    copied = [placer.hedge(want(i), FAR_US, 0, [A]) for i in range(4)]
    copies(placer, frame=1)
    for copy in copied:
        assert copy is not None
        attempt = placer.answered(copy.key, A, 2_500, 0, result=False)
        assert attempt is not None
        placer.dropped(attempt, A, 2_500)
    assert copies(placer, frame=2) == 2, "four halves"


def test_the_device_of_a_running_copy_is_told_once_and_says_what_it_has_cost() -> None:
    placer = placer_with({A: 5_000})
    copy = placer.hedge(want(0), FAR_US, 0, [A])
    assert copy is not None
    assert placer.withdraw(copy.key, A, 1_000)
    assert placer.owes(copy.key, A)
    assert not placer.withdraw(copy.key, A, 1_000)


def test_a_few_stragglers_do_not_put_off_the_doubt() -> None:
    """At one in fifteen they once were the 95th percentile, and copies came too late."""
    doubts_us = []
    for every in (1_000, 15):
        placer = placer_with({A: 5_000})
        for run in range(128):
            run_us = 50_000 if run % every == every - 1 else 5_000
            placer.costs.observe(A, "tile", 1.0, run_us)
        (place,) = placer.place([want(0)], FAR_US, 0, [A], probe=False)
        assert isinstance(place, Place)
        doubts_us.append(place.doubt_us)
    assert doubts_us[1] == doubts_us[0] < 6_000


def test_a_straggler_is_told_to_drop_the_piece_only_once_and_when_far_too_late() -> None:
    placer = placer_with({A: 40_000})
    (place,) = placer.place([want(0)], FAR_US, 0, [A], probe=False)
    assert isinstance(place, Place)
    straggles_us = placer.straggles_us(place.key, A)
    assert straggles_us == place.expected_us + 20_000 > place.overdue_us
    assert placer.withdraw(place.key, A, straggles_us)
    assert placer.straggles_us(place.key, A) > FAR_US
    assert placer.straggles_us(place.key, B) > FAR_US


def test_a_closed_session_leaves_no_promises() -> None:
    placer = placer_with({A: 5_000})
    placer.place([want(0)], FAR_US, 0, [A])
    placer.drop_session("s")
    assert placer.outstanding(A) == 0


@given(
    units=st.lists(st.floats(0.1, 5.0), min_size=1, max_size=20),
    speeds=st.lists(st.integers(500, 20_000), min_size=1, max_size=6),
)
def test_a_frame_ends_within_twice_the_best_any_placement_could_do(
    units: list[float], speeds: list[int]
) -> None:
    """LPT by finish time is within 2 of optimal on uniform machines (Gonzalez et al., 1977)."""
    devices = [DeviceKey(f"n{i}", "gpu") for i in range(len(speeds))]
    placer = placer_with(dict(zip(devices, speeds, strict=True)))
    wants = [want(i, u) for i, u in enumerate(units)]
    placed = placer.place(wants, 10**9, 0, devices, probe=False)
    assert sorted(p.key.piece for p in placed) == list(range(len(units)))
    ends = [p.expected_us for p in placed if isinstance(p, Place)]
    assert len(ends) == len(units)
    together_us = sum(units) / sum(1 / speed for speed in speeds)
    at_least_us = max(together_us, max(units) * min(speeds))
    slack_us = max(ends) / 10 + 500  # what equal shares among near-equals may cost per piece
    assert max(ends) <= 2 * at_least_us + slack_us * len(units)


@pytest.mark.parametrize("claim_us", [-5, 10**15])
def test_a_nonsense_backlog_harms_only_its_own_device(claim_us: int) -> None:
    placer = placer_with({A: 5_000, B: 5_000})
    placed = placer.place([want(0), want(1)], FAR_US, 0, [A, B])
    place = next(p for p in placed if isinstance(p, Place) and p.device == A)
    placer.answered(place.key, A, 5_000, claim_us, result=True)
    again = placer.place([want(2), want(3)], FAR_US, 5_000, [A, B])
    assert len(makers(again)) == 2


def test_a_kind_nobody_ran_is_tried_at_once_however_large_its_units() -> None:
    """The prior is a time per piece; once it was taken for a time per unit, and nothing fitted."""
    placer = Placer(CostModel("here"))
    device = DeviceKey("here", "cpu")
    placer.add(device, 0)
    wants = [Want(PieceKey("s", 1, 0, i), "rows", 57_600.0, 100, 100, 100) for i in range(4)]
    placed = placer.place(wants, 100_000, 0, [device])
    assert {p.key for p in placed if isinstance(p, Place) and not p.probe} == {w.key for w in wants}


def test_a_device_that_is_never_idle_is_tried_with_a_new_kind() -> None:
    """Both are busy with tiles; A alone has ever made a sector, so B is cold for these."""
    placer = placer_with({A: 5_000, B: 5_000})
    for _ in range(30):
        placer.costs.observe(A, "sector", 1.0, 2_000)
    tried_us: list[int] = []
    for frame in range(40):
        now_us = frame * 50_000  # the next tile comes before a probe would
        tiles = [want(i, frame=frame) for i in range(4)]
        placed = placer.place(tiles, now_us + FAR_US, now_us, [A, B])
        assert set(makers(placed)) == {A, B}
        sector = want(4, frame=frame, kind="sector")
        asked = placer.place([sector], now_us + FAR_US, now_us + 1_000, [A, B])
        tried_us += [
            now_us for p in asked if isinstance(p, Place) and (p.device, p.probe) == (B, True)
        ]
        for place in [*placed, *asked]:
            assert isinstance(place, Place)
            placer.answered(place.key, place.device, now_us + 20_000, 0, result=True)
    assert tried_us[0] == 0
    assert {b - a for a, b in pairwise(tried_us)} == {PROBE_COLD_US}
