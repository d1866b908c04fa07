"""How a node is told that it belongs: admissions and invitations, each one line of text.

An *admission* is for one node: its membership, and sealed for it alone what the realm's members
share. An *invitation* is for whoever holds it: a key with a membership that may admit, so that a
new node signs its own with it and nobody has to be online. Show it to nobody else.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Sequence
from typing import Annotated, NamedTuple, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from mesh.core.errors import IdentityError
from mesh.core.home import NodeHome, Signer
from mesh.core.identity import NodeIdentity, SigningKey, fingerprint
from mesh.core.membership import (
    GRANTED_BY_ADMINS,
    Membership,
    Role,
    sign_membership,
    verify_membership,
)
from mesh.core.sealing import seal_to, unseal
from mesh.core.trust import Trust
from mesh.core.wire import MALFORMED

ADMISSION = "framemesh-admission-1"
INVITE = "framemesh-invite-1"
DAY_S = 86_400
SKEW_S = 300  # clocks of two machines differ a little
MAX_TOLD = 8  # bulletins in one line
_LATEST = 6 * 1024  # bytes of them

_Address = Annotated[str, Meta(max_length=260)]


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What members know: the root of their belief, the newest bulletins, and where some are."""

    realm: Annotated[bytes, Meta(min_length=32, max_length=32)]
    bulletins: Annotated[tuple[bytes, ...], Meta(max_length=MAX_TOLD)] = ()
    contacts: Annotated[tuple[_Address, ...], Meta(max_length=8)] = ()


class Admission(msgspec.Struct, frozen=True, array_like=True):
    """For one node. sealed: `Told`, readable by that node alone."""

    membership: Annotated[bytes, Meta(max_length=4096)]
    sealed: Annotated[bytes, Meta(max_length=8192)]

    @classmethod
    def make(
        cls, membership: bytes, node_public: bytes, trust: Trust, contacts: Sequence[str] = ()
    ) -> Self:
        """For the node with that key. Raises IdentityError."""
        told = msgspec.msgpack.encode(_told(trust, contacts))
        return cls(membership, seal_to(node_public, told))

    def encode(self) -> bytes:
        """As it travels."""
        return msgspec.msgpack.encode(self)


class Invite(msgspec.Struct, frozen=True, array_like=True):
    """For whoever holds it. seed: of the Ed25519 key that admits its holder."""

    seed: Annotated[bytes, Meta(min_length=32, max_length=32)]
    membership: Annotated[bytes, Meta(max_length=2048)]
    told: Told


class Opened(NamedTuple):
    """An admission that its node has read."""

    membership: bytes
    told: Told
    identity: NodeIdentity  # whom it is for


def open_admission(identities: Sequence[NodeIdentity], blob: bytes) -> Opened:
    """What an admission says to one of these; `identity` is whom. Raises IdentityError."""
    try:
        admission = msgspec.msgpack.decode(blob, type=Admission)
        for identity in identities[:-1]:
            with contextlib.suppress(IdentityError):
                return _opened(identity, admission)
        return _opened(identities[-1], admission)
    except MALFORMED as problem:
        raise _unreadable("an admission", str(problem)) from problem


def _opened(identity: NodeIdentity, admission: Admission) -> Opened:
    told = msgspec.msgpack.decode(unseal(identity, admission.sealed), type=Told)
    return Opened(admission.membership, told, identity)


def accept(home: NodeHome, opened: Opened, now_s: int) -> Membership:
    """Install what this node was admitted with. Raises NotAuthorized if it does not hold."""
    trust = Trust(opened.told.realm, opened.told.bulletins, now_s)
    member = trust.membership(opened.membership, opened.identity.public_key, now_s)
    home.join(opened.identity, opened.membership, trust)
    if opened.told.contacts:
        home.keep_contacts(opened.told.contacts)
    return member


def sign_for(
    home: NodeHome,
    node_public: bytes,
    *,
    roles: Collection[Role],
    days: float,
    name: str,
    now_s: int,
    capabilities: Collection[str] = (),
    region: str = "",
) -> bytes:
    """A membership by whoever signs on this machine, noted here. Raises MeshError."""
    signer = home.signer(now_s)
    blob = sign_membership(
        signer.key,
        node_public=node_public,
        roles=roles,
        not_before=now_s - SKEW_S,
        not_after=now_s + round(days * DAY_S),
        name=name,
        admits=GRANTED_BY_ADMINS if Role.ADMIN in roles else (),
        capabilities=capabilities,
        region=region,
        realm_public=signer.realm_public,
        proof=signer.proof,
    )
    # What this key may not grant is found out here, and not by the node that comes with it.
    member = home.trust(now_s).membership(blob, node_public, now_s)
    home.note_issued({fingerprint(node_public): member})
    return blob


def make_invite(
    signer: Signer,
    trust: Trust,
    *,
    roles: Collection[Role],
    not_before: int,
    not_after: int,
    contacts: Sequence[str] = (),
    capabilities: Collection[str] = (),
    region: str = "",
) -> bytes:
    """An invitation, valid in unix seconds. Raises Misuse."""
    seed = secrets.token_bytes(32)
    key = _key(seed)
    membership = sign_membership(
        signer.key,
        node_public=key.public_key,
        roles=(Role.INVITATION,),
        not_before=not_before,
        not_after=not_after,
        admits=roles,
        capabilities=capabilities,
        region=region,
        realm_public=signer.realm_public,
        proof=signer.proof,
    )
    told = _told(trust, contacts)
    return msgspec.msgpack.encode(Invite(seed, membership, told))


def read_invite(blob: bytes) -> Invite:
    """Raises IdentityError."""
    try:
        return msgspec.msgpack.decode(blob, type=Invite)
    except MALFORMED as problem:
        raise _unreadable("an invitation", str(problem)) from problem


def use_invite(home: NodeHome, invite: Invite, name: str, now_s: int) -> Membership:
    """Sign this node's membership by an invitation, and install it. Raises NotAuthorized."""
    key, identity = _key(invite.seed), home.identity()
    trust = Trust(invite.told.realm, invite.told.bulletins, now_s)
    invited = trust.membership(invite.membership, key.public_key, now_s)
    blob = sign_membership(
        key,
        node_public=identity.public_key,
        roles=[Role(role) for role in invited.admits if role in [*Role]],
        not_before=invited.not_before,
        not_after=invited.not_after,
        name=name,
        capabilities=invited.capabilities,
        region=invited.region,
        realm_public=invited.realm,
        proof=invite.membership,
    )
    verify_membership(blob, invited.realm, identity.public_key, now_s, trust.is_revoked)
    return accept(home, Opened(blob, invite.told, identity), now_s)


def _told(trust: Trust, contacts: Sequence[str]) -> Told:
    """As much as fits into a line; the rest is told by the first member that is linked."""
    kept: list[bytes] = []
    for blob in trust.essentials():
        if len(kept) < MAX_TOLD and sum(map(len, kept)) + len(blob) <= _LATEST:
            kept.append(blob)
    return Told(trust.realm, tuple(kept), tuple(contacts[:8]))


def _key(seed: bytes) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


def _unreadable(what: str, why: str) -> IdentityError:
    return IdentityError(
        what=f"{what} cannot be used",
        why=why,
        fix="Copy the whole line again from where it was made.",
    )
