"""`framemesh.offload`: an answer for every cycle, from whichever gateway or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from clients.sdk.address import Option, read_address
from clients.sdk.connect import connect
from clients.sdk.session import Session
from mesh.core.errors import Misuse
from mesh.core.offload import Door, Offloading, Options
from mesh.core.plugins import create_workload


@asynccontextmanager
async def offload(
    urls: Sequence[str], workload: str = "infer", *, token: str = "", **options: Option | bool
) -> AsyncIterator[Any]:
    """What answers every cycle by its deadline, with the gateways at `urls` or without them.

    urls: of gateways of one realm, as for `connect`; those to be tried first first. workload: an
        installed one that is Offloading. token: for addresses that hold none. options: the
        workload's; for "infer" those of infer.offload.vehicle.VehicleOptions and of its sessions.
    Yields what the workload makes of it: for "infer" an `infer.offload.vehicle.Vehicle`, whose
    `cycle` answers a sweep.

    Raises ConfigError (an address), Misuse (the options, or no gateway), what every gateway refuses
    for good (NotAuthorized, SessionRefused); whatever may mend by itself is no error.
    """
    plugin = create_workload(workload, {})
    if not isinstance(plugin, Offloading):
        raise Misuse(
            what=f"'{workload}' cannot be offloaded",
            why="its plug-in does not say how (mesh.core.offload.Offloading)",
            fix="Feed a session of it with `framemesh.connect`.",
        )
    doors = {read_address(url, token).base: _door(url, workload, token) for url in urls}
    async with plugin.offload(doors, options) as vehicle:
        yield vehicle


def _door(url: str, workload: str, token: str) -> Door:
    def open_session(options: Options) -> AbstractAsyncContextManager[Session]:
        return connect(url, workload, results="link", token=token, **options)

    return open_session
