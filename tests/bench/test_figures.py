"""What the figures of docs/scheduling.md show is so, and drawing it repeats to the byte."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from bench.figures.calibration import NOISES, STATED, STEP_RUNS, TOLERANCE, Noise, covered
from bench.figures.rescue import FROZEN, GAME, Rescue, find, watch
from bench.policies.contest import Cell, Result, Tally
from bench.schedule import EQUAL, curves

MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def rescue() -> Rescue:
    return find()


# --- calibration ----------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_what_is_stated_is_covered(noise: Noise) -> None:
    for stated, share in zip(STATED, covered(noise, seeds=(7,), runs=3_000), strict=True):
        assert abs(share - stated) <= TOLERANCE


def test_shares_rise_with_what_is_stated_and_repeat() -> None:
    shares = covered(NOISES[1], seeds=(1, 2), runs=300)
    assert shares == sorted(shares) == covered(NOISES[1], seeds=(1, 2), runs=300)


def test_a_throttled_device_takes_longer_in_every_second_stretch() -> None:
    noise = Noise("steps", 0.0, step=2.0)
    cool, hot = (noise.draw_us(number, 1.0, Random(1)) for number in (0, STEP_RUNS))
    assert hot == pytest.approx(2.0 * cool)


# --- the rescued frame ----------------------------------------------------------------------------


def test_the_rescued_frame_is_whole_in_time_without_the_frozen_device(rescue: Rescue) -> None:
    assert rescue.opened_us < rescue.frozen_us < rescue.whole_us < rescue.deadline_us
    assert rescue.deadline_us - rescue.opened_us == GAME.contract.deadline_us
    made = {
        bar.key.piece
        for bar in rescue.bars
        if rescue.is_shown(bar.key) and bar.end_us is not None and bar.end_us < rescue.whole_us
    }
    assert made == set(range(GAME.pieces))
    frozen = [bar for bar in rescue.bars if bar.device.node == FROZEN]
    assert any(bar.end_us is None for bar in frozen)
    assert not any(bar.end_us is not None and bar.end_us > rescue.frozen_us for bar in frozen)


def test_each_copy_goes_elsewhere_once_its_answer_is_in_doubt(rescue: Rescue) -> None:
    copies = {mark.key: mark for mark in rescue.marks if mark.what == "copy"}
    doubts = {mark.key: mark for mark in rescue.marks if mark.what == "doubt"}
    assert len(copies) >= 2
    assert copies.keys() == doubts.keys()
    for key, copy in copies.items():
        assert doubts[key].device.node == FROZEN != copy.device.node
        assert rescue.frozen_us < doubts[key].at_us <= copy.at_us


def test_no_device_runs_two_pieces_at_once(rescue: Rescue) -> None:
    by_device = defaultdict(list)
    for bar in rescue.bars:
        by_device[bar.device].append((bar.start_us, bar.end_us))
    for runs in by_device.values():
        for (_, ended_us), (started_us, _) in pairwise(runs):
            assert ended_us is not None and ended_us <= started_us


def test_its_seed_replays_it(rescue: Rescue) -> None:
    assert watch(rescue.seed) == rescue


def test_that_no_seed_would_do_is_said() -> None:
    with pytest.raises(LookupError, match="no frame was rescued"):
        find(seeds=())


# --- curves and drawing ---------------------------------------------------------------------------


def test_curves_are_of_one_trace_on_equal_workers() -> None:
    def tally(missed: int) -> Tally:
        return Tally([Result({"one": {"VR": (missed, 100)}}, 1.0, 1.0)])

    results = {
        Cell("conv", EQUAL, 0.5): tally(1),
        Cell("conv", "2 mixed", 0.5): tally(2),
        Cell("code", EQUAL, 0.5): tally(3),
        Cell("conv", EQUAL, 0.7): tally(4),
    }
    assert curves(results, "conv") == {"one": [(0.5, 1.0), (0.7, 4.0)]}


def test_figures_are_small_and_the_same_every_time(tmp_path: Path, rescue: Rescue) -> None:
    drawing = pytest.importorskip("bench.figures.drawing", reason="matplotlib (extra bench)")
    shares = {noise.name: list(STATED) for noise in NOISES}
    panel = {"ours": [(0.5, 0.0), (1.3, 13.0)], "FIFO": [(0.5, 5.0), (1.3, 80.0)]}
    draws: dict[str, Callable[[Path], None]] = {
        "calibration": lambda path: drawing.draw_calibration(path, shares),
        "misses": lambda path: drawing.draw_misses(path, {"a": panel, "b": panel}, "ours"),
        "rescue": lambda path: drawing.draw_rescue(path, rescue),
    }
    for name, draw in draws.items():
        once, again = tmp_path / f"{name}.svg", tmp_path / f"{name}-again.svg"
        draw(once)
        draw(again)
        assert once.read_bytes() == again.read_bytes()
        assert once.stat().st_size < MOST_BYTES
        assert ElementTree.parse(once).getroot().tag.endswith("svg")
