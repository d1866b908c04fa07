"""Who is out there, and whom to dial when: pure decisions over what the finders report.

Adverts come from anyone who can send a datagram, so a book is bounded in peers, in peers per host
(adverts must not aim a crowd of dials at one address), in addresses per peer and in dials at once.
What was never linked gives way to what is new, once it has failed; what was linked never does.
"""

from __future__ import annotations

import heapq
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address, ip_network
from itertools import islice

from mesh.core.errors import ContentRefused, MeshError, NotAuthorized
from mesh.core.identity import fingerprint
from mesh.core.membership import Role
from mesh.core.workload import NodeId
from mesh.peers.advert import Advert, claimed_node, read_advert
from mesh.peers.backoff import BackOff
from mesh.peers.nearness import Coordinate, Position, from_wire

log = logging.getLogger(__name__)

VIA = "via="  # before a relay's "ip:port", among a node's addresses
_EVICTION_LOOK = 64  # failed peers compared when one must go; bounds the work per advert
_COMPLAINTS = 256  # remembered at a time


class Outcome(StrEnum):
    """What became of a sighting."""

    NEW = "new"
    NEWER = "newer"  # a higher sequence number of a known node
    KNOWN = "known"
    STALE = "stale"  # a lower sequence number
    OWN = "own"
    OTHER_REALM = "other_realm"
    MALFORMED = "malformed"
    UNTRUSTED = "untrusted"  # tampered with, or expired
    NO_ADDRESS = "no_address"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a peer book."""

    peers: int = 16_384
    peers_per_host: int = 64
    peers_per_network: int = 256  # of an IPv4 /24, an IPv6 /48: what one owner may have many of
    workers: int = 256  # linked at once by a gateway, the nearest of all that are known
    relays: int = 2  # likewise, by whoever may need one
    contact_failures: int = 6  # after which an address from an invitation is forgotten
    addresses_per_peer: int = 16
    dials: int = 16  # under way at once
    back_off: BackOff = field(default_factory=BackOff)
    # A link lost sooner after its dial counts as a failure: the peer may drop us at once each time.
    steady_us: int = 5_000_000
    complaint_us: int = 600_000_000  # the same complaint is logged again after this


@dataclass(frozen=True, slots=True)
class DialAttempt:
    """Try `addresses` ("host:port") in order, then tell the book `reached` or `failed`."""

    node: NodeId | None  # whom to expect there; None for a configured address
    addresses: tuple[str, ...]
    # Whether to be dialled from the port that links are taken on, so that it sees where others may
    # try. Of a relay, and of who is not known: a SYN from there to a NAT that does not let it in
    # leaves a mapping behind in this node's own NAT which spoils what is punched later.
    from_own_port: bool
    key: str = field(repr=False)  # the book's own name for the entry


@dataclass(frozen=True, slots=True)
class PeerView:
    """One entry for status pages and logs."""

    node: NodeId | None
    name: str
    roles: tuple[str, ...]
    addresses: tuple[str, ...]
    state: str  # "linked", "dialling", "waiting" (to be dialled), "expected" (it dials us, or none)
    failures: int


@dataclass(slots=True, eq=False)
class _Peer:
    key: str
    node: NodeId | None
    static: bool = False
    fleeting: bool = False  # static until it has failed too often
    blob: bytes = b""
    advert: Advert | None = None
    expires_us: int | None = None
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by source, newest last
    proven: bool = False  # has been linked
    dialling: bool = False
    dialled_us: int = 0
    failures: int = 0
    next_dial_us: int = 0
    ready: bool = False  # stands in the ready heap
    wake_us: int | None = None  # its live entry among the timers

    def merged(self, limit: int) -> tuple[str, ...]:
        """Addresses in the order to try: the latest source first, no repeats."""
        newest_first = (a for found in reversed(self.addresses.values()) for a in found)
        return tuple(islice(dict.fromkeys(newest_first), limit))


class PeerBook:
    """Merges sightings, refuses what cannot be believed, and says whom to dial."""

    def __init__(
        self,
        *,
        me: NodeId,
        realm_public: bytes,
        roles: Collection[str],
        seed: int,
        limits: Limits | None = None,
    ) -> None:
        self.counts: dict[str, Counter[Outcome]] = defaultdict(Counter)  # by source
        self._me = me
        self._realms = frozenset({fingerprint(realm_public)})
        self._roles = frozenset(roles)
        self._draw = random.Random(seed)  # noqa: S311  jitter, no secret
        self._limits = limits or Limits()
        self._peers: dict[str, _Peer] = {}
        self._static: dict[str, _Peer] = {}  # the configured among them
        self._by_host: defaultdict[str, set[str]] = defaultdict(set)  # and by network
        self._position: Position | None = None
        self._linked: set[NodeId] = set()
        self._dialling: set[NodeId] = set()
        self._taken: Counter[bool] | None = None  # relays or not; None: to be counted anew
        self._held_back: set[str] = set()  # not dialled, because enough others are linked
        self._dials = 0
        self._timers: list[tuple[int, str]] = []
        self._ready: list[tuple[int, float, str]] = []  # failures, expected round trip, key
        self._complained: dict[tuple[str, ...], int] = {}

    # --- what comes in ---------------------------------------------------------------------

    def sighted(
        self, source: str, advert: bytes, addresses: Sequence[str], *, now_s: int, now_us: int
    ) -> Outcome:
        """A finder saw `advert`, at "host:port" `addresses` in the order to try.

        now_s: unix seconds, against which adverts expire. Refusals are counted and logged.
        """
        outcome = self._judge(source, advert, addresses, now_s, now_us)
        self.counts[source][outcome] += 1
        return outcome

    def realms_are(self, realms: Collection[bytes]) -> None:
        """Whose adverts count: this node's realm, by its public key, and its other keys."""
        self._realms = frozenset(map(fingerprint, realms))

    def add_static(self, address: str) -> None:
        """Keep a link to a configured "host:port", whoever answers there."""
        key = f"static {address}"
        if key not in self._peers:
            peer = _Peer(key, None, static=True, addresses={"static": (address,)})
            self._peers[key] = self._static[key] = peer
            self._schedule(peer)

    def add_contact(self, address: str) -> None:
        """Try an "ip:port" at which a member was, or is said to be; not for ever."""
        if _host(address):
            self.add_static(address)
            peer = self._static[f"static {address}"]
            peer.fleeting = not peer.proven

    def place_is(self, position: Position) -> None:
        """Where this node is among others; it goes on learning."""
        self._position = position

    def place_of(self, node: NodeId) -> Coordinate | None:
        """Where a node said it is."""
        peer = self._peers.get(node)
        return from_wire(peer.advert.place) if peer and peer.advert else None

    def known(self, most: int, draw: random.Random) -> list[tuple[bytes, tuple[str, ...]]]:
        """Adverts of nodes that have been linked, with addresses: some, to tell others of."""
        proven = [p for p in self._peers.values() if p.proven and p.blob]
        chosen = draw.sample(proven, min(most, len(proven)))
        return [(p.blob, p.merged(self._limits.addresses_per_peer)[:8]) for p in chosen]

    def contacts(self) -> list[str]:
        """Addresses of nodes that have been linked, for a start without finders."""
        proven = (p for p in self._peers.values() if p.proven)
        return [a for p in proven for a in p.merged(2) if not a.startswith(VIA)][:64]

    def connected(self, node: NodeId) -> None:
        """A link with `node` is open, whoever dialled."""
        self._linked.add(node)
        self._taken = None
        for peer in self._entries(node):
            peer.proven = True
            self._dial_over(peer)

    def reached(self, attempt: DialAttempt, node: NodeId) -> None:
        """The dial led to `node`; `connected` has told of the link, and `lost` may have too."""
        peer = self._peers.get(attempt.key)
        if peer is None:
            return
        self._dial_over(peer)
        peer.proven = True
        if peer.static:
            peer.node = node  # until now nobody knew whose address it is
            if node not in self._linked:
                self._back_off(peer, peer.dialled_us)
        self._schedule(peer)

    def failed(self, attempt: DialAttempt, now_us: int) -> None:
        """No address of the attempt led to a link."""
        peer = self._peers.get(attempt.key)
        if peer is None or not peer.dialling:
            return
        self._dial_over(peer)
        self._back_off(peer, now_us)
        self._let_others()
        if peer.fleeting and peer.failures >= self._limits.contact_failures:
            del self._static[peer.key]
            self._forget(peer)
            return
        before = self._entries(peer.node)
        if peer.static:
            peer.node = None  # someone else may answer there next time
        for entry in before or [peer]:  # what was found of that node is free to be dialled again
            self._schedule(entry)

    def lost(self, node: NodeId, now_us: int) -> None:
        """The link with `node` ended."""
        self._linked.discard(node)
        self._taken = None
        self._let_others()
        for peer in self._entries(node):
            if now_us - peer.dialled_us < self._limits.steady_us:
                self._back_off(peer, now_us)
            else:
                peer.failures = 0
                peer.next_dial_us = now_us
            self._schedule(peer)

    # --- what goes out ---------------------------------------------------------------------

    def due(self, now_us: int) -> list[DialAttempt]:
        """The dials to start now; each must end in `reached` or `failed`."""
        self._ripen(now_us)
        attempts: list[DialAttempt] = []
        while self._ready and self._dials < self._limits.dials:
            peer = self._peers.get(heapq.heappop(self._ready)[2])
            if peer is None or not peer.ready:
                continue
            peer.ready = False
            if not self._wants(peer) or _expired(peer, now_us):
                self._schedule(peer)
                continue
            peer.dialling, self._taken = True, None
            if peer.node is not None:
                self._dialling.add(peer.node)
            peer.dialled_us = now_us
            self._dials += 1
            addresses = peer.merged(self._limits.addresses_per_peer)
            attempts.append(
                DialAttempt(
                    None if peer.static else peer.node,
                    addresses,
                    peer.advert is None or Role.RELAY in peer.advert.roles,
                    key=peer.key,
                )
            )
        return attempts

    def next_due_us(self) -> int | None:
        """When `due` may have something new to say; None: not before something else happens."""
        if self._ready and self._dials < self._limits.dials:
            return 0
        return self._timers[0][0] if self._timers else None

    def peers(self) -> list[PeerView]:
        """Every entry, for people."""
        return [
            PeerView(
                node=peer.node,
                name=peer.advert.name if peer.advert else "",
                roles=peer.advert.roles if peer.advert else (),
                addresses=peer.merged(self._limits.addresses_per_peer),
                state=self._state(peer),
                failures=peer.failures,
            )
            for peer in self._peers.values()
        ]

    # --- judging adverts -------------------------------------------------------------------

    def _judge(
        self, source: str, blob: bytes, addresses: Sequence[str], now_s: int, now_us: int
    ) -> Outcome:
        try:
            node = claimed_node(blob)
            known = self._peers.get(node)
            if known is not None and known.blob == blob:
                return self._seen_again(known, source, addresses)
            advert = read_advert(blob, now_s)
        except (ContentRefused, NotAuthorized) as problem:
            return self._refuse(source, blob, problem, now_us)
        if advert.realm in self._realms and node != self._me:
            expires_us = now_us + (advert.not_after_s - now_s) * 1_000_000
            return self._admit(
                source, blob, advert, addresses, expires_us=expires_us, now_us=now_us
            )
        if node == self._me:
            return Outcome.OWN
        self._complain(
            (source, "realm", node),
            now_us,
            f"{source}: {advert.name} ({node}) is not dialled: it belongs to realm {advert.realm},"
            f" and this node to {', '.join(sorted(self._realms))}. To bring them together, have one"
            " of the realms sign a membership for the other node.",
        )
        return Outcome.OTHER_REALM

    def _admit(
        self,
        source: str,
        blob: bytes,
        advert: Advert,
        addresses: Sequence[str],
        *,
        expires_us: int,
        now_us: int,
    ) -> Outcome:
        """Take up what another node of this realm said of itself, if it is news and fits."""
        node = advert.node_id
        known = self._peers.get(node)
        if known is not None and advert.sequence <= _sequence(known):
            return Outcome.STALE
        usable = self._usable(addresses)
        if not usable:
            return Outcome.NO_ADDRESS
        roomy = self._roomy(node, usable)
        if not roomy or (known is None and not self._make_room(self._peers, self._limits.peers)):
            self._complain(
                (source, "full"),
                now_us,
                f"{source}: {advert.name} ({node}) is not taken up: there are too many nodes, or"
                " too many at its address, that were never reached. They make room as they fail"
                " or expire.",
            )
            return Outcome.FULL
        if known is None:
            peer = _Peer(node, node, proven=node in self._linked, next_dial_us=now_us)
            self._peers[node] = peer
        else:
            peer = known
            self._hurry(peer, now_us)
        self._take(peer, source, blob, advert, roomy)
        peer.expires_us = expires_us
        self._schedule(peer)
        return Outcome.NEW if known is None else Outcome.NEWER

    def _refuse(self, source: str, blob: bytes, problem: MeshError, now_us: int) -> Outcome:
        malformed = isinstance(problem, ContentRefused)
        ours = not malformed and claimed_node(blob) == self._me
        whose = " It claims to be this node's own." if ours else ""
        # One key per source and kind: who an unproven advert names is the sender's to choose.
        kind = problem.code + (" own" if ours else "")
        self._complain((source, kind), now_us, f"{source}: {problem}{whose}")
        return Outcome.MALFORMED if malformed else Outcome.UNTRUSTED

    def _seen_again(self, peer: _Peer, source: str, addresses: Sequence[str]) -> Outcome:
        """Add addresses to those known: whoever replays an advert must not displace the true ones
        by one packet, and a node that moves keeps its advert.
        """
        roomy = self._roomy(peer.key, self._usable(addresses))
        before = peer.addresses.get(source, ())
        if roomy != before[: len(roomy)]:
            merged = tuple(dict.fromkeys(roomy + before))
            self._set_addresses(peer, source, merged[: self._limits.addresses_per_peer])
        return Outcome.KNOWN

    def _take(
        self, peer: _Peer, source: str, blob: bytes, advert: Advert, addresses: tuple[str, ...]
    ) -> None:
        if peer.advert is not None and peer.advert.port != advert.port:
            self._set_addresses(peer, None, ())  # what the others said is out of date
        peer.blob, peer.advert = blob, advert
        self._set_addresses(peer, source, addresses)

    def _hurry(self, peer: _Peer, now_us: int) -> None:
        """A newer advert may mean a restart: an early try is worth it.

        Not at once each time: anyone can sign a thousand adverts a second with a key of their own.
        """
        earliest_us = peer.dialled_us + self._limits.back_off.first_us
        peer.next_dial_us = min(peer.next_dial_us, max(now_us, earliest_us))
        peer.failures = min(peer.failures, 1)

    def _usable(self, addresses: Sequence[str]) -> tuple[str, ...]:
        few = islice(addresses, self._limits.addresses_per_peer)
        return tuple(dict.fromkeys(a for a in few if _host(a)))

    def _set_addresses(self, peer: _Peer, source: str | None, found: tuple[str, ...]) -> None:
        """Replace what `source` says of a peer's addresses (None: what all of them say)."""
        for host in _crowds(peer):
            self._by_host[host].discard(peer.key)
            if not self._by_host[host]:
                del self._by_host[host]
        if source is None:
            peer.addresses.clear()
        else:
            peer.addresses.pop(source, None)  # re-inserted as the latest
            peer.addresses[source] = found
        for host in _crowds(peer):
            self._by_host[host].add(peer.key)

    def _roomy(self, key: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """The addresses at whose host one more peer may be dialled."""
        limits = self._limits
        roomy = []
        for address in addresses:
            host = _host(address)
            bounds = ((host, limits.peers_per_host), (_network(host), limits.peers_per_network))
            crowds = ((self._by_host.get(name, set()), most) for name, most in bounds)
            if address.startswith(VIA) or all(
                key in there or self._make_room(there, most) for there, most in crowds
            ):
                roomy.append(address)
        return tuple(roomy)

    def _make_room(self, keys: Collection[str], limit: int) -> bool:
        """Whether one more fits among `keys`; one that only ever failed may have to go for it."""
        if len(keys) < limit:
            return True
        failed = (p for p in map(self._peers.__getitem__, keys) if self._may_go(p))
        victim = max(islice(failed, _EVICTION_LOOK), key=lambda p: p.failures, default=None)
        if victim is not None:
            self._forget(victim)
        return victim is not None

    def _may_go(self, peer: _Peer) -> bool:
        return bool(peer.failures) and not (peer.proven or peer.static or peer.dialling)

    def _forget(self, peer: _Peer) -> None:
        self._set_addresses(peer, None, ())
        del self._peers[peer.key]

    def _complain(
        self, key: tuple[str, ...], now_us: int, text: str, level: int = logging.WARNING
    ) -> None:
        """Log a refusal unless it was logged lately; a flood of kinds silences itself."""
        if self._complained.get(key, now_us) > now_us:
            return
        if len(self._complained) >= _COMPLAINTS:
            self._complained = {k: at for k, at in self._complained.items() if at > now_us}
            if len(self._complained) >= _COMPLAINTS:
                return
        self._complained[key] = now_us + self._limits.complaint_us
        log.log(level, "%s", text)

    # --- timing dials ----------------------------------------------------------------------

    def _wants(self, peer: _Peer) -> bool:
        """Whether this node should dial it, were it time."""
        if peer.dialling or (peer.node is not None and peer.node in self._linked):
            return False
        if peer.static:
            return True
        if peer.advert is None or any(p.static for p in self._entries(peer.node)):
            return False  # a configured address leads to the same node: one dial is enough
        if not dials(self._me, self._roles, peer.key, peer.advert.roles):
            return False
        limits = self._limits
        most = limits.relays if Role.RELAY in peer.advert.roles else limits.workers
        if self._taken_like(peer.advert) < most:
            return True
        self._held_back.add(peer.key)
        return False

    def _let_others(self) -> None:
        """There is room for one more: who was held back may be dialled."""
        held_back, self._held_back = self._held_back, set()
        for key in held_back & self._peers.keys():
            self._schedule(self._peers[key])

    def _taken_like(self, advert: Advert) -> int:
        """Nodes that are linked, or being dialled, for the same purpose."""
        if self._taken is None:
            entries = (self._peers.get(node) for node in self._linked | self._dialling)
            adverts = [peer.advert for peer in entries if peer is not None and peer.advert]
            self._taken = Counter(Role.RELAY in advert.roles for advert in adverts)
        return self._taken[Role.RELAY in advert.roles]

    def _rtt_ms(self, peer: _Peer) -> float:
        """What is to be expected of it; who does not say where it is comes before who is far."""
        place = from_wire(peer.advert.place) if peer.advert is not None else None
        return self._position.here.distance_ms(place) if self._position and place else 0.0

    def _schedule(self, peer: _Peer) -> None:
        """Make sure that a timer wakes the peer when its dial is due or its advert expires."""
        if peer.dialling or peer.ready or peer.node in self._linked:
            return  # `failed`, `due` or `lost` will schedule it
        moments = [peer.expires_us] if peer.expires_us is not None else []
        if self._wants(peer):
            moments.append(peer.next_dial_us)
        if moments and (peer.wake_us is None or min(moments) < peer.wake_us):
            peer.wake_us = min(moments)
            heapq.heappush(self._timers, (peer.wake_us, peer.key))
            if len(self._timers) > 2 * len(self._peers) + 64:
                self._drop_dead_timers()

    def _drop_dead_timers(self) -> None:
        live = ((p.wake_us, p.key) for p in self._peers.values() if p.wake_us is not None)
        self._timers = list(live)
        heapq.heapify(self._timers)

    def _ripen(self, now_us: int) -> None:
        """Move what is due from the timers to the ready heap; drop what has expired."""
        while self._timers and self._timers[0][0] <= now_us:
            at_us, key = heapq.heappop(self._timers)
            peer = self._peers.get(key)
            if peer is None or peer.wake_us != at_us:
                continue
            peer.wake_us = None
            if peer.dialling or peer.node in self._linked:
                continue
            if _expired(peer, now_us):
                self._forget(peer)
            elif self._wants(peer) and peer.next_dial_us <= now_us:
                peer.ready = True
                heapq.heappush(self._ready, (peer.failures, self._rtt_ms(peer), key))
            else:
                self._schedule(peer)

    def _dial_over(self, peer: _Peer) -> None:
        if peer.dialling:
            peer.dialling, self._taken = False, None
            if peer.node is not None:
                self._dialling.discard(peer.node)
            self._dials -= 1

    def _back_off(self, peer: _Peer, now_us: int) -> None:
        peer.failures += 1
        peer.next_dial_us = now_us + self._limits.back_off.delay_us(peer.failures, self._draw)

    def _entries(self, node: NodeId | None) -> list[_Peer]:
        """What the book holds about a node: what was found, and configured addresses."""
        found = self._peers.get(node) if node is not None else None
        static = [p for p in self._static.values() if node is not None and p.node == node]
        return static if found is None else [found, *static]

    def _state(self, peer: _Peer) -> str:
        if peer.node in self._linked:
            return "linked"
        if peer.dialling:
            return "dialling"
        return "waiting" if self._wants(peer) else "expected"


def dials(me: NodeId, mine: Collection[str], other: NodeId, theirs: Collection[str]) -> bool:
    """Whether `me`, with the roles `mine`, is the one to dial `other`.

    A gateway dials workers; both dial relays. Where each would dial the other, the lower id does.
    """
    return _wants(mine, theirs) and (not _wants(theirs, mine) or me < other)


def _wants(mine: Collection[str], theirs: Collection[str]) -> bool:
    if Role.RELAY in theirs and not {Role.GATEWAY, Role.WORKER}.isdisjoint(mine):
        return True
    return Role.GATEWAY in mine and Role.WORKER in theirs


def _expired(peer: _Peer, now_us: int) -> bool:
    return peer.expires_us is not None and peer.expires_us <= now_us


def _sequence(peer: _Peer) -> int:
    return peer.advert.sequence if peer.advert is not None else -1


def _crowds(peer: _Peer) -> set[str]:
    """The hosts and networks that a peer counts for; by way of a relay it is nobody's."""
    found = (a for found in peer.addresses.values() for a in found if not a.startswith(VIA))
    hosts = {_host(a) for a in found}
    return hosts | {_network(host) for host in hosts}


def _network(host: str) -> str:
    """The block of addresses that one owner mostly has whole."""
    if not host:
        return ""
    ip = ip_address(host.partition("%")[0])
    return str(ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


def _host(address: str) -> str:
    """The host of an "ip:port" that can be dialled, "" for anything else."""
    host, _, port = address[:80].removeprefix(VIA).rpartition(":")
    try:
        ip = ip_address(host.removeprefix("[").removesuffix("]"))
        usable = 0 < int(port) <= 65535 and not (ip.is_multicast or ip.is_unspecified)
    except ValueError:
        return ""
    return str(ip) if usable else ""
