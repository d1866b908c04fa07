"""`framemesh simulate`: what a mesh would carry, before it is bought."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mesh.core.errors import ConfigError
from mesh.sim.capacity import Capacity, Outcome, find_capacity, simulate
from mesh.sim.scenario import MAX_TEXT, Scenario, read_scenario

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "simulate", help="plan capacity: run a scenario of nodes and sessions in virtual time"
    )
    parser.add_argument("scenario", type=Path, metavar="FILE", help="TOML; see docs/simulate.md")
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default: %(default)s)")
    parser.add_argument(
        "--capacity", metavar="CLASS", help="find how many sessions of that class are carried"
    )
    parser.add_argument(
        "--missed",
        type=_percent,
        default=1.0,
        metavar="PERCENT",
        help="with --capacity: the most that any class may miss (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="all of it, for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Simulate and print; with --capacity, 1 when not even one session is carried."""
    scenario = read_scenario(_text(arguments.scenario))
    if arguments.capacity is None:
        outcome = simulate(scenario, arguments.seed)
        print(json.dumps(as_json(outcome), indent=2) if arguments.json else tables(outcome))
        return 0
    capacity = _search(scenario, arguments)
    if arguments.json:
        print(json.dumps(capacity_as_json(arguments.capacity, capacity), indent=2))
    else:
        print(answer(arguments.capacity, capacity, arguments.missed))
    return 0 if capacity.count else 1


def _search(scenario: Scenario, arguments: argparse.Namespace) -> Capacity:
    def tells(count: int, outcome: Outcome) -> None:
        worst = max(outcome.sessions, key=lambda result: result.missed_pct)
        print(
            f"{count} x {arguments.capacity}: {worst.name} misses {worst.missed_pct:.2f} %",
            file=sys.stderr,
        )

    return find_capacity(
        scenario,
        arguments.capacity,
        most_missed_pct=arguments.missed,
        seed=arguments.seed,
        tells=tells,
    )


def tables(outcome: Outcome) -> str:
    """The outcome for people."""
    sessions = [
        (
            result.name,
            str(result.sessions),
            str(result.due),
            str(result.on_time),
            str(result.missed),
            f"{result.missed_pct:.2f}",
            f"{result.p50_ms:.1f}",
            f"{result.p95_ms:.1f}",
            f"{result.p99_ms:.1f}",
        )
        for result in outcome.sessions
    ]
    nodes = [
        (result.name, str(result.devices), f"{result.busy_pct:.1f}", f"{result.busiest_pct:.1f}")
        for result in outcome.nodes
    ]
    header = "sessions", "count", "frames", "on time", "missed", "%", "p50 ms", "p95 ms", "p99 ms"
    return "\n".join(
        [
            *_table(header, sessions),
            "",
            *_table(("nodes", "devices", "busy %", "busiest %"), nodes),
            "",
            f"seed {outcome.seed}, trace {outcome.trace_hash[:16]}: the same seed, the same trace",
        ]
    )


def answer(name: str, capacity: Capacity, most_missed_pct: float) -> str:
    """What a search found, for people."""
    limit = f"with at most {most_missed_pct:g} % of any class's frames missed"
    if capacity.outcome is None:
        return f"These nodes carry no '{name}' {limit}."
    return f"These nodes carry {capacity.count} x '{name}' {limit}:\n\n{tables(capacity.outcome)}"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome for programs."""
    document: dict[str, Any] = msgspec.to_builtins(outcome)
    for row, result in zip(document["sessions"], outcome.sessions, strict=True):
        row["missed"], row["missed_pct"] = result.missed, result.missed_pct
    return document


def capacity_as_json(name: str, capacity: Capacity) -> dict[str, Any]:
    """What a search found, for programs."""
    return {
        "class": name,
        "capacity": capacity.count,
        "tried": [{"count": count, "carried": carried} for count, carried in capacity.tried],
        "outcome": as_json(capacity.outcome) if capacity.outcome is not None else None,
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines: the first column to the left, the others to the right."""
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_TEXT + 1)
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(
            what=f"cannot read {path}",
            why=getattr(problem, "strerror", None) or str(problem),
            fix="Give the path of a readable TOML file.",
        ) from problem


def _percent(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 100.0:
        raise argparse.ArgumentTypeError("a percentage lies between 0 and 100")
    return value
