"""What a client may do at the realm's gateways, as a signed statement: a *client token*.

Signed by the realm's key, or by a gateway or admin, whose own membership travels in the token:
nobody has to be asked, and a realm's admin can make tokens offline. Bearer tokens: good for whoever
holds one, so they are short-lived, narrow, and can be revoked by their id.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from mesh.core.errors import NotAuthorized
from mesh.core.identity import SigningKey, fingerprint, verify
from mesh.core.membership import Membership, Role, open_membership
from mesh.core.statement import (
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

MAX_TOKEN = 4096  # characters; it must fit into an HTTP header

_DOMAIN = b"client-token/1"
_PREFIX = "fm1."  # marks the format, opens nothing


class Scope(StrEnum):
    """What a client may do at a gateway."""

    VIEW = "view"  # watch sessions and their statistics
    CONTROL = "control"  # open render sessions and steer them
    INFER = "infer"  # open inference sessions and feed them


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What its holder's sessions are held to; what is empty or 0 has no bound but the gateway's."""

    workloads: Annotated[frozenset[Name], Meta(max_length=16)] = frozenset()  # the only ones
    region: Annotated[str, Meta(max_length=32)] = ""  # of the gateways that it opens
    pixels: Annotated[int, Meta(ge=0, lt=2**31)] = 0  # of a picture
    hz: Annotated[float, Meta(ge=0, le=1000)] = 0.0  # frames per second
    session_s: Annotated[int, Meta(ge=0, lt=2**31)] = 0  # from a session's opening to its end


UNLIMITED = Limits()


class ClientToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified client token."""

    id: Annotated[bytes, Meta(min_length=16, max_length=16)]  # random; for revocation and logs
    realm: PublicKey
    signer: PublicKey
    subject: Name  # who it was made for
    scopes: Annotated[frozenset[Name], Meta(max_length=16)]
    not_before: UnixSeconds
    not_after: UnixSeconds
    limits: Limits = UNLIMITED

    def require(self, scope: Scope) -> None:
        """Raises NotAuthorized if the token does not grant `scope`."""
        if scope not in self.scopes:
            granted = ", ".join(sorted(self.scopes)) or "nothing"
            raise NotAuthorized(
                what=f"'{scope}' is not allowed",
                why=f"the token of '{self.subject}' grants {granted}",
                fix=f"Ask the gateway's owner for a token with the scope '{scope}'.",
            )

    def require_session(self, workload: str, *, region: str, pixels: int, hz: float) -> None:
        """Raises NotAuthorized unless its limits allow such a session. pixels, hz: 0 for none."""
        limits = self.limits
        if limits.workloads and workload not in limits.workloads:
            self._refuse(f"is for {', '.join(sorted(limits.workloads))}, not for {workload}")
        if limits.region and region != limits.region:
            self._refuse(f"is for the region {limits.region}, and this is {region or 'none'}")
        if limits.pixels and pixels > limits.pixels:
            self._refuse(f"allows {limits.pixels} pixels, and {pixels} are asked for")
        if limits.hz and hz > limits.hz:
            self._refuse(f"allows {limits.hz:g} frames a second, and {hz:g} are asked for")

    def _refuse(self, why: str) -> None:
        raise NotAuthorized(
            what="the session is not opened",
            why=f"the token of '{self.subject}' {why}",
            fix="Ask for less, or ask the gateway's owner for another token.",
        )


def sign_token(
    key: SigningKey,
    *,
    realm_public: bytes,
    subject: str,
    scopes: Collection[Scope],
    not_before: int,
    not_after: int,
    membership: bytes = b"",
    limits: Limits = UNLIMITED,
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
        limits=limits,
    )
    if not token.scopes or not_before >= not_after:
        raise not_signed("a client token", "it needs a scope, and a beginning before its end")
    if (key.public_key == realm_public) == bool(membership):
        raise not_signed(
            "a client token", "a node signs with its membership, the realm's own key without one"
        )
    blob = seal(key, _DOMAIN, token, what="a client token", membership=membership)
    text = _PREFIX + base64.urlsafe_b64encode(blob).rstrip(b"=").decode("ascii")
    if len(text) > MAX_TOKEN:
        raise not_signed("a client token", f"it is longer than {MAX_TOKEN} characters")
    return text


def token_of(membership: Membership) -> ClientToken:
    """What a member with the client's role may do, in the form of a token: everything."""
    return ClientToken(
        id=bytes(16),
        realm=membership.realm,
        signer=membership.node,
        subject=membership.name,
        scopes=frozenset(map(str, Scope)),
        not_before=membership.not_before,
        not_after=membership.not_after,
    )


def verify_token(
    token: str, realm_public: bytes, now_s: int, revoked: Revoked = nobody
) -> ClientToken:
    """The client token in `token`, believed by a gateway of the realm at `now_s` (unix seconds).

    Raises NotAuthorized: missing, malformed, of another realm, tampered with, signed by a node
    that may not sign tokens, revoked, not yet valid, or expired (its signer's membership included).
    """
    what = "the client is not authorised"
    if not token:
        raise NotAuthorized(
            what=what,
            why="it presented no token",
            fix="Get one from the gateway's owner (`framemesh realm token` makes them) and open the"
            " page with it.",
        )
    envelope = unpack(_token_bytes(token, what), what, "token")
    opened = parse(envelope.payload, ClientToken, what, "token")
    check_realm(opened.realm, realm_public, what, "token")
    if not verify(opened.signer, _DOMAIN, envelope.payload, envelope.signature):
        raise tampered(what, "token")
    if opened.signer != realm_public:
        _check_signer(opened, envelope.membership, realm_public, now_s, what, revoked)
    if revoked(opened.id):
        raise thrown_out(what, f"the token of '{opened.subject}'")
    check_times(opened, now_s, what, "token")
    return opened


def read_token(token: str, now_s: int) -> ClientToken:
    """The client token in `token`, whichever realm's it is: for the client that holds it.

    Proves that the realm it names stands behind it, not that this realm deserves any trust.
    Raises NotAuthorized like `verify_token`.
    """
    return verify_token(token, token_realm(token, "the token cannot be used"), now_s)


def token_realm(token: str, what: str) -> bytes:
    """The realm a token names, unverified. Raises NotAuthorized."""
    envelope = unpack(_token_bytes(token, what), what, "token")
    return parse(envelope.payload, ClientToken, what, "token").realm


def _check_signer(  # noqa: PLR0917  a step of `verify_token`
    token: ClientToken,
    membership: bytes,
    realm_public: bytes,
    now_s: int,
    what: str,
    revoked: Revoked,
) -> None:
    if not membership:
        raise NotAuthorized(
            what=what,
            why=f"its token was signed by {fingerprint(token.signer)}, with no proof that the"
            " realm trusts that key",
            fix="Get a token made by one of the realm's gateways.",
        )
    signer = open_membership(
        membership, realm_public, now_s, f"{what}: its token's signer", revoked
    )
    if signer.node != token.signer or not signer.has(Role.GATEWAY, Role.ADMIN):
        raise NotAuthorized(
            what=what,
            why=f"its token was signed by {fingerprint(token.signer)}, which is no gateway or"
            " admin of the realm",
            fix="Get a token made by one of the realm's gateways.",
        )


def _token_bytes(token: str, what: str) -> bytes:
    if len(token) > MAX_TOKEN:
        raise malformed(what, "token", f"it is longer than {MAX_TOKEN} characters")
    if not token.startswith(_PREFIX):
        raise malformed(what, "token", f"it does not start with '{_PREFIX}'")
    text = token.removeprefix(_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise malformed(what, "token", "it is not base64url text") from problem
