"""`framemesh.connect`: from a gateway's address to an open session."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from clients.sdk.address import Option, read_address
from clients.sdk.fed import open_fed
from clients.sdk.http import GatewayHttp, open_http
from clients.sdk.session import Road, Session
from mesh.core.errors import WrongRoad
from mesh.core.token import Scope, read_token


@asynccontextmanager
async def connect(
    url: str,
    workload: str | None = None,
    *,
    results: Road | None = None,
    token: str = "",
    **options: Option | bool,
) -> AsyncIterator[Session]:
    """An open session at the gateway whose page is at `url`; it ends with the block.

    url: as `framemesh demo` prints it, http://HOST:PORT/?option=value#token=TOKEN.
    workload: what to ask for; the address's own, else "render". An address's options are for its
        own workload: another gets none of them. Without one, an address with ?session=ID joins
        that running session and looks on: it can be neither steered nor fed, and goes on after.
    results: how results of inputs come back: over the "link" that carries the inputs (each one,
        in order, of any size), or over an unordered "webrtc" data channel (the newest soonest;
        lost ones stay lost, and those over 1 MiB are not sent).
    token: if the address holds none. options: the session's, over those in the address.

    Raises ConfigError (the address), NotAuthorized (the token), SessionRefused or ContentRefused
    (the gateway's answer), LinkLost (no gateway there).
    """
    address = read_address(url, token)
    opened_by = read_token(address.token, int(time.time()))
    addressed = address.workload or "render"
    name = workload or addressed
    asked = {**address.options} if name == addressed else {}
    asked.update({n: _option(v) for n, v in options.items()})
    async with open_http(address) as gateway, AsyncExitStack() as stack:
        if address.session and workload is None:
            yield await stack.enter_async_context(_joined(gateway, address.session))
            return

        def fed() -> AbstractAsyncContextManager[Session]:
            return open_fed(gateway, opened_by, name, asked, results or "link")

        def watched() -> AbstractAsyncContextManager[Session]:
            return _watched(gateway, name, asked)

        # Which of the two it is the gateway knows; a token that can only watch is no way to feed.
        may_feed = Scope.INFER in opened_by.scopes or Scope.CONTROL not in opened_by.scopes
        likely, other = (fed, watched) if results or may_feed else (watched, fed)
        try:
            session = await stack.enter_async_context(likely())
        except WrongRoad:
            session = await stack.enter_async_context(other())
        yield session


def _watched(
    gateway: GatewayHttp, workload: str, options: Mapping[str, Option]
) -> AbstractAsyncContextManager[Session]:
    from clients.sdk.watched import open_watched  # noqa: PLC0415  aiortc and codecs: if needed

    return open_watched(gateway, workload, options)


def _joined(gateway: GatewayHttp, session_id: str) -> AbstractAsyncContextManager[Session]:
    from clients.sdk.watched import open_joined  # noqa: PLC0415  aiortc and codecs: if needed

    return open_joined(gateway, session_id)


def _option(value: Option | bool) -> Option:
    return int(value) if isinstance(value, bool) else value
