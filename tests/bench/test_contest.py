"""The contest: every policy meets the same frames, and what comes of it is added up rightly."""

from collections.abc import Sequence

import pytest

from bench.policies.central import POLICIES, WHOLE, Central, Costs, Policy, by_worth
from bench.policies.contest import (
    CLASSES,
    FLEETS,
    OTHERS,
    OURS,
    TRACES,
    Cell,
    Contest,
    Missed,
    Result,
    Tally,
    by_class,
    play,
)
from mesh.sim.arrivals import Job, JobClass

VR, GAME, LIDAR, BENCH = CLASSES
CELL = Cell("conv", "4 equal", 0.9)
EXACT = Costs(start_us=0, noise=0.0)
FLEX = Policy("flex", by_worth, drops="hopeless", preempts=3.03)
PATIENT = Policy("patient", by_worth, drops="hopeless", preempts=3.03, patient=True)


def jobs(*arrivals: tuple[int, JobClass]) -> list[Job]:
    return [Job(number, at_us, each) for number, (at_us, each) in enumerate(arrivals)]


def missed(policy: Policy, arriving: Sequence[Job], speeds: Sequence[float] = (1.0,)) -> set[int]:
    return Central(policy, EXACT, speeds, seed=1).run(arriving)


@pytest.mark.parametrize("trace", TRACES)
def test_the_same_seed_brings_the_same_frames_and_another_one_others(trace: str) -> None:
    one = Contest(Cell(trace, "4 equal", 0.9), seed=1, count=200).jobs()
    assert one == Contest(Cell(trace, "4 equal", 0.9), seed=1, count=200).jobs()
    assert one != Contest(Cell(trace, "4 equal", 0.9), seed=2, count=200).jobs()


@pytest.mark.parametrize("fleet", FLEETS)
def test_the_frames_bring_the_load_they_say(fleet: str) -> None:
    arriving = Contest(Cell("conv", fleet, 0.7), seed=3, count=500).jobs()
    work_us = sum(job.job_class.work_us for job in arriving)
    assert work_us / arriving[-1].at_us == pytest.approx(0.7 * sum(FLEETS[fleet]), rel=1e-3)


def test_a_whole_contest_repeats_to_the_frame_and_has_everybody_in_it() -> None:
    contest = Contest(CELL, seed=1, count=60)
    result = play(contest)
    assert result == play(contest)
    assert set(result.missed) == {OURS, *(name for name, _, _ in OTHERS)}
    frames = {name: sum(of for _, of in each.values()) for name, each in result.missed.items()}
    assert set(frames.values()) == {60}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_every_policy_repeats_and_misses_nothing_where_there_is_room(policy: Policy) -> None:
    arriving = Contest(CELL, seed=5, count=300).jobs()
    once = Central(policy, WHOLE, FLEETS["4 equal"], seed=5).run(arriving)
    assert once == Central(policy, WHOLE, FLEETS["4 equal"], seed=5).run(arriving)
    sparse = jobs(*((number * 100_000, each) for number, each in enumerate(CLASSES * 5)))
    assert missed(policy, sparse) == set()


# --- throwing away --------------------------------------------------------------------------------


def test_a_frame_worth_so_many_times_as_much_throws_a_running_one_away() -> None:
    arriving = jobs((0, BENCH), (10_000, VR))
    assert missed(FLEX, arriving) == set()  # begun again from nothing, and still in time
    assert missed(POLICIES[1], arriving) == {1}  # EDF lets it run on


def test_one_worth_less_than_that_waits() -> None:
    just_less = JobClass("just less", 20_000, 25_000)
    assert missed(FLEX, jobs((0, BENCH), (10_000, just_less))) == {1}


def test_what_is_thrown_away_begins_from_nothing_or_is_lost() -> None:
    tight = JobClass("tight", 60_000, 70_000)
    assert missed(FLEX, jobs((0, tight), (1_000, VR))) == set()
    assert missed(FLEX, jobs((0, tight), (50_000, VR))) == {0}


def test_the_patient_one_throws_nothing_away_that_is_done_soon_enough() -> None:
    tight = JobClass("tight", 60_000, 64_000)
    arriving = jobs((0, tight), (56_000, VR))
    assert missed(FLEX, arriving) == {0}
    assert missed(PATIENT, arriving) == set()
    assert missed(PATIENT, jobs((0, tight), (50_000, VR))) == {0}


def test_of_equals_the_last_begun_is_thrown_away() -> None:
    tight = JobClass("tight", 60_000, 70_000)
    arriving = jobs((0, tight), (20_000, tight), (50_000, VR))
    assert missed(FLEX, arriving, speeds=(1.0, 1.0)) == {1}


# --- adding up ------------------------------------------------------------------------------------


def result(ours: Missed, theirs: Missed, per_s: float = 1.0, quality: float = 1.0) -> Result:
    return Result({"theirs": theirs, OURS: ours}, per_s, quality)


def test_frames_are_counted_by_class() -> None:
    arriving = jobs((0, VR), (1, VR), (2, BENCH))
    assert by_class(arriving, {1, 2}) == {
        "VR": (1, 2),
        "game": (0, 0),
        "LiDAR": (0, 0),
        "bench": (1, 1),
    }


def test_percentages_are_of_all_frames_of_all_seeds() -> None:
    tally = Tally(
        [
            result({"VR": (1, 10), "game": (0, 10)}, {"VR": (5, 10), "game": (5, 10)}, 10.0, 0.8),
            result({"VR": (0, 30), "game": (0, 10)}, {"VR": (5, 30), "game": (5, 10)}, 20.0, 1.0),
        ]
    )
    assert tally.policies == ["theirs", OURS]
    assert tally.pct(OURS) == pytest.approx(100 * 1 / 60)
    assert tally.pct("theirs", "VR") == pytest.approx(100 * 10 / 40)
    assert tally.ratio("theirs") == pytest.approx(1 / 20)
    assert tally.ratio("theirs", "game") == 0.0
    assert (tally.ours_per_s, tally.quality) == (15.0, pytest.approx(0.9))


def test_a_ratio_to_nothing_missed_is_finite() -> None:
    tally = Tally([result({"VR": (1, 100)}, {"VR": (0, 100)})])
    assert tally.ratio("theirs") == pytest.approx(100.0)
