"""`framemesh peers`: the workers a gateway is linked with."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from clients.cli import status

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("peers", help="list a gateway's workers: id, name, devices")
    parser.add_argument("url", metavar="URL", help="as `framemesh demo` prints it, with the token")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line per worker; 1 when there is none."""
    workers = asyncio.run(status.ask(arguments.url))["workers"]
    for worker in workers:
        devices = "  ".join(
            f"{device['device']} ({', '.join(device['workloads'])})" for device in worker["devices"]
        )
        print(f"{worker['node']}  {worker['name']}  {devices or '-'}")
    return 0 if workers else 1
