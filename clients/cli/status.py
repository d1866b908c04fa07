"""`framemesh status`: what a gateway says of itself."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Any

from clients.sdk.address import read_address
from clients.sdk.http import open_http

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("status", help="show a gateway's workers, sessions and loop lag")
    parser.add_argument("url", metavar="URL", help="as `framemesh demo` prints it, with the token")
    parser.add_argument("--json", action="store_true", help="all of it, for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask once and print."""
    status = asyncio.run(ask(arguments.url))
    if arguments.json:
        print(json.dumps(status, indent=2))
    else:
        print("\n".join(summary(status)))
    return 0


async def ask(url: str) -> dict[str, Any]:
    """The gateway's status. Raises what connecting and asking raise."""
    async with open_http(read_address(url)) as gateway:
        return await gateway.status()


def summary(status: dict[str, Any]) -> list[str]:
    """A few lines for people."""
    workers, sessions = status["workers"], status["sessions"]
    lines = [f"gateway {status['node']}, links on port {status['link_port']}"]
    lines.append(f"{len(workers)} workers")
    for worker in workers:
        devices = ", ".join(device["device"] for device in worker["devices"])
        lines.append(f"  {worker['name']}: {devices or 'no devices'}")
    lines.append(f"{len(sessions)} sessions")
    for session in sessions:
        pieces = session["pieces"]
        lines.append(
            f"  {session['session']}: {session['workload']} for {session['subject']},"
            f" {session['frames']} frames, {session['frames_filled']} with holes filled,"
            f" pieces: {pieces['sent']} sent, {pieces['filled']} filled,"
            f" {pieces['refused']} refused, {pieces['hedged']} hedged"
        )
        lines += [f"    {maker}: {made} pieces" for maker, made in session["pieces_by"].items()]
        lines += [
            f"    {device} cannot serve it: {why}" for device, why in session["failed"].items()
        ]
    return lines
