"""`framemesh node`: run one node until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Coroutine
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from mesh.core.config import NodeConfig, read_config
from mesh.node import open_node

if TYPE_CHECKING:
    from clients.cli.options import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("node", help="run a node: gateway, worker or both")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML; see configuration.md")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT, SIGTERM or `framemesh drain`."""
    config = read_config(arguments.config)
    logging.basicConfig(
        level=config.log_level.upper(),
        format=f"%(asctime)s {config.name} %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for chatty in ("aioice", "aiortc"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The loop must get the interpreter back quickly from any Python-heavy helper thread.
    sys.setswitchinterval(0.0005)
    uvloop.run(_serve(config))
    return 0


async def _serve(config: NodeConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    static = Path(str(files("clients") / "web"))
    async with open_node(config, static=static) as node:
        # A full collection of all that was imported would stop the loop for some 50 ms.
        gc.collect()
        gc.freeze()
        logging.getLogger(__name__).info("up: %s", node.summary())
        await _first(stop.wait(), node.left.wait())


async def _first(*waits: Coroutine[None, None, object]) -> None:
    """Until one of them ends."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
