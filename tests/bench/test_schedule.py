"""What the benchmark of the schedule runs, and the names it gives its figures."""

from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.policies.contest import CLASSES, FLEETS, OTHERS, OURS, TRACES, Cell, Contest, Result
from bench.report import Report
from bench.schedule import EQUAL, LOADS, cells, contests, keep, show, show_ladder, tallies

KEYS = {
    "miss_to_clockwork_conv_0_9",
    "vr_miss_pct_conv_0_9",
    "miss_to_clockwork_code_0_9",
    "worst_class_to_clockwork_code_0_9",
    "goodput_1_3_to_1_0",
}


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def invented(contest: Contest) -> Result:
    """The others miss every fifth frame of each class, ours as many percent as the load says."""
    missed = {name: {each.name: (20, 100) for each in CLASSES} for name, _, _ in OTHERS}
    ours = {each.name: (round(10 * contest.cell.load), 100) for each in CLASSES}
    return Result({**missed, OURS: ours}, 100.0 * contest.cell.load, 0.9)


def test_in_full_every_fleet_meets_both_traces_and_the_equal_one_every_load() -> None:
    planned = cells(quick=False)
    assert {(cell.trace, cell.fleet) for cell in planned} == {
        (t, f) for t in TRACES for f in FLEETS
    }
    for trace in TRACES:
        assert {cell.load for cell in planned if cell[:2] == (trace, EQUAL)} == set(LOADS)
    assert {0.5, 0.9, 1.0, 1.3} <= set(LOADS)
    assert len(planned) == len(set(planned))


@pytest.mark.parametrize("quick", [True, False])
def test_both_ways_all_figures_can_be_kept(quick: bool, pool: Executor) -> None:
    planned = contests(cells(quick), [1, 2], quick)
    report = Report("schedule")
    keep(report, dict(tallies(pool, invented, planned)))
    assert report.figures.keys() >= KEYS
    assert report.figures["miss_to_clockwork_conv_0_9"] == pytest.approx(9 / 20)
    assert report.figures["goodput_1_3_to_1_0"] == pytest.approx(1.3)


def test_every_seed_of_a_cell_is_in_its_tally_and_no_other(pool: Executor) -> None:
    planned = contests(cells(quick=True), [1, 2, 3], quick=True)
    found = dict(tallies(pool, invented, planned))
    assert list(found) == cells(quick=True)
    assert all(len(tally.results) == 3 for tally in found.values())
    assert found[Cell("conv", EQUAL, 1.3)].pct(OURS) == pytest.approx(13.0)


def test_tables_name_every_policy_and_class(
    pool: Executor, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = Report("schedule")
    found = dict(tallies(pool, invented, contests(cells(quick=True), [1], quick=True)))
    show(report, *next(iter(found.items())))
    show_ladder(report, found.items())
    report.finish(Namespace(json=tmp_path / "out.json", quick=True))
    said = capsys.readouterr().out
    assert all(name in said for name, _, _ in OTHERS)
    assert all(each.name in said for each in CLASSES)
    assert "mean quality" in said
