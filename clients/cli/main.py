"""`framemesh`: parse, dispatch, and turn every MeshError into one clear line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version

from mesh.core.errors import MeshError

# Each with its module, which is loaded when the command is meant: a node that starts should not
# wait for what draws pictures of simulations.
COMMANDS = {
    "demo": "demo",
    "view": "view",
    "infer": "infer",
    "status": "status",
    "peers": "peers",
    "node": "node",
    "drain": "drain",
    "devices": "devices",
    "simulate": "simulate",
    "id": "identity",
    "realm": "realm",
    "invite": "invite",
    "netcheck": "netcheck",
}

PLUGINS = "framemesh.commands"  # entry points that add commands: a wing's, or anybody's


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit status (2: a problem the user can mend)."""
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser(words[0] if words else "").parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except MeshError as problem:
        print(f"framemesh: {problem.what}: {problem.why}.\n  {problem.fix}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def parser(meant: str = "") -> argparse.ArgumentParser:
    """The command line's grammar: of the command that is meant alone, or of all of them."""
    grammar = argparse.ArgumentParser(
        prog="framemesh", description="A mesh of nearby GPUs for frames with deadlines."
    )
    grammar.add_argument("--version", action="version", version=f"framemesh {version('framemesh')}")
    commands = grammar.add_subparsers(required=True, metavar="COMMAND")
    for name in (meant,) if meant in COMMANDS else COMMANDS:
        importlib.import_module(f"clients.cli.{COMMANDS[name]}").register(commands)
    for entry in () if meant in COMMANDS else entry_points(group=PLUGINS):
        try:
            entry.load()(commands)
        except ImportError as problem:
            print(f"framemesh: no command {entry.name}: {problem}", file=sys.stderr)
    return grammar
