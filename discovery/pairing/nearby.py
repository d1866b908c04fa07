"""Who shows a code, and who waits for one, on the local network (DNS-SD, RFC 6763)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from discovery.mdns import announced, in_order, local_addresses

SHOWS = "_framemesh-pair._tcp.local."  # its port takes guests; TXT channel=NN
WAITS = "_framemesh-join._udp.local."  # TXT name=..., id=...
_LOOKUP_MS = 3000
_KNOWN = 64  # names are free to invent

# An address, its port, and what it says of itself.
Seen = Callable[[list[str], int, dict[str, str]], None]


@asynccontextmanager
async def around(seeks: str, seen: Seen) -> AsyncIterator[Announcer]:
    """Look for instances of a service until the block ends; and announce one's own."""
    zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only)
    known: set[str] = set()
    try:
        async with asyncio.TaskGroup() as tasks:

            async def look_up(name: str) -> None:
                info = AsyncServiceInfo(seeks, name)
                if await info.async_request(zeroconf.zeroconf, _LOOKUP_MS):
                    local = [address for _, address in local_addresses()]
                    text = {_text(k): _text(v or b"") for k, v in info.properties.items()}
                    seen(in_order(info.parsed_addresses(), local), info.port or 0, text)

            def changed(
                zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
            ) -> None:
                if state_change is not ServiceStateChange.Removed and len(known) < _KNOWN:
                    if name not in known:
                        tasks.create_task(look_up(name))
                    known.add(name)

            browser = AsyncServiceBrowser(zeroconf.zeroconf, seeks, handlers=[changed])
            try:
                yield Announcer(zeroconf)
            finally:
                await browser.async_cancel()
    finally:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


class Announcer:
    """Says on the local network what this machine does."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self._zeroconf = zeroconf

    async def say(self, service: str, port: int, **text: str) -> None:
        """Announce an instance."""
        name = secrets.token_hex(8)
        info = AsyncServiceInfo(
            service,
            f"{name}.{service}",
            server=f"{name}.local.",
            port=port,
            parsed_addresses=announced([address for _, address in local_addresses()]),
            properties=text,
        )
        # Random names need no probing for uniqueness.
        await self._zeroconf.async_register_service(info, cooperating_responders=True)


def _text(raw: bytes) -> str:
    """What a stranger wrote, fit to be shown."""
    return "".join(c if c.isprintable() else "?" for c in raw[:64].decode("utf-8", "replace"))
