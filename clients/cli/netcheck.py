"""`framemesh netcheck`: how the node that runs here is seen, and by which way it reaches others."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

import msgspec

from clients.cli.options import add_state, home_of
from mesh.control import ask_to_check
from mesh.netcheck import SAYS, NetReport

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("netcheck", help="NAT, reachability, and the way to each peer")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_state(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask once and print."""
    report = asyncio.run(ask_to_check(home_of(arguments).path))
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        print("\n".join(summary(report)))
    return 0


def summary(report: NetReport) -> list[str]:
    """A few lines for people."""
    reachable = {None: "not known", True: "yes", False: "no"}[report.reachable]
    lines = [
        f"node {report.node}, links on port {report.port}",
        f"NAT: {report.mapping} ({SAYS[report.mapping]})",
        f"seen at: {', '.join(report.seen_at) or 'nowhere'}",
        f"others can connect here: {reachable}",
        f"{len(report.peers)} peers are linked",
    ]
    lines += [
        f"  {peer.name} ({', '.join(peer.roles)}) {peer.path} at {peer.address},"
        f" {peer.rtt_ms:.1f} ms"
        for peer in report.peers
    ]
    return lines
