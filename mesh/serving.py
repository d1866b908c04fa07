"""A node's gateway half and its HTTP, made and started.

Apart from `mesh.node` because of what it loads: WebRTC, NumPy and an HTTP server are half a second
and 50 MB that a node without this half does without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from mesh.clients import ClientDesk
from mesh.core.config import NodeConfig
from mesh.core.errors import ConfigError
from mesh.core.loop import LoopLag
from mesh.core.plugins import create_workload
from mesh.core.workload import Preloading, Workload
from mesh.gateway import Gateway
from mesh.http import create_app
from mesh.link.handshake import Credentials

log = logging.getLogger(__name__)


async def start_gateway(
    config: NodeConfig,
    credentials: Credentials,
    lag: LoopLag,
    spawn: Callable[..., asyncio.Task[None]],
    stack: AsyncExitStack,
) -> tuple[Gateway, ClientDesk]:
    """The gateway, until the stack unwinds, and its desk for linked clients. Raises ConfigError."""
    workloads = await _workloads(config)
    gateway = Gateway(config.gateway, credentials, workloads, lag, region=config.region)
    await stack.enter_async_context(gateway)
    return gateway, ClientDesk(gateway, spawn)


async def _workloads(config: NodeConfig) -> dict[str, Workload]:
    created = {name: create_workload(name, settings) for name, settings in config.workloads.items()}
    for workload in created.values():
        if isinstance(workload, Preloading):
            await asyncio.to_thread(workload.preload)
    return created


async def start_http(
    config: NodeConfig, gateway: Gateway, stack: AsyncExitStack, static: Path | None
) -> int:
    """Serve a gateway's HTTP until the stack unwinds; the port. Raises ConfigError."""
    told = config.gateway
    app = create_app(gateway, static, told.ice_servers, told.others)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, port = config.http.host, config.http.port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as problem:
        raise ConfigError(
            what=f"cannot serve HTTP on {host}:{port}",
            why=problem.strerror or str(problem),
            fix="Choose another host or port in the [http] table of the configuration.",
        ) from problem
    bound: int = runner.addresses[0][1]
    log.info("http on %s port %d", host, bound)
    return bound
