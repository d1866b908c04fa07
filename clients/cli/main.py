"""`framemesh`: parse, dispatch, and turn every MeshError into one clear line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version

from clients.cli import (
    demo,
    devices,
    drain,
    identity,
    infer,
    invite,
    netcheck,
    node,
    peers,
    realm,
    simulate,
    status,
    view,
)
from mesh.core.errors import MeshError

COMMANDS = (
    demo,
    view,
    infer,
    status,
    peers,
    node,
    drain,
    devices,
    simulate,
    identity,
    realm,
    invite,
    netcheck,
)

PLUGINS = "framemesh.commands"  # entry points that add commands: a wing's, or anybody's


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit status (2: a problem the user can mend)."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except MeshError as problem:
        print(f"framemesh: {problem.what}: {problem.why}.\n  {problem.fix}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="framemesh", description="A mesh of nearby GPUs for frames with deadlines."
    )
    parser.add_argument("--version", action="version", version=f"framemesh {version('framemesh')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    for entry in entry_points(group=PLUGINS):
        try:
            entry.load()(commands)
        except ImportError as problem:
            print(f"framemesh: no command {entry.name}: {problem}", file=sys.stderr)
    return parser
