"""One node: its devices, links, finders and the halves it plays, started and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import ifaddr
from msgspec.structs import replace as replace_struct

from mesh.channel import Channel, LinkChannel, LocalChannel
from mesh.company import Company, link_timing
from mesh.control import serve_control
from mesh.core.config import NodeConfig, default_cache_dir
from mesh.core.errors import (
    DeviceUnavailable,
    IdentityError,
    MeshError,
    ProtocolViolation,
)
from mesh.core.home import NodeHome
from mesh.core.loop import LoopLag
from mesh.core.membership import Membership, Role, claimed_realm
from mesh.core.plugins import create_finder
from mesh.core.token import token_of
from mesh.core.wire import (
    AssetWanted,
    ClientClose,
    ClientInput,
    ClientOpen,
    ClientSteer,
    DeviceOffer,
    DevicesChanged,
    Message,
    Observed,
    PeersSeen,
    PieceDone,
    PieceRefused,
    ReachAsk,
    ReachTold,
    RealmNews,
    RelayAsk,
    RelayCall,
    RelayReady,
    RelayRefused,
    Renewed,
    SessionFailed,
    SessionReady,
)
from mesh.core.workload import (
    PROGRAM_API,
    DeviceInfo,
    FinderSession,
    NodeId,
    SharesSecret,
)
from mesh.device.probe import probe
from mesh.device.supervisor import Device, DeviceLimits, open_device
from mesh.link.endpoint import listen
from mesh.link.handshake import Credentials
from mesh.link.transport import Link
from mesh.netcheck import NetReport, check
from mesh.peers.advert import sign_advert
from mesh.reach import FromRelay
from mesh.realmdesk import NODES, RealmDesk, own_membership
from mesh.relay import Relay
from mesh.worker import Worker

if TYPE_CHECKING:
    from mesh.clients import ClientDesk
    from mesh.gateway import Gateway

log = logging.getLogger(__name__)

ADVERT_LIFETIME_S = 3600
WORD, SAID = re.compile(r"[a-z0-9-]{1,48}"), 96  # of workloads in an advert; their letters
MAX_DIAL_WAIT_S = 1.0
COMPANY_S = 10.0  # between tellings of others
CROSSING_US = 2_000_000  # within which two links of a pair were dialled from both ends at once
ON_THEIR_WAY_S = 0.1  # pieces that gateways sent before they heard that this node leaves
MISSING_REMEMBERED = 1024
# A device that is the CPU must not starve the loops that give it work: they need little, but soon.
SOFTWARE_NICE = 5

# What a worker says and only a gateway hears, and what a client says; all else is for workers.
FROM_WORKER = (PieceDone, PieceRefused, SessionReady, SessionFailed, AssetWanted, DevicesChanged)
FROM_CLIENT = (ClientOpen, ClientInput, ClientSteer, ClientClose)


# What members say to each other as members, whatever else they are.
FROM_RELAY = (RelayCall, RelayReady, RelayRefused, ReachTold)
AMONG_MEMBERS = (RealmNews, Renewed, Observed, PeersSeen, RelayAsk, ReachAsk, *FROM_RELAY)
AmongMembers: TypeAlias = (
    RealmNews | Renewed | Observed | PeersSeen | RelayAsk | ReachAsk | FromRelay
)


class Node:
    """Joins links to halves, and keeps the links the peer book asks for."""

    def __init__(
        self,
        config: NodeConfig,
        home: NodeHome,
        credentials: Credentials,
        member: Membership,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.config = config
        self.credentials = credentials
        self.realm = RealmDesk(
            home,
            credentials,
            member,
            links=self._open_links,
            changed=self._realm_changed,
            checked=self._enforce_rights,
        )
        self.worker: Worker | None = None
        self.gateway: Gateway | None = None
        self.clients: ClientDesk | None = None
        self.lag = LoopLag()
        self._readvertise = asyncio.Event()
        self.finders: list[FinderSession] = []
        self._channels: dict[NodeId, LinkChannel] = {}
        self.company = Company(
            config,
            home,
            credentials,
            tasks,
            handler=self,
            offers=self.offers,
            links=self._open_links,
            finders=lambda: self.finders,
            advert=self.advert,
        )
        self.relay: Relay | None = None
        self.port = 0  # of the links, once listening
        self.http_port = 0  # of the gateway's HTTP, once listening
        self.left = asyncio.Event()  # it was asked to leave, and whoever runs it should end it

    # --- LinkHandler -----------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """Both hellos were accepted. One link of a pair is kept, the same one at both ends."""
        channel = LinkChannel(link)
        before = self._channels.get(channel.node)
        if before is not None and self._crossed(before.link, link):
            link.end(None, tell=False, at_once=True)
            return
        self._channels[channel.node] = channel
        if before is not None:
            self._gone(before)
            before.link.end(None, tell=False, at_once=True)
        self.company.connected(channel.node)
        log.info("linked with %s (%s)", link.peer.membership.name, channel.node)
        member = link.peer.membership
        self.realm.welcome(link)
        if member.has(*NODES):
            self.company.welcome(link)
        if self.gateway is not None and member.has(Role.WORKER):
            offers = may_offer(member, link.peer.hello.devices)
            self.gateway.worker_found(channel, member.name, offers)
        if self.clients is not None and member.has(Role.CLIENT):
            self.clients.welcome(channel, link.peer.token or token_of(member))

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview | None:
        """See LinkHandler."""
        channel = self._channels.get(link.peer.node_id)
        if channel is None or channel.link is not link:
            return None
        return self._half(link, message).body_buffer(channel, message, size)

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        """See LinkHandler."""
        channel = self._channels.get(link.peer.node_id)
        if channel is None or channel.link is not link:
            return
        if isinstance(message, AMONG_MEMBERS):
            self._among_members(link, message)
            return
        if isinstance(message, DevicesChanged):
            offers = may_offer(link.peer.membership, message.devices)
            message = DevicesChanged(offers, message.leaving)
        self._half(link, message).received(channel, message, body)

    def closed(self, link: Link, why: MeshError | None) -> None:
        """See LinkHandler."""
        self.realm.gone(link)
        channel = self._channels.get(link.peer.node_id)
        if channel is None or channel.link is not link:
            return
        log.info("link with %s ended: %s", link.peer.membership.name, why or "closed")
        del self._channels[channel.node]
        self.company.lost(channel.node)
        self._gone(channel)

    def _crossed(self, before: Link, link: Link) -> bool:
        """Whether two nodes dialled each other at once, and `link` is the one to be dropped.

        Both ends keep the one that the lower id dialled. Otherwise the newer link wins: the older
        may be a corpse that liveness has not noticed yet.
        """
        if before.dialled == link.dialled or link.opened_us - before.opened_us > CROSSING_US:
            return False
        lower_is_here = self.credentials.identity.node_id < link.peer.node_id
        return link.dialled != lower_is_here

    def _among_members(self, link: Link, message: AmongMembers) -> None:
        """What members of the realm say to each other as such. A MeshError closes the link."""
        member = link.peer.membership
        relayed = isinstance(message, FROM_RELAY)
        if not member.has(*((Role.RELAY,) if relayed else NODES)):
            raise ProtocolViolation(
                what=f"{type(message).__name__} from {member.name} is refused",
                why=f"its sender is {', '.join(sorted(member.roles))}, "
                + ("no relay" if relayed else "a client"),
                fix="Have an admin sign a membership with the role that is needed.",
            )
        match message:
            case RealmNews() | Renewed():
                self.realm.received(link, message)
            case Observed():
                self.company.reach.observed(link, message)
            case PeersSeen():
                self.company.told(link, message)
            case RelayAsk() | ReachAsk():
                if self.relay is None:
                    raise ProtocolViolation(
                        what=f"{type(message).__name__} is refused",
                        why="this node is no relay",
                        fix="Ask one of the realm's relays.",
                    )
                self.relay.received(link, message)
            case _:
                self.company.reach.received(link, message)

    def _gone(self, channel: Channel) -> None:
        if self.gateway is not None:
            self.gateway.worker_gone(channel)
        if self.clients is not None:
            self.clients.gone(channel)
        if self.worker is not None:
            self.worker.channel_gone(channel)

    def _half(self, link: Link, message: Message) -> Gateway | Worker | ClientDesk:
        """The half a message is for, if the sender's membership lets it say so."""
        half: Gateway | Worker | ClientDesk | None
        if isinstance(message, FROM_WORKER):
            half, needed = self.gateway, Role.WORKER
        elif isinstance(message, FROM_CLIENT):
            half, needed = self.clients, Role.CLIENT
        else:
            half, needed = self.worker, Role.GATEWAY
        member = link.peer.membership
        if half is None:
            why = "this node does not play the part that the message is for"
        elif not member.has(needed):
            why = f"its sender is {', '.join(sorted(member.roles))}, not {needed}"
        else:
            return half
        raise ProtocolViolation(
            what=f"{type(message).__name__} from {member.name} is refused",
            why=why,
            fix="Have an admin sign a membership with the role that is needed.",
        )

    # --- the realm -------------------------------------------------------------------------

    @property
    def member(self) -> Membership:
        """What this node may be."""
        return self.realm.member

    def _open_links(self) -> list[Link]:
        return [channel.link for channel in self._channels.values()]

    def _realm_changed(self) -> None:
        """What is believed has changed: rights of clients, where members meet, what is said."""
        self.company.realms_are(self.credentials.trust.realms)
        self._readvertise.set()

    def _enforce_rights(self) -> None:
        if self.gateway is not None:
            self.gateway.enforce()

    # --- devices ---------------------------------------------------------------------------

    def offers(self) -> tuple[DeviceOffer, ...]:
        """The devices this node offers now."""
        return self.worker.offers() if self.worker is not None else ()

    def device_changed(self, device: Device) -> None:
        """Tell everyone who may place work here."""
        log.info("device %s is %s", device.name, device.state)
        if device.state == "ready":
            for protection, why in device.sandbox.missing.items():
                log.warning("device %s runs without '%s': %s", device.name, protection, why)
        if self.worker is None:
            return
        self.worker.device_changed(device)
        self._tell_offers()

    def _tell_offers(self) -> None:
        leaving = self.worker is not None and self.worker.draining
        changed = DevicesChanged(self.offers(), leaving)
        for channel in self._channels.values():
            channel.send(changed)
        if self._to_self is not None:
            self._to_self.send(changed)

    _to_self: LocalChannel | None = None

    def serve_self(self) -> None:
        """Join this node's own two halves."""
        if self.gateway is not None and self.worker is not None:
            node = self.credentials.identity.node_id
            gateway_end, worker_end = LocalChannel.pair(node, self.gateway, self.worker)
            self._to_self = worker_end
            self.gateway.worker_found(gateway_end, self.member.name, self.offers())

    # --- leaving (mesh.control.Drainable) ---------------------------------------------------

    @property
    def sessions(self) -> int:
        """That its gateway serves now."""
        return self.gateway.open_sessions if self.gateway is not None else 0

    async def drain(self, within_s: float) -> bool:
        """Take nothing new, tell everyone, and finish what is under way.

        Clients hear that they have so long to go elsewhere; gateways, that no device is offered
        here any more. Returns whether all was finished in time.
        """
        log.info("draining: %d sessions, for at most %g s", self.sessions, within_s)
        try:
            async with asyncio.timeout(within_s):
                if self.gateway is not None and self.clients is not None:
                    self.gateway.drain()
                    self.clients.drain(round(within_s * 1e6))
                    await self.gateway.drained()  # first: its sessions may run on its own worker
                if self.worker is not None:
                    self.worker.drain()
                    self._tell_offers()
                    await asyncio.sleep(ON_THEIR_WAY_S)
                    await self.worker.drained()
        except TimeoutError:
            log.warning("not all was finished in %g s", within_s)
            return False
        return True

    def reread(self) -> int:
        """Take up what the state directory says of the realm; how many members it was told."""
        self.realm.reread()
        return len(self._channels)

    async def netcheck(self) -> NetReport:
        """How it reaches others."""
        local = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
        return await check(
            self.credentials.identity.node_id,
            self.port,
            local,
            self.company.reach,
            self._open_links(),
        )

    def leave(self) -> None:
        """Have whoever runs this node end it."""
        self.left.set()

    def advert(self) -> bytes:
        """What finders should say of this node from now on."""
        now_s = time.time()
        return sign_advert(
            self.credentials.identity,
            realm_public=self.credentials.realm_public,
            port=self.port,
            roles=self.config.roles,
            name=self.config.name,
            sequence=int(now_s * 1000),  # rises over restarts
            not_after_s=int(now_s) + ADVERT_LIFETIME_S,
            serves=self._serves(),
            place=self.company.place,
        )

    def _serves(self) -> list[str]:
        """Workloads that its devices run, or that its gateway opens sessions of; what fits."""
        offered = {workload for offer in self.offers() for workload in offer.workloads}
        asked = self.config.workloads if self.gateway is not None else ()
        said = [name for name in sorted(offered.union(asked)) if WORD.fullmatch(name)]
        return [name for at, name in enumerate(said) if len("".join(said[: at + 1])) <= SAID][:8]

    async def keep_advertised(self, finders: Sequence[FinderSession]) -> None:
        """Renew the advert well before it expires, and when the realm changes, until cancelled."""
        while True:
            self._readvertise.clear()
            secret = self.credentials.trust.secret
            for finder in finders:
                if secret is not None and isinstance(finder, SharesSecret):
                    finder.secret_is(secret)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ADVERT_LIFETIME_S / 3):
                    await self._readvertise.wait()
            for finder in finders:
                await finder.update(self.advert())

    def summary(self) -> str:
        """One line for the log."""
        devices = ", ".join(o.device for o in self.offers()) or "none"
        return (
            f"node {self.credentials.identity.node_id}, link port {self.port}, devices: {devices}"
        )

    async def close_links(self) -> None:
        """Say goodbye to everyone."""
        for channel in list(self._channels.values()):
            await channel.link.close()


def may_offer(member: Membership, offers: Sequence[DeviceOffer]) -> tuple[DeviceOffer, ...]:
    """Of what a worker offers, that which its membership lets it serve."""
    return tuple(
        replace_struct(offer, workloads=tuple(w for w in offer.workloads if member.may_serve(w)))
        for offer in offers
    )


@asynccontextmanager
async def open_node(config: NodeConfig, *, static: Path | None = None) -> AsyncIterator[Node]:
    """A running node. `static` is the folder a gateway serves at "/" (the browser page).

    Raises MeshError for whatever keeps it from starting; a part that crashes later brings it down.
    """
    home = NodeHome(config.state)
    identity, blob, trust = home.identity(), home.membership(), home.trust(int(time.time()))
    credentials = Credentials(identity, claimed_realm(blob, "no node"), blob, known=trust)
    member = own_membership(credentials)
    _check_roles(config, member)
    async with _said_plainly(), AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        node = Node(config, home, credentials, member, tasks)
        loops = [tasks.create_task(node.lag.watch(), name="loop lag")]
        try:
            if "worker" in config.roles:
                await _start_worker(node, stack)
            if "gateway" in config.roles:
                node.gateway, node.clients = await serving().start_gateway(
                    config, credentials, node.lag, tasks.create_task, stack
                )
            node.serve_self()
            node.finders = await _start_links(node, stack, tasks)
            loops.append(tasks.create_task(node.company.keep_links(), name="links"))
            loops.append(tasks.create_task(node.realm.keep(), name="realm"))
            loops.append(tasks.create_task(node.company.keep_company(), name="company"))
            loops.append(tasks.create_task(node.keep_advertised(node.finders), name="adverts"))
            if node.gateway is not None:
                node.http_port = await serving().start_http(config, node.gateway, stack, static)
            await stack.enter_async_context(serve_control(config.state, node))
            yield node
        finally:
            await node.close_links()
            for loop in loops:
                loop.cancel()


def serving() -> ModuleType:
    """`mesh.serving`, loaded when it is needed."""
    return importlib.import_module("mesh.serving")


@asynccontextmanager
async def _said_plainly() -> AsyncIterator[None]:
    """A single MeshError leaves the task groups as itself: to be handled, or read by a person."""
    try:
        yield
    except BaseExceptionGroup as group:
        problems = list(_leaves(group))
        if len(problems) == 1 and isinstance(problems[0], MeshError):
            raise problems[0] from None
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for problem in group.exceptions:
        if isinstance(problem, BaseExceptionGroup):
            yield from _leaves(problem)
        else:
            yield problem


def _check_roles(config: NodeConfig, member: Membership) -> None:
    missing = [role for role in config.roles if not member.has(Role(role))]
    if missing:
        raise IdentityError(
            what=f"this node may not be a {' or a '.join(missing)}",
            why=f"its membership says {', '.join(sorted(member.roles))}",
            fix="Correct `roles` in the configuration, or have a new membership signed.",
        )


async def _start_worker(node: Node, stack: AsyncExitStack) -> None:
    config = node.config
    limits = DeviceLimits(
        memory_bytes=config.device.memory_mb << 20,
        cache_dir=default_cache_dir() / config.name,
        private=(config.state,),
    )
    report = await probe(config.workloads, limits=limits)
    for workload, why in report.why_not.items():
        log.warning("no device for workload '%s': %s", workload, why)
    only = config.device.only
    units = {unit: infos for unit, infos in report.units.items() if not only or unit in only}
    if not units:
        raise DeviceUnavailable(
            what="this worker has nothing to work with",
            why="; ".join(report.why_not.values())
            or f"[device] only = {list(only)} leaves none of {list(report.units)}",
            fix="Run `framemesh devices`; install what it names, or remove the role 'worker'.",
        )
    devices = [
        await stack.enter_async_context(
            open_device(
                unit,
                infos,
                config.workloads,
                limits=_limits_of(infos, limits, config.device.programs),
                changed=node.device_changed,
                found=report.found_on(unit),
            )
        )
        for unit, infos in units.items()
    ]
    for device in devices:
        await device.ready()
    node.worker = await stack.enter_async_context(
        Worker(devices, kill_after_us=config.device.kill_ms * 1000, policy=config.device.queue)
    )


def _limits_of(
    infos: Sequence[DeviceInfo], limits: DeviceLimits, programs: Sequence[str]
) -> DeviceLimits:
    """One unit's: lower priority for what runs on the CPU; programs only where they compute."""
    if all(info.api == PROGRAM_API for info in infos):
        limits = replace(limits, programs=tuple(Path(path).expanduser() for path in programs))
    return replace(limits, nice=SOFTWARE_NICE) if _is_software(infos) else limits


def _is_software(infos: Sequence[DeviceInfo]) -> bool:
    return all(info.software for info in infos)


async def _start_links(
    node: Node, stack: AsyncExitStack, tasks: asyncio.TaskGroup
) -> list[FinderSession]:
    config = node.config
    listener = await stack.enter_async_context(
        listen(
            config.link.host,
            config.link.port,
            node.credentials,
            node,
            node.offers,
            timing=link_timing(config),
        )
    )
    log.info("takes links on port %d", listener.port)
    node.port, node.company.listener = listener.port, listener
    if "relay" in config.roles:
        node.relay = Relay(config.relay, node.company.link_with, tasks)
        await stack.enter_async_context(node.relay.serving(config.link.host))
    if node.gateway is not None:
        node.gateway.link_port = listener.port
    for address in config.link.peers:
        node.company.keep_linked(address)
    for address in NodeHome(config.state).contacts():
        node.company.try_contact(address)
    advert = node.advert()
    return [
        await stack.enter_async_context(
            create_finder(name, settings).open(
                advert, node.port, functools.partial(node.company.found, name)
            )
        )
        for name, settings in config.discovery.items()
    ]
