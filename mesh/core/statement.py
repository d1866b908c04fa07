"""Signed statements: bytes in an envelope, good for one domain, with their signer's right.

What memberships, client tokens and bulletins have in common: MessagePack inside a bounded envelope,
signed as it travels and never encoded anew, and the same words for why one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from mesh.core.errors import Misuse, NotAuthorized
from mesh.core.identity import SigningKey, fingerprint
from mesh.core.wire import MALFORMED

MAX_PROOF = 2048  # bytes of the signer's own membership

PublicKey: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
UnixSeconds: TypeAlias = Annotated[int, Meta(ge=0, lt=2**40)]
# Whether the holder of a public key (32 bytes), or a token's id (16 bytes), was thrown out.
Revoked: TypeAlias = Callable[[bytes], bool]


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """Signed bytes as they travel; what was signed is checked as received, never re-encoded."""

    payload: Annotated[bytes, Meta(max_length=32 * 1024)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    membership: Annotated[bytes, Meta(max_length=MAX_PROOF)] = b""  # the signer's, if not the realm


class Dated(Protocol):
    """What holds from a second on, until before another."""

    @property
    def not_before(self) -> int:
        """Unix seconds."""
        ...

    @property
    def not_after(self) -> int:
        """Unix seconds."""
        ...


Statement = TypeVar("Statement", bound=msgspec.Struct)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode


def nobody(key_or_id: bytes) -> bool:
    """For who knows of no revocation."""
    return False


def seal(
    key: SigningKey,
    domain: bytes,
    statement: msgspec.Struct,
    *,
    what: str,
    membership: bytes = b"",
) -> bytes:
    """The statement, signed. membership: the signer's own. Raises Misuse if none would read it."""
    payload = _encode(statement)
    try:
        msgspec.msgpack.decode(payload, type=type(statement))  # the bounds its readers will check
        blob = _encode(Envelope(payload, key.sign(domain, payload), membership))
        _decode_envelope(blob)
    except msgspec.ValidationError as problem:
        raise not_signed(what, str(problem)) from problem
    return blob


def unpack(blob: bytes, what: str, noun: str) -> Envelope:
    """The envelope. Raises NotAuthorized."""
    try:
        return _decode_envelope(blob)
    except MALFORMED as problem:
        raise malformed(what, noun, str(problem)) from problem


def parse(payload: bytes, kind: type[Statement], what: str, noun: str) -> Statement:
    """What an envelope says. Raises NotAuthorized."""
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except MALFORMED as problem:
        raise malformed(what, noun, str(problem)) from problem


def check_realm(claimed: bytes, realm_public: bytes, what: str, noun: str) -> None:
    """Raises NotAuthorized for another realm's."""
    if claimed != realm_public:
        raise NotAuthorized(
            what=what,
            why=f"its {noun} is of another realm, {fingerprint(claimed)}, and this is"
            f" {fingerprint(realm_public)}",
            fix=f"Use a {noun} that was made for this realm.",
        )


def check_times(statement: Dated, now_s: int, what: str, noun: str) -> None:
    """Raises NotAuthorized for what does not hold at `now_s` (unix seconds)."""
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


def tampered(what: str, noun: str) -> NotAuthorized:
    """The signature is not the signer's."""
    return NotAuthorized(
        what=what,
        why=f"its {noun} was tampered with or damaged: the signature does not match",
        fix=f"Copy the {noun} again from where it was made.",
    )


def malformed(what: str, noun: str, why: str) -> NotAuthorized:
    """It is no statement of this kind."""
    return NotAuthorized(
        what=what,
        why=f"its {noun} cannot be read: {why}",
        fix=f"Copy the whole {noun} again from where it was made.",
    )


def thrown_out(what: str, whose: str) -> NotAuthorized:
    """It was revoked."""
    return NotAuthorized(
        what=what,
        why=f"{whose} was revoked by an admin of the realm",
        fix="Ask an admin of the realm; a new one has to be made for a new key.",
    )


def not_signed(what: str, why: str) -> Misuse:
    """Our own caller asked for what no reader would take."""
    return Misuse(what=f"{what} was not signed", why=why, fix="Correct the arguments.")
