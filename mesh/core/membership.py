"""What proves that a node belongs to a realm.

A *membership* is a signed statement: this node key has these roles from then until then. The
realm's key signs it, or whoever the realm's key lets admit others: an admin, or an *invitation*, a
key made for the purpose that travels to the new node, which signs with it for itself. The proof of
the signer's right travels inside, so that a chain of at most `MAX_CHAIN` statements ends at the
realm's key and needs nobody to be asked. Each step may only grant what the one above it was given.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from mesh.core.errors import NotAuthorized
from mesh.core.identity import SigningKey, fingerprint, verify
from mesh.core.statement import (
    Envelope,
    PublicKey,
    Revoked,
    UnixSeconds,
    check_realm,
    check_times,
    malformed,
    nobody,
    not_signed,
    parse,
    seal,
    tampered,
    thrown_out,
    unpack,
)
from mesh.core.wire import Name

MAX_MEMBERSHIP = 4096  # bytes; Hello carries one
MAX_CHAIN = 3  # a node's, its invitation's, its admin's

_DOMAIN = b"membership/1"


class Role(StrEnum):
    """What a node may do in its realm."""

    WORKER = "worker"
    GATEWAY = "gateway"
    RELAY = "relay"
    CLIENT = "client"
    ADMIN = "admin"
    INVITATION = "invitation"  # no node's: of a key that admits the nodes it is given to


# What an admin may grant. Who is admin, the realm's own key says.
GRANTED_BY_ADMINS = (Role.WORKER, Role.GATEWAY, Role.RELAY, Role.CLIENT)


class Membership(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified membership. Roles this version does not know are kept and mean nothing."""

    realm: PublicKey
    node: PublicKey
    roles: Annotated[frozenset[Name], Meta(max_length=16)]
    not_before: UnixSeconds
    not_after: UnixSeconds  # first second in which it no longer holds
    name: Name = ""  # for people; proves nothing
    signer: PublicKey | None = None  # None: the realm's own key
    admits: Annotated[frozenset[Name], Meta(max_length=16)] = frozenset()  # roles it may grant
    # Workloads that its devices may serve; empty: all.
    capabilities: Annotated[frozenset[Name], Meta(max_length=16)] = frozenset()
    region: Annotated[str, Meta(max_length=32)] = ""  # where the node is, in the owner's words

    def has(self, *roles: Role) -> bool:
        """Whether it grants at least one of `roles`."""
        return any(role in self.roles for role in roles)

    def may_serve(self, workload: str) -> bool:
        """Whether the node's devices may be given pieces of this workload."""
        return not self.capabilities or workload in self.capabilities


def sign_membership(
    key: SigningKey,
    *,
    node_public: bytes,
    roles: Collection[Role],
    not_before: int,
    not_after: int,
    name: str = "",
    admits: Collection[Role] = (),
    capabilities: Collection[str] = (),
    region: str = "",
    realm_public: bytes | None = None,
    proof: bytes = b"",
) -> bytes:
    """Admit a node (32-byte public key) to the realm, in unix seconds.

    key: the realm's; or that of an admin or an invitation, whose own membership is `proof`, of the
    realm `realm_public`. Raises Misuse.
    """
    own = not proof
    membership = Membership(
        realm=key.public_key if own else realm_public or b"",
        node=node_public,
        roles=frozenset(map(str, roles)),
        not_before=not_before,
        not_after=not_after,
        name=name,
        signer=None if own else key.public_key,
        admits=frozenset(map(str, admits)),
        capabilities=frozenset(capabilities),
        region=region,
    )
    if not membership.roles or not_before >= not_after:
        raise not_signed("a membership", "it needs a role, and a beginning before its end")
    blob = seal(key, _DOMAIN, membership, what="a membership", membership=proof)
    if len(blob) > MAX_MEMBERSHIP:
        raise not_signed("a membership", f"it is longer than {MAX_MEMBERSHIP} bytes")
    return blob


def verify_membership(
    blob: bytes,
    realm_public: bytes,
    node_public: bytes,
    now_s: int,
    revoked: Revoked = nobody,
) -> Membership:
    """The membership `blob` proves for the holder of `node_public` at `now_s` (unix seconds).

    Raises NotAuthorized: none presented, malformed, of another realm, tampered with, for another
    node's key, signed by one who may not, revoked, not yet valid, or expired.
    """
    what = "the node is not admitted to the realm"
    if not blob:
        raise NotAuthorized(
            what=what,
            why="it presented no membership",
            fix="Have the realm's owner run `framemesh realm sign` for it, then run"
            " `framemesh realm join` there.",
        )
    membership = open_membership(blob, realm_public, now_s, what, revoked)
    if membership.node != node_public:
        raise NotAuthorized(
            what=what,
            why="the membership it presented is another node's, "
            f"{fingerprint(membership.node)}, and this is {fingerprint(node_public)}",
            fix="Have a membership signed for this node's own id (`framemesh id` prints it).",
        )
    return membership


def read_membership(
    blob: bytes, node_public: bytes, now_s: int, revoked: Revoked = nobody
) -> Membership:
    """The membership in `blob`, whichever realm's it is: for a node that joins one.

    Proves that the realm it names signed it, not that this realm deserves any trust.
    Raises NotAuthorized like `verify_membership`.
    """
    realm = claimed_realm(blob, "the membership cannot be used")
    return verify_membership(blob, realm, node_public, now_s, revoked)


def claimed_realm(blob: bytes, what: str) -> bytes:
    """The realm a membership names, unverified. Raises NotAuthorized."""
    return _unpack(blob, what)[1].realm


def open_membership(
    blob: bytes,
    realm_public: bytes,
    now_s: int,
    what: str,
    revoked: Revoked = nobody,
    *,
    chain: int = MAX_CHAIN,
) -> Membership:
    """Everything about a membership but whose it is. Raises NotAuthorized."""
    envelope, membership = _unpack(blob, what)
    check_realm(membership.realm, realm_public, what, "membership")
    signer = membership.signer or realm_public
    if not verify(signer, _DOMAIN, envelope.payload, envelope.signature):
        raise tampered(what, "membership")
    if membership.signer is not None:
        if chain <= 1:
            raise _may_not(what, membership, "the chain of its signers is too long")
        above = open_membership(
            envelope.membership,
            realm_public,
            now_s,
            f"{what}: its membership's signer",
            revoked,
            chain=chain - 1,
        )
        _check_step(membership, above, what)
    if revoked(membership.node):
        raise thrown_out(what, f"the key {fingerprint(membership.node)}")
    check_times(membership, now_s, what, "membership")
    return membership


def _unpack(blob: bytes, what: str) -> tuple[Envelope, Membership]:
    if len(blob) > MAX_MEMBERSHIP:
        raise malformed(what, "membership", f"it is longer than {MAX_MEMBERSHIP} bytes")
    envelope = unpack(blob, what, "membership")
    return envelope, parse(envelope.payload, Membership, what, "membership")


def _check_step(granted: Membership, above: Membership, what: str) -> None:
    """Raises NotAuthorized unless `above` may grant all that `granted` says."""
    if above.node != granted.signer:
        raise _may_not(what, granted, "the proof in it is another key's")
    may = above.admits | ({Role.INVITATION.value} if above.has(Role.ADMIN) else frozenset())
    beyond = (granted.roles - may) | (granted.admits - above.admits)
    if beyond:
        raise _may_not(what, granted, f"that key may not grant {', '.join(sorted(beyond))}")
    if granted.admits and not granted.has(Role.INVITATION):
        raise _may_not(what, granted, "only invitations admit others in its name")
    if above.capabilities and not (
        granted.capabilities and granted.capabilities <= above.capabilities
    ):
        raise _may_not(what, granted, "that key may not grant all those capabilities")


def _may_not(what: str, membership: Membership, why: str) -> NotAuthorized:
    signer = fingerprint(membership.signer) if membership.signer else "the realm"
    return NotAuthorized(
        what=what,
        why=f"its membership was signed by {signer}, and {why}",
        fix="Have a membership signed by an admin of the realm.",
    )
