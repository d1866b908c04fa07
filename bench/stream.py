"""How long a frame takes from made to shown in a browser, and what networks do to that.

The viewer is a headless Chromium that shows the pictures by the product's own page modules. Timed:
from the instant that a 720p60 picture is complete in the sender's process until the page has drawn
it on its canvas (or until requestVideoFrameCallback reports it, on the <video> path), told by the
number in its pixels; both on CLOCK_MONOTONIC, the page's clock aligned to within `clock_error_ms`.
Peers send the same pictures to the same page. Scenarios take turns, run by run; a figure is the
median of its runs, NAME_worst the worst. The first seconds of each run are thrown away, and the
browser's first stream of all.

A picture that was never sent, or that comes out of order, fails the benchmark; so does a scenario
that does not come about, unless it needs what this machine may lack.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from bench.report import Report, arguments
from bench.streaming.browser import open_browser
from bench.streaming.scenarios import SCENARIOS, SECONDS, SEED, Scenario, Stage, warm_up
from mesh.core.errors import MeshError

RUNS = 3
QUICK_SECONDS = 8.0
MORE_IS_BETTER: Final = (
    "fps",
    "utilisation",
    "saved",
    "least_of_fair",
    "used_pct",
    "gain_db",
    "datagrams_per_s",
)


@dataclass(slots=True)
class Outcome:
    """A scenario's runs. failed: why the last one that failed did."""

    runs: list[dict[str, float]] = field(default_factory=list)
    failed: str = ""


async def measure(wanted: list[Scenario], runs: int, seconds: float) -> dict[str, Outcome]:
    """Every scenario once, then again."""
    outcomes = {scenario.name: Outcome() for scenario in wanted}
    async with open_browser() as browser:
        await warm_up(browser)
        for run in range(runs):
            for scenario in wanted:
                if run and scenario.once:
                    continue
                outcome = outcomes[scenario.name]
                try:
                    outcome.runs.append(await scenario.run(Stage(browser, seconds, run)))
                except MeshError as problem:
                    outcome.failed = str(problem)
                print(f"{scenario.name} {run + 1}/{runs} {outcome.failed}", file=sys.stderr)
    return outcomes


def rows(scenario: Scenario, outcome: Outcome) -> list[tuple[str, float, float]]:
    """One line for each figure: its name, median and worst."""
    return [
        (
            name,
            statistics.median(run[name] for run in outcome.runs),
            worst(name, [run[name] for run in outcome.runs]),
        )
        for name in scenario.figures
    ]


def worst(name: str, values: list[float]) -> float:
    return min(values) if any(part in name for part in MORE_IS_BETTER) else max(values)


def keep(report: Report, scenario: Scenario, outcome: Outcome) -> None:
    """A scenario's table and figures; null, with the reason, if it never ran."""
    if not outcome.runs:
        for name in scenario.figures:
            report.missing(name, outcome.failed)
        print(f"\n{scenario.name}: {outcome.failed}")
        return
    found = rows(scenario, outcome)
    report.table([scenario.name, "median", "worst"], found)
    for figure, median, bad in found:
        report.figure(figure, median)
        report.figure(f"{figure}_worst", bad)


def asked() -> Any:
    parser = argparse.ArgumentParser()
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=str(names))
    return arguments(__doc__, parser=parser)


def main() -> int:
    options = asked()
    runs, seconds = (1, QUICK_SECONDS) if options.quick else (RUNS, SECONDS)
    wanted = [s for s in SCENARIOS if not options.only or s.name in options.only]
    outcomes = asyncio.run(measure(wanted, runs, seconds))
    report = Report(
        "stream",
        config={"runs": runs, "seconds": seconds, "scenarios": [s.name for s in wanted]},
        seeds=[SEED + run for run in range(runs)],
    )
    for scenario in wanted:
        keep(report, scenario, outcomes[scenario.name])
    report.finish(options)
    failed = [s.name for s in wanted if outcomes[s.name].failed and not s.optional]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
