"""What a node can say of its way to others: its NAT, and how each peer is linked.

In the words of RFC 4787 (4.1) and RFC 5780: a NAT's *mapping* is endpoint-independent if others see
this node at one address whoever they are, which lets two such nodes connect to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from mesh.core.errors import MeshError
from mesh.core.membership import Role
from mesh.link.transport import Link
from mesh.reach import Reach

MappingKind: TypeAlias = Literal[
    "none", "endpoint-independent", "endpoint-dependent", "one view", "unknown"
]

SAYS: Mapping[MappingKind, str] = {
    "none": "no NAT: others see this machine's own address",
    "endpoint-independent": "a NAT that others can be met through (punched)",
    "endpoint-dependent": "a symmetric NAT: direct only to who has none; otherwise by a relay",
    "one view": "a NAT; one relay more would tell of which kind",
    "unknown": "no relay is linked, so nobody says how this node is seen",
}


class PathTo(msgspec.Struct, frozen=True):
    """One linked peer. path: "direct", "punched", "relayed"."""

    node: str
    name: str
    roles: tuple[str, ...]
    path: str
    address: str
    rtt_ms: float


class NetReport(msgspec.Struct, frozen=True):
    """What was found. reachable: whether a relay could connect to where it sees this node."""

    node: str
    port: int
    mapping: MappingKind
    seen_at: tuple[str, ...]
    reachable: bool | None
    peers: tuple[PathTo, ...]


async def check(
    node: str, port: int, local: Iterable[str], reach: Reach, links: Iterable[Link]
) -> NetReport:
    """Ask the linked relays. local: this machine's own IP addresses."""
    links = list(links)
    relays = [k for k in links if k.peer.membership.has(Role.RELAY) and k.from_port == port]
    seen = [at for k in relays if (at := reach.seen_at.get(k.peer.node_id))]
    reachable: bool | None = None
    for relay in relays:
        try:
            reachable = await reach.reachable(relay) or bool(reachable)
        except MeshError:
            continue  # this one does not answer; another may
    return NetReport(
        node,
        port,
        mapping_of(seen, set(local)),
        tuple(dict.fromkeys(seen)),
        reachable,
        tuple(_path_to(link) for link in links),
    )


def mapping_of(seen: list[str], local: set[str]) -> MappingKind:
    """What can be concluded from the addresses at which different relays see one port."""
    if not seen:
        return "unknown"
    if all(at.rpartition(":")[0].strip("[]") in local for at in seen):
        return "none"
    if len(set(seen)) > 1:
        return "endpoint-dependent"
    return "endpoint-independent" if len(seen) > 1 else "one view"


def _path_to(link: Link) -> PathTo:
    peer = link.peer
    return PathTo(
        peer.node_id,
        peer.membership.name,
        tuple(sorted(peer.membership.roles)),
        link.path,
        link.address,
        link.clock.rtt_us / 1000,
    )
