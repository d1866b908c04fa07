"""`framemesh drain`: have the node that runs here finish what it has, hand over, and end."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from clients.cli.options import add_state
from mesh.control import MAX_WITHIN_MS, Drained, ask_to_drain
from mesh.core.config import read_config
from mesh.core.errors import ConfigError

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "drain", help="have the node that runs here finish what it has, hand over, and end"
    )
    add_state(parser)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the node's: its state_dir is taken"
    )
    parser.add_argument(
        "--within",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds that it may take; then the node ends in any case (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait until the node ends; 1 if not all was finished in time."""
    if not 0 <= arguments.within <= MAX_WITHIN_MS / 1000:
        raise ConfigError(
            what="the node is not drained",
            why=f"--within {arguments.within:g} cannot be",
            fix=f"Give 0 to {MAX_WITHIN_MS // 1000} seconds.",
        )
    home = read_config(arguments.config).state if arguments.config else arguments.state
    return asyncio.run(_drain(home, arguments.within))


async def _drain(home: Path, within_s: float) -> int:
    finished = False
    async for news in ask_to_drain(home, within_s):
        if isinstance(news, Drained):
            finished = news.finished
            print("it ends: all was finished" if finished else "it ends, not all was finished")
        else:
            print(f"draining: {news.sessions} sessions, at most {within_s:g} s", flush=True)
    return 0 if finished else 1
