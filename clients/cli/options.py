"""Options several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mesh.core.config import default_state_dir
from mesh.core.home import NodeHome

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def add_state(parser: argparse.ArgumentParser) -> None:
    """`--state DIR`."""
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        default=default_state_dir(),
        help="where keys and memberships live (default: %(default)s)",
    )


def home_of(arguments: argparse.Namespace) -> NodeHome:
    """The state directory the command works on."""
    return NodeHome(arguments.state)
