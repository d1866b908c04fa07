"""`framemesh dht-bootstrap`: a node of the hash table and no more, for others to begin with."""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import TYPE_CHECKING

from discovery.dht.child import Child, News
from discovery.dht.finder import create

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def register(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dht-bootstrap", help="run a node of a hash table for nodes of any realm to begin with"
    )
    parser.add_argument(
        "--listen", default="0.0.0.0:6881", metavar="IP:PORT", help="UDP (default: %(default)s)"
    )
    parser.add_argument(
        "--peer", action="append", default=[], metavar="HOST:PORT", help="another one; repeatable"
    )
    parser.add_argument(
        "--lab", action="store_true", help="believe more than one node of a network block"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted. It holds no key and knows of no realm."""
    settings = {"listen": arguments.listen, "bootstrap": arguments.peer}
    create(settings)  # says what is wrong with them
    asyncio.run(_serve(settings | {"restricted": not arguments.lab}))
    return 0


async def _serve(settings: dict[str, object]) -> None:
    loop = asyncio.get_running_loop()

    def started() -> None:
        child.ask(join=True)
        print(f"up: bootstrap node on {settings['listen']} (UDP)", flush=True)

    def heard(news: News) -> None:
        """Nothing is asked, so that nothing but failures comes: `Child` logs them."""

    child = Child(settings, started=started, heard=heard)
    keeping = asyncio.ensure_future(child.keep())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, keeping.cancel)
    try:
        await keeping
    except asyncio.CancelledError:
        return
