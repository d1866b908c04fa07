"""What a realm's admins tell all of its members: bulletins, signed and numbered.

A bulletin replaces the one before of the same signer about the same thing if its sequence number is
higher. Nobody has to be online but two nodes that are linked: see `mesh.core.trust` for what they
are worth, and `mesh.node` for how they spread.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from mesh.core.errors import NotAuthorized
from mesh.core.identity import SigningKey, verify
from mesh.core.membership import Membership, Role, open_membership
from mesh.core.statement import (
    PublicKey,
    Revoked,
    UnixSeconds,
    check_realm,
    malformed,
    nobody,
    parse,
    seal,
    tampered,
    unpack,
)
from mesh.core.wire import Count

MAX_BULLETIN = 36 * 1024  # bytes
SECRET_BYTES = 32

_DOMAIN = b"bulletin/1"
_NodeId: TypeAlias = Annotated[str, Meta(min_length=39, max_length=39)]
_TokenId: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]


class Revocation(msgspec.Struct, frozen=True, tag="revocation", omit_defaults=True):
    """These are thrown out, each until the second after which what it had would have expired."""

    nodes: Annotated[dict[_NodeId, UnixSeconds], Meta(max_length=400)] = {}
    tokens: Annotated[dict[_TokenId, UnixSeconds], Meta(max_length=400)] = {}


class Secret(msgspec.Struct, frozen=True, tag="secret"):
    """What the realm's members share from now on, to find each other by (see discovery/dht)."""

    secret: Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]


class Renewal(msgspec.Struct, frozen=True, tag="renewal"):
    """A membership for the node that bears this id, in place of the one it has."""

    node: _NodeId
    membership: Annotated[bytes, Meta(max_length=4096)]


class Successor(msgspec.Struct, frozen=True, tag="successor"):
    """The realm goes on under another key. The old one is good until `retires`, in unix seconds."""

    realm: PublicKey
    retires: UnixSeconds


Says: TypeAlias = Revocation | Secret | Renewal | Successor


class Bulletin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified bulletin."""

    realm: PublicKey
    sequence: Count
    says: Says
    signer: PublicKey | None = None  # None: the realm's own key

    @property
    def about(self) -> tuple[bytes, bytes, str, str]:
        """Of two with the same, the one with the higher sequence number counts."""
        subject = self.says.node if isinstance(self.says, Renewal) else ""
        return self.realm, self.signer or self.realm, type(self.says).__name__, subject


def sign_bulletin(
    key: SigningKey,
    says: Says,
    *,
    sequence: int,
    realm_public: bytes | None = None,
    proof: bytes = b"",
) -> bytes:
    """A bulletin. key: the realm's, or an admin's, whose membership is `proof`. Raises Misuse.

    sequence: must rise with each bulletin of this signer (unix milliseconds do).
    """
    bulletin = Bulletin(
        realm=realm_public if proof and realm_public else key.public_key,
        sequence=sequence,
        says=says,
        signer=key.public_key if proof else None,
    )
    return seal(key, _DOMAIN, bulletin, what="a bulletin", membership=proof)


def verify_bulletin(
    blob: bytes, realm_public: bytes, now_s: int, revoked: Revoked = nobody
) -> Bulletin:
    """The bulletin in `blob`, if the realm's key or one of its admins signed it.

    Raises NotAuthorized: malformed, of another realm, tampered with, or signed by one who may not.
    """
    what = "a bulletin is refused"
    bulletin = read_bulletin(blob)
    envelope = unpack(blob, what, "bulletin")
    check_realm(bulletin.realm, realm_public, what, "bulletin")
    signer = bulletin.signer or realm_public
    if not verify(signer, _DOMAIN, envelope.payload, envelope.signature):
        raise tampered(what, "bulletin")
    if bulletin.signer is not None:
        admin = open_membership(
            envelope.membership, realm_public, now_s, f"{what}: its signer", revoked
        )
        _check_admin(bulletin, admin, what)
    return bulletin


def read_bulletin(blob: bytes) -> Bulletin:
    """What it says, unverified. Raises NotAuthorized."""
    what = "a bulletin is refused"
    if len(blob) > MAX_BULLETIN:
        raise malformed(what, "bulletin", f"it is longer than {MAX_BULLETIN} bytes")
    return parse(unpack(blob, what, "bulletin").payload, Bulletin, what, "bulletin")


def _check_admin(bulletin: Bulletin, admin: Membership, what: str) -> None:
    if admin.node != bulletin.signer or not admin.has(Role.ADMIN):
        raise NotAuthorized(
            what=what,
            why="its signer is no admin of the realm",
            fix="Have an admin say it.",
        )
    if isinstance(bulletin.says, Successor):
        raise NotAuthorized(
            what=what,
            why="who comes after the realm's key, that key alone can say",
            fix="Run `framemesh realm rotate` where the realm's key is.",
        )
