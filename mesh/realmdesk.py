"""What a node does about its realm while it runs: spreads what admins say, and acts on it.

Bulletins (see `mesh.core.bulletin`) go to every linked member when they are news, and all of them
to whoever links: the revocation of a node is known everywhere as soon as it could be. A link whose
other end is not believed any more is ended at once, its membership's end included.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

from mesh.core.errors import MeshError, NotAuthorized, ProtocolViolation
from mesh.core.home import NodeHome
from mesh.core.membership import Membership, Role, read_membership
from mesh.core.wire import RealmNews, Renewed
from mesh.link.handshake import Credentials
from mesh.link.transport import Link

log = logging.getLogger(__name__)

CHECK_S = 1.0  # between looks whether what was believed still holds
MAX_REFUSALS = 64  # of bulletins from one link: an honest one may know less than this node
# Who belongs to the realm, and not just to its clients.
NODES = (Role.WORKER, Role.GATEWAY, Role.RELAY, Role.ADMIN)


class RealmDesk:
    """The realm's affairs on one node."""

    def __init__(
        self,
        home: NodeHome,
        credentials: Credentials,
        member: Membership,
        *,
        links: Callable[[], Iterable[Link]],
        changed: Callable[[], None],
        checked: Callable[[], None],
    ) -> None:
        """changed: called after something that is believed has changed; checked: at each look."""
        self.member = member
        self._home = home
        self._credentials = credentials
        self._links = links
        self._changed = changed
        self._checked = checked
        self._refusals: Counter[int] = Counter()  # by link
        self._dirty = asyncio.Event()
        self._seen: dict[str, Membership] = {}  # members linked since the last writing
        self._keeps_members = home.path.joinpath("realm.key").exists()

    def welcome(self, link: Link) -> None:
        """A link is open: a member is told all that this node was told."""
        member = link.peer.membership
        if not member.has(*NODES):
            return
        for blob in self._credentials.trust.bulletins():
            link.send(RealmNews(blob))
        if link.peer.hello.lineage:
            self._dirty.set()
            self._changed()
        if self._keeps_members:
            self._seen[link.peer.node_id] = member
            self._dirty.set()

    def gone(self, link: Link) -> None:
        """A link ended."""
        self._refusals.pop(id(link), None)

    def received(self, link: Link, message: RealmNews | Renewed) -> None:
        """What a peer says. A MeshError closes the link."""
        if not link.peer.membership.has(*NODES):
            raise ProtocolViolation(
                what=f"{type(message).__name__} from {link.peer.membership.name} is refused",
                why="its sender is a client",
                fix="Update the sender; this link is closed.",
            )
        if isinstance(message, Renewed):
            trust, now_s = self._credentials.trust, int(time.time())
            link.renewed(trust.membership(message.membership, link.peer.public_key, now_s))
        else:
            self._told(message.bulletin, link)

    def reread(self) -> None:
        """Another process has put bulletins into the state directory: they are news."""
        for blob in self._home.trust(int(time.time())).bulletins():
            self.tell(blob)

    def tell(self, blob: bytes) -> None:
        """Believe a bulletin from this machine, and spread it. Raises NotAuthorized."""
        if self._credentials.trust.take(blob, int(time.time())):
            self._spread(blob, None)

    async def keep(self) -> None:
        """Write down what changes, and end what no longer holds, until cancelled."""
        try:
            while True:
                try:
                    async with asyncio.timeout(CHECK_S):
                        await self._dirty.wait()
                except TimeoutError:
                    self.enforce()
                    continue
                self._dirty.clear()
                await asyncio.to_thread(self._write, self._credentials.trust.bulletins())
        finally:
            self._write(self._credentials.trust.bulletins())

    def enforce(self) -> None:
        """End the links of whoever is not believed any more."""
        now_s, trust = int(time.time()), self._credentials.trust
        for link in list(self._links()):
            peer = link.peer
            held = trust.holds_token(peer.token, now_s) if peer.token else True
            if held and (peer.token or trust.holds(peer.membership, now_s)):
                continue
            why = _no_longer(peer.membership)
            log.warning("%s is hung up on: %s", peer.membership.name, why.why)
            link.end(why, tell=True)
        self._checked()

    def _told(self, blob: bytes, link: Link) -> None:
        try:
            news = self._credentials.trust.take(blob, int(time.time()))
        except NotAuthorized as problem:
            self._refusals[id(link)] += 1
            if self._refusals[id(link)] > MAX_REFUSALS:
                raise
            log.info("from %s: %s", link.peer.membership.name, problem)
            return
        if news:
            self._spread(blob, link)

    def _spread(self, blob: bytes, origin: Link | None) -> None:
        for link in list(self._links()):
            if link is not origin and link.peer.membership.has(*NODES):
                link.send(RealmNews(blob))
        self._dirty.set()
        self._renew()
        self.enforce()
        self._changed()

    def _renew(self) -> None:
        """Take up the membership that an admin has made for this node, if there is a newer one."""
        credentials, now_s = self._credentials, int(time.time())
        blob = credentials.trust.renewal(credentials.identity.node_id)
        if blob is None or blob == credentials.membership:
            return
        try:
            self.member = credentials.trust.membership(blob, credentials.identity.public_key, now_s)
        except MeshError as problem:
            log.warning("a membership made for this node is not used: %s", problem)
            return
        credentials.membership, credentials.realm_public = blob, self.member.realm
        log.info("this node's membership is renewed")
        for link in list(self._links()):
            if link.peer.membership.has(*NODES):
                link.send(Renewed(blob))

    def _write(self, blobs: list[bytes]) -> None:
        seen, self._seen = self._seen, {}
        try:
            self._home.keep_bulletins(blobs, int(time.time()))
            if self._credentials.membership != self._home.membership():
                self._home.install_membership(self._credentials.membership)
            if seen:
                self._home.note_issued(seen)
        except (OSError, MeshError) as problem:
            log.warning("what admins said is not written down: %s", problem)


def own_membership(credentials: Credentials) -> Membership:
    """What a node that starts may be. Raises NotAuthorized if it was revoked meanwhile."""
    return read_membership(
        credentials.membership,
        credentials.identity.public_key,
        int(time.time()),
        credentials.trust.is_revoked,
    )


def _no_longer(member: Membership) -> NotAuthorized:
    return NotAuthorized(
        what=f"the link with {member.name or 'a member'} is ended",
        why="what it was admitted by was revoked, or has expired",
        fix="Ask an admin of the realm.",
    )
