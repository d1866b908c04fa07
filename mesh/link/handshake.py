"""Who may be linked with: what two nodes tell each other first, and how it is judged. Pure.

After the TLS handshake who dialled sends `Hello`; the other end answers with its own once it has
accepted that one, so that a stranger learns nothing but why it is refused. An end that accepts the
other's hello answers its pings; an end that does not sends `Refuse` with the reason and nothing
else. A link is open at an end that accepted a hello and received its first pong, which says that
its own was accepted too and is the first clock sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

from mesh.core.errors import MeshError, PeerRefused, Problem
from mesh.core.identity import NodeIdentity, fingerprint
from mesh.core.membership import Membership, Role
from mesh.core.token import ClientToken
from mesh.core.trust import Trust
from mesh.core.wire import OLDEST_VERSION, PROTOCOL_VERSION, DeviceOffer, Hello
from mesh.core.workload import NodeId
from mesh.link import tls


@dataclass(eq=False)
class Credentials:
    """What this node proves itself with, and whom it believes. A membership may be renewed."""

    identity: NodeIdentity
    realm_public: bytes  # 32 raw bytes; peers must be members of this realm
    membership: bytes  # this node's own; b"" when it has none (every peer will then refuse it)
    token: str = ""  # a client's, which needs no membership
    known: InitVar[Trust | None] = None  # None: of the realm, no more than its key
    trust: Trust = field(init=False)

    def __post_init__(self, known: Trust | None) -> None:
        """Begin with what is known."""
        self.trust = known or Trust(self.realm_public)

    @cached_property
    def tls(self) -> tls.Contexts:
        """This node's TLS, set up once."""
        return tls.contexts(self.identity)


@dataclass(frozen=True, slots=True)
class Peer:
    """The node at the other end of an open link."""

    node_id: NodeId
    public_key: bytes
    membership: Membership
    hello: Hello  # its first; `devices` in it is what it offered then
    version: int  # of the protocol, the newest both speak
    address: str  # "host:port" as seen from here
    token: ClientToken | None = None  # of a client without a membership of its own


def make_hello(credentials: Credentials, devices: Sequence[DeviceOffer]) -> Hello:
    """This node's first message."""
    return Hello(
        version=PROTOCOL_VERSION,
        oldest_version=OLDEST_VERSION,
        membership=credentials.membership,
        token=credentials.token,
        software=_software(),
        devices=tuple(devices),
        lineage=credentials.trust.lineage(),
    )


def judge(
    credentials: Credentials,
    peer_public: bytes,
    hello: Hello,
    *,
    address: str,
    now_s: int,
    expect: NodeId | None = None,
) -> Peer:
    """The peer that proved `peer_public` and said `hello`, if it may be linked with.

    address is for messages; now_s is in unix seconds; expect: the only node wanted, if any.

    Raises PeerRefused (this node itself, another node than expected, no common version) or
    NotAuthorized (see `verify_membership`).
    """
    node_id = fingerprint(peer_public)
    if peer_public == credentials.identity.public_key:
        raise PeerRefused(
            what=f"no link to {address}",
            why="it is this node itself",
            fix="Dial another node's address; nodes with a copied key file need keys of their own.",
        )
    check_key(peer_public, address=address, expect=expect)
    if hello.oldest_version > PROTOCOL_VERSION or hello.version < OLDEST_VERSION:
        raise PeerRefused(
            what=f"no link between {credentials.identity.node_id} and {node_id}",
            why="no common protocol version: "
            f"{credentials.identity.node_id} speaks {_range(OLDEST_VERSION, PROTOCOL_VERSION)},"
            f" {node_id} speaks {_range(hello.oldest_version, hello.version)}",
            fix="Update framemesh on the older of the two.",
        )
    credentials.trust.take_lineage(hello.lineage, now_s)
    token = None
    if hello.token and not hello.membership:
        token = credentials.trust.token(hello.token, now_s)
        membership = _membership_of(token, peer_public)
    else:
        membership = credentials.trust.membership(hello.membership, peer_public, now_s)
    spoken = min(hello.version, PROTOCOL_VERSION)
    return Peer(node_id, peer_public, membership, hello, spoken, address, token)


def check_key(peer_public: bytes, *, address: str, expect: NodeId | None) -> None:
    """Raises PeerRefused unless it is the key of the node that is wanted there."""
    node_id = fingerprint(peer_public)
    if expect is not None and node_id != expect:
        raise PeerRefused(
            what=f"no link to {address}",
            why=f"node {node_id} answers there, and {expect} was expected",
            fix="Look the node's address up again.",
        )


def _membership_of(token: ClientToken, peer_public: bytes) -> Membership:
    """What a token is worth on a link: a client's role until it expires, for whoever holds it."""
    return Membership(
        realm=token.realm,
        node=peer_public,
        roles=frozenset({Role.CLIENT.value}),
        not_before=token.not_before,
        not_after=token.not_after,
        name=token.subject,
    )


def refused_by(address: str, problem: Problem) -> PeerRefused:
    """What the refused side raises for the reason it was told."""
    return PeerRefused(
        what=f"{address} refused the link",
        why=_one_line(f"{problem.what}: {problem.why}"),
        fix=_one_line(problem.fix),
    )


def refused_here(address: str, reason: MeshError) -> PeerRefused:
    """What the refusing side raises where its caller expects to hear of refusals either way."""
    return PeerRefused(
        what=f"this node refused {address}", why=f"{reason.what}: {reason.why}", fix=reason.fix
    )


def _range(oldest: int, newest: int) -> str:
    return str(newest) if oldest == newest else f"{oldest} to {newest}"


def _one_line(text: str) -> str:
    """Text from outside, fit for a log: nothing in it moves the cursor or starts a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _software() -> str:
    try:
        return f"framemesh {version('framemesh')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "framemesh"
