"""The finder `dht`: a node's advert in a distributed hash table, and those of others from there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from discovery.dht.child import Child, News
from discovery.dht.rendezvous import MAX_ADDRESS, SLOTS, Rendezvous, Slot, seal, unseal
from discovery.mdns import announced, local_addresses
from mesh.core.config import default_cache_dir
from mesh.core.errors import ConfigError, ContentRefused, NotAuthorized
from mesh.core.membership import Role
from mesh.core.workload import FinderSession, Settings
from mesh.peers.advert import claimed_node, read_advert

Found: TypeAlias = Callable[[bytes, Sequence[str]], None]

# Bootstrap nodes of the public table of BitTorrent. It cannot be told apart from a private one.
MAINLINE = frozenset(
    (
        *("router.bittorrent.com", "dht.transmissionbt.com", "router.utorrent.com"),
        *("dht.libtorrent.org", "dht.aelitis.com"),
    )
)
REPEAT_S = 600.0  # entries are forgotten after half an hour and more (BEP 5), two hours (BEP 44)
FIRST_LOOKS_S = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)  # others may be starting as well
FIRST_REPEATS_S = (0.0, 0.3, 0.5, 1.0, 2.0)
ALONE_S = 1.0  # between tries while there is nobody to store it
MOST_SLOTS = 256  # of one role, believed to be somebody's

# A node with this role looks for nodes with those.
WANTED = {Role.GATEWAY: (Role.WORKER, Role.RELAY), Role.WORKER: (Role.RELAY,), Role.RELAY: ()}


HostPort: TypeAlias = Annotated[
    str, Meta(max_length=260, pattern=r"\A(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}\Z")
]


class DhtSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[discovery.dht]."""

    # Shared by those who are to find each other, 64 hexadecimal digits; empty: the realm's own,
    # which its members are told and which changes when one is revoked.
    secret: Annotated[str, Meta(pattern=r"\A([0-9a-fA-F]{64})?\Z")] = ""
    # "host:port" of nodes that are mostly there; whoever has none begins a table of its own.
    bootstrap: Annotated[tuple[HostPort, ...], Meta(max_length=16)] = ()
    # UDP, "ip:port"; port 0: any.
    listen: Annotated[str, Meta(max_length=80)] = "0.0.0.0:0"
    # Where this node is, in the owner's own words: nodes of the same region are found first.
    region: Annotated[str, Meta(max_length=32)] = ""
    # "host:port" at which others reach this node's links; empty: its addresses on its networks.
    addresses: Annotated[tuple[HostPort, ...], Meta(max_length=8)] = ()
    # Ride on BitTorrent's table: strangers store the (sealed) entries and see who asks them.
    public: bool = False
    # Of each network block (IPv4 /24) one node is believed; false where all are in one block.
    restricted: bool = True
    look_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 30_000


def create(settings: Settings) -> DhtFinder:
    """The finder for a [discovery.dht] table. Raises ConfigError."""
    try:
        read = msgspec.convert(dict(settings), DhtSettings)
    except msgspec.ValidationError as problem:
        raise _unusable(str(problem), "docs/configuration.md lists every key.") from problem
    hosts = {address.rpartition(":")[0] for address in read.bootstrap}
    if not read.public and hosts.intersection(MAINLINE):
        raise _unusable(
            "a private table is given a node of BitTorrent's, which would join the two for good",
            "Name bootstrap nodes of your own, or say `public = true` and read what that reveals.",
        )
    return DhtFinder(read)


class DhtFinder:
    """See `mesh.core.workload.Finder`."""

    name = "dht"

    def __init__(self, settings: DhtSettings) -> None:
        self._settings = settings

    def open(
        self, advert: bytes, port: int, found: Found
    ) -> AbstractAsyncContextManager[FinderSession]:
        """Put the advert into the table and look for others until the block ends."""
        return _open(self._settings, advert, port, found)


@asynccontextmanager
async def _open(
    settings: DhtSettings, advert: bytes, port: int, found: Found
) -> AsyncIterator[FinderSession]:
    session = _Session(settings, advert, port, found)
    async with asyncio.TaskGroup() as tasks:
        kept = [tasks.create_task(task) for task in session.tasks()]
        try:
            yield session
        finally:
            for task in kept:
                task.cancel()


@dataclass(slots=True, eq=False)
class _Place:
    """A rendezvous and what is known of it. own: the slot of this node, once it has drawn one.
    asked: slots whose items were asked for since the last look. slots: by their items' keys.
    """

    rendezvous: Rendezvous
    announces: bool
    looks: bool
    own: Slot | None = None
    asked: set[int] = field(default_factory=set)
    slots: dict[bytes, Slot] = field(default_factory=dict)


class _Session:
    """A running finder."""

    def __init__(self, settings: DhtSettings, advert: bytes, port: int, found: Found) -> None:
        self._settings, self._advert, self._port, self._found = settings, advert, port, found
        self._me = claimed_node(advert)
        self._secret = bytes.fromhex(settings.secret)
        self._elsewhere: tuple[str, ...] = ()
        self._stored = self._storers = 0  # times in a row that it was; by how many, the last time
        self._said = read_advert(advert, int(time.time()))
        self._places = self._all_places()
        self._child = Child(
            {
                "listen": settings.listen,
                "bootstrap": settings.bootstrap,
                "restricted": settings.restricted,
                "state": str(default_cache_dir() / f"dht-{self._me[:7]}"),
            },
            started=self._begin_anew,
            heard=self._heard,
        )
        self._begun = asyncio.Event()

    def tasks(self) -> tuple[Any, ...]:
        """What must run, each until cancelled."""
        return (
            self._child.keep(),
            self._repeat(FIRST_LOOKS_S, lambda: self._settings.look_ms / 1000, self.look),
            self._repeat(FIRST_REPEATS_S, self._until_published_again, self._publish),
        )

    async def update(self, advert: bytes) -> None:
        """See `mesh.core.workload.FinderSession`."""
        said, self._advert = self._said, advert
        self._said = read_advert(advert, int(time.time()))
        if (said.roles, said.serves) != (self._said.roles, self._said.serves):
            self._places = self._all_places()
        self._publish()

    def addresses_are(self, addresses: Sequence[str]) -> None:
        """See `mesh.core.workload.SaysAddresses`."""
        if tuple(addresses) != self._elsewhere:
            self._elsewhere = tuple(addresses)
            self._publish()

    def secret_is(self, secret: bytes) -> None:
        """See `mesh.core.workload.SharesSecret`; a configured one stays."""
        if not self._settings.secret and secret != self._secret:
            self._secret = secret
            self._places = self._all_places()
            self._begun.set()

    def _all_places(self) -> list[_Place]:
        """Where this node's roles are announced, and those that it wants are looked for."""
        if not self._secret:
            return []  # nobody has told this node yet
        roles, serves = set(self._said.roles), self._said.serves
        wanted = {str(role) for mine, those in WANTED.items() if mine in roles for role in those}
        return [
            _Place(Rendezvous(self._secret, role, where, what), role in roles, role in wanted)
            for role in sorted(roles | wanted)
            for where in dict.fromkeys((self._settings.region, ""))
            for what in (serves if role == Role.WORKER and serves else ("",))
        ]

    def _begin_anew(self) -> None:
        """A new process knows nothing: all is to be said and asked again."""
        self._begun.set()

    async def _repeat(
        self, first_s: Sequence[float], then_s: Callable[[], float], do: Callable[[], None]
    ) -> None:
        """Do it soon and often, then now and then; from the beginning with each new process."""
        while True:
            self._begun.clear()
            for pause_s in itertools.chain(first_s, iter(then_s, None)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._begun.wait()
                        break
                do()

    # --- this node's entry ------------------------------------------------------------------

    def _publish(self) -> None:
        """Say where this node is; the first time, draw a slot and see whether it is another's."""
        for place in self._places:
            if not place.announces:
                continue
            if place.own is None:
                place.own = place.rendezvous.slot(SLOTS.start + secrets.randbelow(len(SLOTS)))
            else:
                self._put(place, place.own)
            self._child.ask(get=place.own.public.hex())

    def _until_published_again(self) -> float:
        """Soon while nobody has stored it, or not many times yet: a table that begins is small,
        and who stored it first may be who leaves first.
        """
        self._stored = self._stored + 1 if self._storers else 0
        self._storers = 0
        return min(REPEAT_S, ALONE_S * 3.0 ** min(self._stored, 8))

    def _put(self, place: _Place, slot: Slot) -> None:
        value = seal(slot, self._advert, self._addresses())
        self._child.ask(put=[slot.private.hex(), slot.public.hex()], value=value.hex())
        for target in place.rendezvous.targets:
            self._child.ask(announce=target.hex(), slot=slot.number)

    def _addresses(self) -> list[str]:
        local = announced([address for _, address in local_addresses()])
        own = [f"[{ip}]:{self._port}" if ":" in ip else f"{ip}:{self._port}" for ip in local]
        found = dict.fromkeys((*(self._settings.addresses or own[:4]), *self._elsewhere))
        return [address for address in found if len(address) <= MAX_ADDRESS]

    # --- others' entries --------------------------------------------------------------------

    def look(self) -> None:
        """Ask again who is there."""
        self._child.ask(join=True)  # bootstrap nodes may have been away when it was last tried
        for place in self._places:
            if place.looks:
                place.asked.clear()
                for target in place.rendezvous.targets:
                    self._child.ask(peers=target.hex())

    def _heard(self, news: News) -> None:
        target = bytes.fromhex(news.peers)
        for place in self._places:
            if place.looks and target in place.rendezvous.targets:
                self._ask(place, news.slots)
        if news.stored and any(p.own and p.own.public.hex() == news.stored for p in self._places):
            self._storers = max(self._storers, news.by)
        if news.item:
            self._take(bytes.fromhex(news.item), bytes.fromhex(news.value))

    def _ask(self, place: _Place, numbers: Sequence[int]) -> None:
        """Ask for the items of slots, each once in a look. Of many, some are left out by chance."""
        new = [n for n in dict.fromkeys(numbers) if n in SLOTS and n not in place.asked]
        for number in random.sample(new, max(0, min(len(new), MOST_SLOTS - len(place.asked)))):
            place.asked.add(number)
            slot = place.rendezvous.slot(number)
            place.slots[slot.public] = slot
            self._child.ask(get=slot.public.hex())
        while len(place.slots) > 2 * MOST_SLOTS:
            del place.slots[next(iter(place.slots))]

    def _take(self, public: bytes, value: bytes) -> None:
        """An item came. Anybody may write anything there."""
        for place in self._places:
            with contextlib.suppress(ContentRefused, NotAuthorized):
                if slot := place.slots.get(public):
                    entry = unseal(slot, value)
                    self._found(entry.advert, entry.addresses)
                elif place.own is not None and place.own.public == public:
                    other = read_advert(unseal(place.own, value).advert, int(time.time()))
                    if other.node_id != self._me:
                        place.own = None  # another was there first, or drew the same since


def _unusable(why: str, fix: str) -> ConfigError:
    return ConfigError(what="[discovery.dht] cannot be used", why=why, fix=fix)
