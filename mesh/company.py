"""A node's company: whom it knows of, dials and keeps linked, and by which way.

The shell around `mesh.peers`: carries out what the peer book decides. Members tell each other of
members, so that who has found one finds the others; what was found is kept over restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from random import Random

from mesh.core.config import NodeConfig
from mesh.core.errors import LinkLost, MeshError, PeerRefused
from mesh.core.home import NodeHome
from mesh.core.loop import monotonic_us
from mesh.core.membership import Role
from mesh.core.wire import Observed, PeerSeen, PeersSeen
from mesh.core.workload import FinderSession, NodeId, SaysAddresses
from mesh.link.endpoint import Listener, dial_any, dial_over
from mesh.link.handshake import Credentials
from mesh.link.liveness import LinkTiming
from mesh.link.transport import HelloDevices, Link, LinkHandler
from mesh.peers.advert import claimed_node
from mesh.peers.nearness import Position, to_wire
from mesh.peers.peerbook import VIA, DialAttempt, Outcome, PeerBook, PeerView
from mesh.reach import Reach, Way
from mesh.realmdesk import NODES

log = logging.getLogger(__name__)

MAX_DIAL_WAIT_S = 1.0
MISSING_REMEMBERED = 1024
COMPANY_S = 10.0  # between tellings of others
NEWS = (Outcome.NEW, Outcome.NEWER)
DIRECT_S = 1.0  # for a node's own addresses, where there is also a relay to reach it by


class Company:
    """The links a node wants, and the way to them."""

    def __init__(
        self,
        config: NodeConfig,
        home: NodeHome,
        credentials: Credentials,
        tasks: asyncio.TaskGroup,
        *,
        handler: LinkHandler,
        offers: HelloDevices,
        links: Callable[[], Iterable[Link]],
        finders: Callable[[], Iterable[FinderSession]],
        advert: Callable[[], bytes],
    ) -> None:
        """handler, offers: of the links that are dialled; links: all that are open."""
        self.listener: Listener | None = None
        self.reach = Reach(self, tasks, self._reachable_elsewhere)
        self._config = config
        self._home = home
        self._credentials = credentials
        self._handler = handler
        self._offers = offers
        self._links = links
        self._finders = finders
        self._advert = advert
        self._news = asyncio.Event()  # for whom to dial
        self._missing: set[tuple[str, ...]] = set()  # addresses whose silence was logged
        seed = int.from_bytes(credentials.identity.public_key[:8], "little")
        self._draw = Random(seed)  # noqa: S311  whom to tell of, no secret
        self._position = Position(seed)
        self._book = PeerBook(
            me=credentials.identity.node_id,
            realm_public=credentials.realm_public,
            roles=config.roles,
            seed=seed,
        )
        self._book.place_is(self._position)

    # --- what is known of others ------------------------------------------------------------

    @property
    def place(self) -> tuple[int, ...]:
        """Where this node is among others, as adverts say it."""
        return to_wire(self._position.here)

    def peers(self) -> list[PeerView]:
        """Whom it knows of."""
        return self._book.peers()

    def realms_are(self, realms: Iterable[bytes]) -> None:
        """Whose adverts count."""
        self._book.realms_are(list(realms))

    def connected(self, node: NodeId) -> None:
        """A link is open."""
        self._book.connected(node)

    def lost(self, node: NodeId) -> None:
        """A link ended."""
        self.reach.gone(node)
        self._book.lost(node, monotonic_us())
        self._news.set()

    def sighted(self, source: str, advert: bytes, addresses: Sequence[str]) -> Outcome:
        """A finder saw an advert."""
        outcome = self._book.sighted(
            source, advert, addresses, now_s=int(time.time()), now_us=monotonic_us()
        )
        if outcome is Outcome.NEW:
            log.info("found %s by %s", claimed_node(advert), source)
        self._news.set()
        return outcome

    def found(self, source: str, advert: bytes, addresses: Sequence[str]) -> None:
        """What finders call."""
        self.sighted(source, advert, addresses)

    def told(self, link: Link, message: PeersSeen) -> None:
        """A member speaks of itself, or of others. What it says of itself is news for others."""
        for peer in message.peers:
            outcome = self.sighted(f"peer {link.peer.node_id}", peer.advert, peer.addresses)
            itself = outcome in NEWS and claimed_node(peer.advert) == link.peer.node_id
            for other in self._links() if itself else ():
                if other is not link and other.peer.membership.has(*NODES):
                    other.send(PeersSeen((peer,)))

    def keep_linked(self, address: str) -> None:
        """Dial a configured "host:port" whenever it is not linked."""
        self._book.add_static(address)
        self._news.set()

    def try_contact(self, address: str) -> None:
        """Dial where a member was, or is said to be, for some time."""
        self._book.add_contact(address)
        self._news.set()

    async def keep_links(self) -> None:
        """Dial whom the peer book says is due, until cancelled."""
        async with asyncio.TaskGroup() as dials:
            while True:
                now_us = monotonic_us()
                for attempt in self._book.due(now_us):
                    dials.create_task(self._dial(attempt))
                # News (an advert, a lost link, a dial that ended) may make something due earlier.
                next_us = self._book.next_due_us()
                wait_s = MAX_DIAL_WAIT_S if next_us is None else (next_us - now_us) / 1e6
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(max(wait_s, 0.001), MAX_DIAL_WAIT_S)):
                        await self._news.wait()

    async def _dial(self, attempt: DialAttempt) -> None:
        try:
            link = await self._reached(attempt)
        except (PeerRefused, LinkLost) as failed:
            problem = failed
        else:
            self._missing.discard(attempt.addresses)
            self._book.reached(attempt, link.peer.node_id)
            return
        # Said once for each peer that goes missing; the tries that follow are for the curious.
        level = logging.DEBUG if attempt.addresses in self._missing else logging.WARNING
        log.log(level, "no link to %s: %s", attempt.node or attempt.addresses, problem)
        if len(self._missing) >= MISSING_REMEMBERED:
            self._missing.clear()
        self._missing.add(attempt.addresses)
        self._book.failed(attempt, monotonic_us())
        self._news.set()

    async def _reached(self, attempt: DialAttempt) -> Link:
        """A link by the shortest way there is. Raises PeerRefused or LinkLost."""
        direct = [address for address in attempt.addresses if not address.startswith(VIA)]
        elsewhere = self._relays_for(attempt) if attempt.node is not None else []
        try:
            return await dial_any(
                direct,
                self._credentials,
                self._handler,
                self._offers,
                expect=attempt.node,
                timing=link_timing(self._config),
                local_port=self.port if attempt.from_own_port else 0,
                connect_s=DIRECT_S if elsewhere else None,
            )
        except (PeerRefused, LinkLost):
            # What answers at a private address may be another network's own node.
            for relay in elsewhere:
                with contextlib.suppress(MeshError):
                    way = await self.reach.through(relay, attempt.node or "")
                    return await self.dial_over(way, attempt.node or "")
                if link := self.link_with(attempt.node or ""):
                    return link
            raise

    def _relays_for(self, attempt: DialAttempt) -> list[Link]:
        """Linked relays, those that the node names first; others that it names are dialled soon."""
        named = {a.removeprefix(VIA) for a in attempt.addresses if a.startswith(VIA)}
        linked = [link for link in self._links() if link.peer.membership.has(Role.RELAY)]
        for address in sorted(named - {link.address for link in linked}):
            self._book.add_contact(address)
        return sorted(linked, key=lambda link: link.address not in named)

    async def dial_over(self, way: Way, node: NodeId) -> Link:
        """Make the link over a connection, as the one who dials. Raises MeshError."""
        link = await dial_over(
            way.connection,
            way.where,
            self._credentials,
            self._handler,
            self._offers,
            expect=node,
            timing=link_timing(self._config),
        )
        link.path = way.kind
        log.info("%s is %s", node, way.kind)
        return link

    # --- what members tell each other --------------------------------------------------------

    def welcome(self, link: Link) -> None:
        """Tell a member how it is seen, and of this node and some others."""
        link.send(Observed(link.address))
        link.send(PeersSeen((self._self_seen(),)))
        if link.peer.membership.has(Role.RELAY):
            self.reach.linked_with_relay(link)
        others = self._book.known(16, self._draw)
        if others:
            link.send(PeersSeen(tuple(PeerSeen(*other) for other in others)))

    def _self_seen(self) -> PeerSeen:
        return PeerSeen(self._advert(), tuple(self.reach.addresses)[:8])

    async def keep_company(self) -> None:
        """Tell members of each other, learn where this node is, and note it, until cancelled."""
        try:
            while True:
                await asyncio.sleep(COMPANY_S)
                links = [k for k in self._links() if k.peer.membership.has(*NODES)]
                seen = tuple(PeerSeen(*other) for other in self._book.known(8, self._draw))
                for link in links:
                    place = self._book.place_of(link.peer.node_id)
                    if place is not None and link.clock.rtt_us:
                        self._position.learn(link.clock.rtt_us / 1000, place)
                    if seen:
                        link.send(PeersSeen(seen))
                await asyncio.to_thread(self._home.keep_contacts, self._book.contacts())
        finally:
            self._home.keep_contacts(self._book.contacts())

    # --- what Reach needs (mesh.reach.Here) --------------------------------------------------

    @property
    def port(self) -> int:
        """Where links are taken."""
        return self.listener.port if self.listener is not None else 0

    def link_with(self, node: NodeId) -> Link | None:
        """An open link."""
        return next((link for link in self._links() if link.peer.node_id == node), None)

    def adopt(self, connection: socket.socket) -> None:
        """Take a connection for one that was accepted."""
        if self.listener is None:
            connection.close()
        else:
            self.listener.adopt(connection)

    def _reachable_elsewhere(self) -> None:
        """Others should try other addresses than before."""
        for finder in self._finders():
            if isinstance(finder, SaysAddresses):
                finder.addresses_are(self.reach.addresses)
        for link in self._links():
            if link.peer.membership.has(*NODES):
                link.send(PeersSeen((self._self_seen(),)))


def link_timing(config: NodeConfig) -> LinkTiming:
    """The configured liveness, in the link's terms."""
    return LinkTiming(ping_us=config.link.ping_ms * 1000, silent_us=config.link.silent_ms * 1000)
