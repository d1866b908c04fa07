"""Finding nodes on the local network by multicast DNS (RFC 6762) and DNS-SD (RFC 6763).

Each node is one instance of ``_framemesh._tcp.local.``, named by its node id: a key's hash needs no
probing for uniqueness, so it is announced at once (0.06 s from start to being resolved, against
1.1 s with probing). The signed advert is cut over TXT strings; verification is the peer book's.
Crashes are not noticed here (record lifetimes exceed 18 minutes) but by the links' own liveness.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from itertools import islice
from typing import Annotated, Literal, TypeAlias

import ifaddr
import msgspec
from msgspec import Meta
from zeroconf import DNSQuestionType, InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mesh.core.errors import ConfigError
from mesh.core.workload import FinderSession, Settings
from mesh.peers.advert import claimed_node

log = logging.getLogger(__name__)

SERVICE = "_framemesh._tcp.local."

_CHUNK = 252  # a TXT string holds 255 bytes, of which "a0=" takes three
_CHUNKS = 2
_ADDRESSES = 16  # announced, and believed of one record
_LOOKUPS = 64  # under way at once: names are free to invent
_LOOKUP_MS = 3000
# Ask for answers by multicast: a unicast one reaches only one of the processes that share port 5353
# on a machine, and mostly the wrong one (a node started second was blind for 1.1 s).
_QUESTION = DNSQuestionType.QM

Found: TypeAlias = Callable[[bytes, Sequence[str]], None]
LocalAddress: TypeAlias = IPv4Interface | IPv6Interface


class MdnsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[discovery.mdns]."""

    # Names ("eth0") or addresses of the interfaces to use; empty: all, loopback included.
    interfaces: Annotated[tuple[str, ...], Meta(max_length=32)] = ()
    ip: Literal["v4", "v6", "both"] = "v4"  # links listen on IPv4 unless configured otherwise
    # How often to look for interfaces and addresses that came or went.
    rescan_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 10_000


def create(settings: Settings) -> MdnsFinder:
    """The finder for a [discovery.mdns] table. Raises ConfigError."""
    try:
        return MdnsFinder(msgspec.convert(dict(settings), MdnsSettings))
    except msgspec.ValidationError as problem:
        raise ConfigError(
            what="[discovery.mdns] cannot be used",
            why=str(problem),
            fix="docs/configuration.md lists every key with its type and default.",
        ) from problem


class MdnsFinder:
    """See `mesh.core.workload.Finder`."""

    name = "mdns"

    def __init__(self, settings: MdnsSettings) -> None:
        self._settings = settings

    def open(
        self, advert: bytes, port: int, found: Found
    ) -> AbstractAsyncContextManager[FinderSession]:
        """Announce and look until the block ends; then say goodbye.

        Raises ConfigError when no interface can be used.
        """
        return _open(self._settings, advert, port, found)


@asynccontextmanager
async def _open(
    settings: MdnsSettings, advert: bytes, port: int, found: Found
) -> AsyncIterator[FinderSession]:
    local = _chosen(local_addresses(), settings)
    try:
        zeroconf = AsyncZeroconf(
            interfaces=_zeroconf_choice(settings, local), ip_version=_IP[settings.ip]
        )
    except (OSError, RuntimeError) as problem:
        raise _unusable(str(problem)) from problem
    try:
        async with asyncio.TaskGroup() as tasks:
            session = _Session(settings, zeroconf, tasks, found, local)
            try:
                await session.start(advert, port)
                yield session
            finally:
                await session.stop()
    finally:
        await zeroconf.async_close()


class _Session:
    """A running finder."""

    def __init__(
        self,
        settings: MdnsSettings,
        zeroconf: AsyncZeroconf,
        tasks: asyncio.TaskGroup,
        found: Found,
        local: Sequence[LocalAddress],
    ) -> None:
        self._settings = settings
        self._zeroconf = zeroconf
        self._tasks = tasks
        self._found = found
        self._local = local
        self._advert = b""
        self._port = 0
        self._browser: AsyncServiceBrowser | None = None
        self._lookups: dict[str, asyncio.Task[None]] = {}
        self._announcing: asyncio.Future[None] | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self, advert: bytes, port: int) -> None:
        """Put the advert on the network and look for others."""
        self._advert, self._port = advert, port
        announcing = await self._zeroconf.async_register_service(
            self._info(), cooperating_responders=True
        )
        self._announcing = asyncio.ensure_future(announcing)
        self._browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf,
            SERVICE,
            handlers=[self._changed],
            question_type=_QUESTION,
        )
        self._following = self._tasks.create_task(self._follow_interfaces())

    async def stop(self) -> None:
        """End the tasks and say goodbye (RFC 6762, section 10.1)."""
        if self._browser is not None:
            await self._browser.async_cancel()
        for task in (self._announcing, self._following, *self._lookups.values()):
            if task is not None:
                task.cancel()
        await self._zeroconf.async_unregister_all_services()

    async def update(self, advert: bytes) -> None:
        """See `mesh.core.workload.FinderSession`."""
        self._advert = advert
        if self._announcing is not None:
            self._announcing.cancel()  # the one before may still be being repeated
        announcing = await self._zeroconf.async_update_service(self._info())
        self._announcing = asyncio.ensure_future(announcing)

    async def _follow_interfaces(self) -> None:
        """Move with the machine's interfaces and addresses, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.rescan_ms / 1000)
            local = _chosen(await asyncio.to_thread(local_addresses), self._settings)
            if not local or set(local) == set(self._local):
                continue
            log.info("local addresses are now %s", ", ".join(str(a.ip) for a in local))
            self._local = local
            # The record first: new interfaces are greeted with the record as it then stands.
            await self.update(self._advert)
            await self._zeroconf.async_update_interfaces(_zeroconf_choice(self._settings, local))

    def _info(self) -> AsyncServiceInfo:
        node = claimed_node(self._advert)
        return AsyncServiceInfo(
            SERVICE,
            f"{node}.{SERVICE}",
            server=f"{node}.local.",
            port=self._port,
            parsed_addresses=announced(self._local),
            properties=to_txt(self._advert),
        )

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Called by zeroconf, by keyword, whenever a record of an instance came or changed."""
        if state_change is ServiceStateChange.Removed:
            return  # a goodbye is not signed; the link knows whether the node is there
        info = AsyncServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf):
            self._report(info)
        elif name not in self._lookups and len(self._lookups) < _LOOKUPS:
            self._lookups[name] = self._tasks.create_task(self._look_up(info, zeroconf))

    async def _look_up(self, info: AsyncServiceInfo, zeroconf: Zeroconf) -> None:
        name = info.name
        try:
            if await info.async_request(zeroconf, _LOOKUP_MS, _QUESTION):
                self._report(info)
        finally:
            del self._lookups[name]

    def _report(self, info: AsyncServiceInfo) -> None:
        addresses = in_order(islice(info.parsed_scoped_addresses(), _ADDRESSES), self._local)
        self._found(
            from_txt(info.properties),
            [f"[{a}]:{info.port}" if ":" in a else f"{a}:{info.port}" for a in addresses],
        )


# --- records ----------------------------------------------------------------------------------


def to_txt(advert: bytes) -> dict[str, bytes]:
    """The advert cut over TXT strings "a0=...", "a1=..."; values are bytes (RFC 6763, 6.4)."""
    return {f"a{i}": advert[i * _CHUNK : (i + 1) * _CHUNK] for i in range(_CHUNKS)}


def from_txt(properties: dict[bytes, bytes | None]) -> bytes:
    """The advert in a record's TXT strings; whatever is there, at most 504 bytes of it."""
    return b"".join(properties.get(f"a{i}".encode()) or b"" for i in range(_CHUNKS))[
        : _CHUNK * _CHUNKS
    ]


# --- addresses --------------------------------------------------------------------------------

_IP = {"v4": IPVersion.V4Only, "v6": IPVersion.V6Only, "both": IPVersion.All}


def local_addresses() -> list[tuple[str, LocalAddress]]:
    """This machine's (interface name, address with its network)."""
    found = []
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            ip = address.ip if isinstance(address.ip, str) else address.ip[0]
            found.append((adapter.name, ip_interface(f"{ip}/{address.network_prefix}")))
    return found


def announced(local: Sequence[LocalAddress]) -> list[str]:
    """Addresses for the record: those that others can use, or loopback where there is nothing else.

    On one machine a node is reached under its network address as well as under loopback.
    """
    usable = [a for a in local if not (a.ip.is_loopback or a.ip.is_link_local)]
    link_local = [a for a in local if a.ip.is_link_local]
    return [str(a.ip) for a in usable or link_local or local][:_ADDRESSES]


def in_order(addresses: Iterable[str], local: Sequence[LocalAddress]) -> list[str]:
    """Addresses as they should be tried: those on a network of ours first."""

    def is_far(address: str) -> bool:
        ip = ip_address(address)
        return not any(ip in mine.network for mine in local if mine.version == ip.version)

    return sorted(addresses, key=is_far)


def _chosen(
    found: Iterable[tuple[str, LocalAddress]], settings: MdnsSettings
) -> tuple[LocalAddress, ...]:
    versions = {"v4": (4,), "v6": (6,), "both": (4, 6)}[settings.ip]
    wanted = settings.interfaces
    return tuple(
        address
        for name, address in found
        if address.version in versions
        and (not wanted or name in wanted or str(address.ip) in wanted)
    )


def _zeroconf_choice(
    settings: MdnsSettings, local: Sequence[LocalAddress]
) -> InterfaceChoice | list[str]:
    if not settings.interfaces:
        return InterfaceChoice.All
    if not local:
        raise _unusable(f"none of {', '.join(settings.interfaces)} has an address of this kind")
    return [str(address.ip) for address in local]


def _unusable(why: str) -> ConfigError:
    return ConfigError(
        what="nodes cannot be found by mDNS",
        why=why,
        fix="Correct [discovery.mdns], or remove it and name peers in [link] peers.",
    )
