"""Making links: dialling a peer, and listening for peers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Network, ip_address

from mesh.core.errors import ConfigError, LinkLost, MeshError, PeerRefused
from mesh.core.workload import NodeId
from mesh.link.handshake import Credentials, refused_here
from mesh.link.liveness import LinkTiming
from mesh.link.racing import connect, connect_first, share_port
from mesh.link.transport import HelloDevices, Link, LinkHandler, LinkProtocol

log = logging.getLogger(__name__)

_TIMING = LinkTiming()
_BACKLOG = 128
# Connections that have not proved a membership yet. Each holds a TLS state and a few kilobytes,
# for at most the handshake's time; past these bounds a new one is hung up on.
_MAX_UNPROVED, _MAX_UNPROVED_PER_ORIGIN = 128, 32
_ADOPTED = "adopted"  # the origin of connections that were not accepted here
_ACCEPT_PAUSE_S = 0.1  # when the process is out of descriptors


async def dial(
    host: str,
    port: int,
    credentials: Credentials,
    handler: LinkHandler,
    hello_devices: HelloDevices,
    *,
    expect: NodeId | None = None,
    timing: LinkTiming = _TIMING,
) -> Link:
    """An open link to the node at host:port; `handler.opened` was called for it.

    expect: the only node wanted there.
    Raises PeerRefused (by the peer, or by this node judging the peer; `why` has the reason) or
    LinkLost (nobody answers, not a framemesh node, or no agreement in time).
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with asyncio.timeout(timing.handshake_us / 1e6):
            connection = await connect(where)
    except TimeoutError as problem:
        raise unreachable(where, _too_long(timing)) from problem
    except OSError as problem:
        raise unreachable(where, _reason(problem)) from problem
    return await dial_over(
        connection, where, credentials, handler, hello_devices, expect=expect, timing=timing
    )


async def dial_over(
    connection: socket.socket,
    where: str,
    credentials: Credentials,
    handler: LinkHandler,
    hello_devices: HelloDevices,
    *,
    expect: NodeId | None = None,
    timing: LinkTiming = _TIMING,
) -> Link:
    """See `dial`: over a connection that is made already, to `where`; it is closed on failure."""
    link = Link(credentials, handler, hello_devices, timing, expect, dialled=True)
    dialled = False
    try:
        async with asyncio.timeout(timing.handshake_us / 1e6):
            await asyncio.get_running_loop().create_connection(
                lambda: LinkProtocol(link),
                sock=connection,
                ssl=credentials.tls.client,
                server_hostname="",  # keys are compared, not names
                ssl_shutdown_timeout=timing.linger_us / 1e6,
            )
            await link.ready
        dialled = True
    except TimeoutError as problem:
        raise unreachable(where, _too_long(timing)) from problem
    except OSError as problem:
        raise unreachable(where, _reason(problem)) from problem
    except (PeerRefused, LinkLost):
        raise
    except MeshError as problem:
        raise refused_here(where, problem) from problem
    finally:
        if not dialled:
            connection.close()
            link.end(None, tell=False)
    return link


async def dial_any(
    addresses: Sequence[str],
    credentials: Credentials,
    handler: LinkHandler,
    hello_devices: HelloDevices,
    *,
    expect: NodeId | None = None,
    timing: LinkTiming = _TIMING,
    local_port: int = 0,
    connect_s: float | None = None,
) -> Link:
    """See `dial`: at whichever of several "host:port" the node answers first.

    local_port: to connect from, see `connect_first`. connect_s: to connect in, if not all the time.
    """
    left = list(addresses)
    problem: MeshError = unreachable("any address", "none is known")
    while left:
        try:
            async with asyncio.timeout(connect_s or timing.handshake_us / 1e6):
                connection, where = await connect_first(left, local_port=local_port)
        except TimeoutError:
            raise unreachable(", ".join(left), _too_long(timing)) from None
        except OSError as failed:
            raise unreachable(", ".join(left), _reason(failed)) from failed
        try:
            return await dial_over(
                connection, where, credentials, handler, hello_devices, expect=expect, timing=timing
            )
        except (PeerRefused, LinkLost) as failed:
            problem = failed
            left.remove(where)
    raise problem


def log_refusal(address: str, why: MeshError) -> None:
    """The default for `listen`'s `refused`."""
    log.warning("refused %s: %s", address, why)


class Listener:
    """Accepts links on one address until the context that made it ends."""

    def __init__(
        self,
        accepting: socket.socket,
        make_link: Callable[[], Link],
        credentials: Credentials,
        timing: LinkTiming,
        refused: Callable[[str, MeshError], None],
    ) -> None:
        self.port: int = accepting.getsockname()[1]
        self._socket = accepting
        self._make_link = make_link
        self._credentials = credentials
        self._timing = timing
        self._refused = refused
        self._links: set[Link] = set()
        self._unproved: Counter[str] = Counter()  # by origin
        self._admissions = asyncio.TaskGroup()

    async def accept_forever(self) -> None:
        """Admit whoever connects, each in a task of its own, all ending with this one."""
        loop = asyncio.get_running_loop()
        async with self._admissions as admissions:
            while True:
                try:
                    connection, address = await loop.sock_accept(self._socket)
                except OSError as problem:  # out of descriptors, or it is gone again
                    log.warning("a connection could not be accepted: %s", problem)
                    await asyncio.sleep(_ACCEPT_PAUSE_S)
                    continue
                origin = _origin(address[0])
                if (
                    self._unproved.total() >= _MAX_UNPROVED
                    or self._unproved[origin] >= _MAX_UNPROVED_PER_ORIGIN
                ):
                    connection.close()
                    continue
                self._unproved[origin] += 1
                admissions.create_task(self._admit(connection, origin))

    def adopt(self, connection: socket.socket) -> None:
        """Take a connection that came another way for one that was accepted."""
        self._admissions.create_task(self._admit_adopted(connection))

    async def _admit_adopted(self, connection: socket.socket) -> None:
        self._unproved[_ADOPTED] += 1
        await self._admit(connection, _ADOPTED)

    async def close_links(self) -> None:
        """Close all that were accepted here."""
        await asyncio.gather(*(link.close() for link in self._links))

    async def _admit(self, connection: socket.socket, origin: str) -> None:
        """See one connection through TLS and hellos; an admitted link outlives this."""
        link = self._make_link()
        self._links.add(link)
        link.gone.add_done_callback(lambda _: self._links.discard(link))
        try:
            await self._shake_hands(connection, link)
        finally:
            self._unproved[origin] -= 1
            self._unproved += Counter()  # drops what is at zero
            if not link.is_open:
                link.end(None, tell=False)

    async def _shake_hands(self, connection: socket.socket, link: Link) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: LinkProtocol(link),
                connection,
                ssl=self._credentials.tls.server,
                ssl_handshake_timeout=self._timing.handshake_us / 1e6,
                ssl_shutdown_timeout=self._timing.linger_us / 1e6,
            )
            await link.ready
        except OSError as problem:
            connection.close()
            log.info("a connection was no framemesh link: %s", _reason(problem))
        except LinkLost as problem:
            log.info("%s", problem)
        except MeshError as problem:
            self._refused(link.address, problem)
            await asyncio.shield(link.gone)  # it holds its place until it has read why


@asynccontextmanager
async def listen(
    host: str,
    port: int,
    credentials: Credentials,
    handler: LinkHandler,
    hello_devices: HelloDevices,
    *,
    timing: LinkTiming = _TIMING,
    refused: Callable[[str, MeshError], None] = log_refusal,
) -> AsyncIterator[Listener]:
    """Accept links at host:port (0: any free one, see `Listener.port`) until the context ends.

    `handler` serves every link; `handler.opened` tells of new ones. Links accepted here are
    closed at the end. refused: told the address and the reason of whoever was turned away.
    Raises ConfigError if the address cannot be listened on.
    """

    def make_link() -> Link:
        return Link(credentials, handler, hello_devices, timing)

    with _listening_socket(host, port) as accepting:
        listener = Listener(accepting, make_link, credentials, timing, refused)
        try:
            async with asyncio.TaskGroup() as tasks:
                loop = tasks.create_task(listener.accept_forever())
                try:
                    yield listener
                finally:
                    loop.cancel()
                    await listener.close_links()
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None  # as it was raised, for whoever catches it


def _listening_socket(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        any_ip = address[0] == "::"
        accepting = socket.create_server(
            address, family=family, backlog=_BACKLOG, dualstack_ipv6=any_ip
        )
    except OSError as problem:
        raise ConfigError(
            what=f"cannot listen for links on {host}:{port}",
            why=_reason(problem),
            fix="Choose another host or port in the [link] table of the configuration.",
        ) from problem
    accepting.setblocking(False)
    share_port(accepting)
    return accepting


def _origin(host: str) -> str:
    """What one attacker surely has to itself: an IPv4 address, an IPv6 /64 (RFC 4291, 2.5.4)."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv4Address):
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(IPv6Network((address, 64), strict=False))


def unreachable(where: str, why: str) -> LinkLost:
    """No link can be had there."""
    return LinkLost(
        what=f"no link to {where}",
        why=why,
        fix="Check the address, that the node runs, and that no firewall is between.",
    )


def _too_long(timing: LinkTiming) -> str:
    return f"no answer within {timing.handshake_us // 1000} ms"


def _reason(problem: OSError) -> str:
    if problem.errno is not None and problem.errno > 0:
        return os.strerror(problem.errno)
    return problem.strerror or str(problem) or type(problem).__name__
