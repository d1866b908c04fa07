"""What proves that a node belongs to a realm, and that a client may use it.

A *membership* is a statement signed by the realm's key: this node key has these roles from then
until then. A *client token* is a statement signed by the realm's key, or by a node whose own
membership (carried in the token, a chain of exactly one step) makes it a gateway or admin.
Both are MessagePack inside a signed envelope, bounded in size, with a signature domain each.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from mesh.core.errors import Misuse, NotAuthorized
from mesh.core.identity import RealmKey, SigningKey, fingerprint, verify
from mesh.core.wire import MALFORMED, Name

MAX_MEMBERSHIP = 4096  # bytes; Hello carries one
MAX_TOKEN = 4096  # characters; it must fit into an HTTP header

_MEMBERSHIP_DOMAIN = b"membership/1"
_TOKEN_DOMAIN = b"client-token/1"
_TOKEN_PREFIX = "fm1."  # noqa: S105  marks the format, opens nothing

PublicKey: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
UnixSeconds: TypeAlias = Annotated[int, Meta(ge=0, lt=2**40)]


class Role(StrEnum):
    """What a node may do in its realm."""

    WORKER = "worker"
    GATEWAY = "gateway"
    RELAY = "relay"
    CLIENT = "client"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a client may do at a gateway."""

    VIEW = "view"  # watch sessions and their statistics
    CONTROL = "control"  # open render sessions and steer them
    INFER = "infer"  # open inference sessions and feed them


class Membership(msgspec.Struct, frozen=True):
    """A verified membership. Roles this version does not know are kept and mean nothing."""

    realm: PublicKey
    node: PublicKey
    roles: Annotated[frozenset[Name], Meta(max_length=16)]
    not_before: UnixSeconds
    not_after: UnixSeconds  # first second in which it no longer holds
    name: Name = ""  # for people; proves nothing

    def has(self, *roles: Role) -> bool:
        """Whether it grants at least one of `roles`."""
        return any(role in self.roles for role in roles)


class ClientToken(msgspec.Struct, frozen=True):
    """A verified client token."""

    id: Annotated[bytes, Meta(min_length=16, max_length=16)]  # random; for revocation and logs
    realm: PublicKey
    signer: PublicKey
    subject: Name  # who it was made for
    scopes: Annotated[frozenset[Name], Meta(max_length=16)]
    not_before: UnixSeconds
    not_after: UnixSeconds

    def require(self, scope: Scope) -> None:
        """Raises NotAuthorized if the token does not grant `scope`."""
        if scope not in self.scopes:
            granted = ", ".join(sorted(self.scopes)) or "nothing"
            raise NotAuthorized(
                what=f"'{scope}' is not allowed",
                why=f"the token of '{self.subject}' grants {granted}",
                fix=f"Ask the gateway's owner for a token with the scope '{scope}'.",
            )


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    """Signed bytes as they travel; what was signed is checked as received, never re-encoded."""

    payload: Annotated[bytes, Meta(max_length=2048)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    membership: Annotated[bytes, Meta(max_length=2048)] = b""  # the signer's, in tokens


_Statement = TypeVar("_Statement", Membership, ClientToken)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_envelope = msgspec.msgpack.Decoder(_Envelope).decode

# --- memberships ----------------------------------------------------------------------------


def sign_membership(
    realm_key: RealmKey,
    *,
    node_public: bytes,
    roles: Collection[Role],
    not_before: int,
    not_after: int,
    name: str = "",
) -> bytes:
    """Admit a node (32-byte public key) to the realm, in unix seconds. Raises Misuse."""
    membership = Membership(
        realm=realm_key.public_key,
        node=node_public,
        roles=frozenset(map(str, roles)),
        not_before=not_before,
        not_after=not_after,
        name=name,
    )
    if not membership.roles or not_before >= not_after:
        raise _not_signed("a membership", "it needs a role, and a beginning before its end")
    return _seal(realm_key, _MEMBERSHIP_DOMAIN, membership, what="a membership")


def verify_membership(
    blob: bytes, realm_public: bytes, node_public: bytes, now_s: int
) -> Membership:
    """The membership `blob` proves for the holder of `node_public` at `now_s` (unix seconds).

    Raises NotAuthorized: none presented, malformed, of another realm, tampered with, for another
    node's key, not yet valid, or expired.
    """
    what = "the node is not admitted to the realm"
    if not blob:
        raise NotAuthorized(
            what=what,
            why="it presented no membership",
            fix="Have the realm's owner run `framemesh realm sign` for it, then run"
            " `framemesh realm join` there.",
        )
    if len(blob) > MAX_MEMBERSHIP:
        raise _malformed(what, "membership", f"it is longer than {MAX_MEMBERSHIP} bytes")
    membership = _open_membership(blob, realm_public, now_s, what)
    if membership.node != node_public:
        raise NotAuthorized(
            what=what,
            why="the membership it presented is another node's, "
            f"{fingerprint(membership.node)}, and this is {fingerprint(node_public)}",
            fix="Have a membership signed for this node's own id (`framemesh id` prints it).",
        )
    return membership


def read_membership(blob: bytes, node_public: bytes, now_s: int) -> Membership:
    """The membership in `blob`, whichever realm's it is: for a node that joins one.

    Proves that the realm it names signed it, not that this realm deserves any trust.
    Raises NotAuthorized like `verify_membership`.
    """
    what = "the membership cannot be used"
    envelope = _unpack(blob, what, "membership")
    claimed = _parse(envelope.payload, Membership, what, "membership")
    return verify_membership(blob, claimed.realm, node_public, now_s)


def _open_membership(blob: bytes, realm_public: bytes, now_s: int, what: str) -> Membership:
    """Everything about a membership but whose it is."""
    envelope = _unpack(blob, what, "membership")
    membership = _parse(envelope.payload, Membership, what, "membership")
    _check_realm(membership.realm, realm_public, what, "membership")
    if not verify(realm_public, _MEMBERSHIP_DOMAIN, envelope.payload, envelope.signature):
        raise _tampered(what, "membership")
    _check_times(membership, now_s, what, "membership")
    return membership


# --- client tokens --------------------------------------------------------------------------


def sign_token(
    key: SigningKey,
    *,
    realm_public: bytes,
    subject: str,
    scopes: Collection[Scope],
    not_before: int,
    not_after: int,
    membership: bytes = b"",
) -> str:
    """A URL-safe token for a client, valid in unix seconds [not_before, not_after).

    key: the realm's, or a node's whose `membership` (then required) has the role gateway or admin.
    Raises Misuse.
    """
    token = ClientToken(
        id=secrets.token_bytes(16),
        realm=realm_public,
        signer=key.public_key,
        subject=subject,
        scopes=frozenset(map(str, scopes)),
        not_before=not_before,
        not_after=not_after,
    )
    if not token.scopes or not_before >= not_after:
        raise _not_signed("a client token", "it needs a scope, and a beginning before its end")
    if (key.public_key == realm_public) == bool(membership):
        raise _not_signed(
            "a client token", "a node signs with its membership, the realm's own key without one"
        )
    blob = _seal(key, _TOKEN_DOMAIN, token, what="a client token", membership=membership)
    text = _TOKEN_PREFIX + base64.urlsafe_b64encode(blob).rstrip(b"=").decode("ascii")
    if len(text) > MAX_TOKEN:
        raise _not_signed("a client token", f"it is longer than {MAX_TOKEN} characters")
    return text


def token_of(membership: Membership) -> ClientToken:
    """What a member with the client's role may do, in the form of a token: everything."""
    return ClientToken(
        id=bytes(16),
        realm=membership.realm,
        signer=membership.realm,
        subject=membership.name,
        scopes=frozenset(map(str, Scope)),
        not_before=membership.not_before,
        not_after=membership.not_after,
    )


def verify_token(token: str, realm_public: bytes, now_s: int) -> ClientToken:
    """The client token in `token`, believed by a gateway of the realm at `now_s` (unix seconds).

    Raises NotAuthorized: missing, malformed, of another realm, tampered with, signed by a node
    that may not sign tokens, not yet valid, or expired (its signer's membership included).
    """
    what = "the client is not authorised"
    if not token:
        raise NotAuthorized(
            what=what,
            why="it presented no token",
            fix="Get one from the gateway's owner (`framemesh realm token` makes them) and open the"
            " page with it.",
        )
    envelope = _unpack(_token_bytes(token, what), what, "token")
    opened = _parse(envelope.payload, ClientToken, what, "token")
    _check_realm(opened.realm, realm_public, what, "token")
    if not verify(opened.signer, _TOKEN_DOMAIN, envelope.payload, envelope.signature):
        raise _tampered(what, "token")
    if opened.signer != realm_public:
        _check_signer(opened, envelope.membership, realm_public, now_s, what)
    _check_times(opened, now_s, what, "token")
    return opened


def read_token(token: str, now_s: int) -> ClientToken:
    """The client token in `token`, whichever realm's it is: for the client that holds it.

    Proves that the realm it names stands behind it, not that this realm deserves any trust.
    Raises NotAuthorized like `verify_token`.
    """
    what = "the token cannot be used"
    envelope = _unpack(_token_bytes(token, what), what, "token")
    claimed = _parse(envelope.payload, ClientToken, what, "token")
    return verify_token(token, claimed.realm, now_s)


def _check_signer(
    token: ClientToken, membership: bytes, realm_public: bytes, now_s: int, what: str
) -> None:
    if not membership:
        raise NotAuthorized(
            what=what,
            why=f"its token was signed by {fingerprint(token.signer)}, with no proof that the"
            " realm trusts that key",
            fix="Get a token made by one of the realm's gateways.",
        )
    signer = _open_membership(membership, realm_public, now_s, f"{what}: its token's signer")
    if signer.node != token.signer or not signer.has(Role.GATEWAY, Role.ADMIN):
        raise NotAuthorized(
            what=what,
            why=f"its token was signed by {fingerprint(token.signer)}, which is no gateway or"
            " admin of the realm",
            fix="Get a token made by one of the realm's gateways.",
        )


def _token_bytes(token: str, what: str) -> bytes:
    if len(token) > MAX_TOKEN:
        raise _malformed(what, "token", f"it is longer than {MAX_TOKEN} characters")
    if not token.startswith(_TOKEN_PREFIX):
        raise _malformed(what, "token", f"it does not start with '{_TOKEN_PREFIX}'")
    text = token.removeprefix(_TOKEN_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise _malformed(what, "token", "it is not base64url text") from problem


# --- shared ---------------------------------------------------------------------------------


def _seal(
    key: SigningKey, domain: bytes, statement: _Statement, *, what: str, membership: bytes = b""
) -> bytes:
    payload = _encode(statement)
    try:
        msgspec.msgpack.decode(payload, type=type(statement))  # the bounds its readers will check
        blob = _encode(_Envelope(payload, key.sign(domain, payload), membership))
        _decode_envelope(blob)
    except msgspec.ValidationError as problem:
        raise _not_signed(what, str(problem)) from problem
    return blob


def _unpack(blob: bytes, what: str, noun: str) -> _Envelope:
    try:
        return _decode_envelope(blob)
    except MALFORMED as problem:
        raise _malformed(what, noun, str(problem)) from problem


def _parse(payload: bytes, kind: type[_Statement], what: str, noun: str) -> _Statement:
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except MALFORMED as problem:
        raise _malformed(what, noun, str(problem)) from problem


def _check_realm(claimed: bytes, realm_public: bytes, what: str, noun: str) -> None:
    if claimed != realm_public:
        raise NotAuthorized(
            what=what,
            why=f"its {noun} is of another realm, {fingerprint(claimed)}, and this is"
            f" {fingerprint(realm_public)}",
            fix=f"Use a {noun} that was made for this realm.",
        )


def _check_times(statement: Membership | ClientToken, now_s: int, what: str, noun: str) -> None:
    if now_s < statement.not_before:
        raise NotAuthorized(
            what=what,
            why=f"its {noun} is not valid for another {statement.not_before - now_s} s",
            fix="Wait, or set the clocks of both machines right (`timedatectl`).",
        )
    if now_s >= statement.not_after:
        raise NotAuthorized(
            what=what,
            why=f"its {noun} expired {now_s - statement.not_after} s ago",
            fix=f"Have a new {noun} signed, or set the clocks of both machines right"
            " (`timedatectl`).",
        )


def _tampered(what: str, noun: str) -> NotAuthorized:
    return NotAuthorized(
        what=what,
        why=f"its {noun} was tampered with or damaged: the signature does not match",
        fix=f"Copy the {noun} again from where it was made.",
    )


def _malformed(what: str, noun: str, why: str) -> NotAuthorized:
    return NotAuthorized(
        what=what,
        why=f"its {noun} cannot be read: {why}",
        fix=f"Copy the whole {noun} again from where it was made.",
    )


def _not_signed(what: str, why: str) -> Misuse:
    return Misuse(what=f"{what} was not signed", why=why, fix="Correct the arguments.")
