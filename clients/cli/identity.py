"""`framemesh id`: who this node is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clients.cli.options import add_state, home_of

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("id", help="print this node's id (made on first use)")
    add_state(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the node id, and the realm it belongs to when it does."""
    home = home_of(arguments)
    print(home.identity().node_id)
    return 0
