"""What a node says of itself to whoever listens: one small signed record, spread by the finders.

An advert steers dialling and proves nothing but the possession of the node's key: admission is
decided on the link, by membership. It names its realm by fingerprint, so that a stranger who reads
it learns no key, and its roles are a hint that the membership must confirm.

Bytes: a 64-byte Ed25519 signature, then the payload, a MessagePack array.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from mesh.core.errors import ContentRefused, Misuse, NotAuthorized
from mesh.core.identity import SIGNATURE_BYTES, NodeIdentity, fingerprint, verify
from mesh.core.statement import PublicKey, UnixSeconds
from mesh.core.wire import MALFORMED, Count
from mesh.core.workload import NodeId

MAX_ADVERT = 400  # bytes; small enough for DNS TXT strings and for one datagram of any finder
MAX_LIFETIME_S = 7 * 86_400  # no advert, however dated, occupies a peer book for longer

_DOMAIN = b"advert/1"
# Shown in logs and on status pages: nothing that could pass for a line or a tag of its own.
_Word: TypeAlias = Annotated[str, Meta(max_length=48, pattern=r"\A[a-z0-9-]*\Z")]
_Hundredths: TypeAlias = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class Advert(msgspec.Struct, frozen=True, array_like=True):
    """A verified advert."""

    node: PublicKey
    sequence: Count  # a higher one replaces a lower one of the same node
    not_after_s: UnixSeconds  # first second in which it no longer holds
    port: Annotated[int, Meta(ge=1, le=65535)]  # where the node's links listen
    roles: Annotated[tuple[_Word, ...], Meta(max_length=8)]
    realm: _Word  # fingerprint of the realm's key
    name: _Word = ""  # for people; proves nothing
    serves: Annotated[tuple[_Word, ...], Meta(max_length=8)] = ()  # workloads: a hint as well
    # Where it is among others, see mesh.peers.nearness; empty: it does not know.
    place: Annotated[tuple[_Hundredths, ...], Meta(max_length=5)] = ()

    @property
    def node_id(self) -> NodeId:
        """The id that belongs to `node`."""
        return _id_of(self.node)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Advert).decode
_id_of = lru_cache(maxsize=4096)(fingerprint)  # a pure function, called for each sighting


def sign_advert(
    identity: NodeIdentity,
    *,
    realm_public: bytes,
    port: int,
    roles: Sequence[str],
    name: str,
    sequence: int,
    not_after_s: int,
    serves: Sequence[str] = (),
    place: Sequence[int] = (),
) -> bytes:
    """The advert of `identity`'s node, ready for a finder.

    sequence: must rise with each advert of this node, over restarts too (unix milliseconds do).
    not_after_s: unix seconds. Raises Misuse for values that no reader would take.
    """
    advert = Advert(
        node=identity.public_key,
        sequence=sequence,
        not_after_s=not_after_s,
        port=port,
        roles=tuple(str(role) for role in roles),
        realm=fingerprint(realm_public),
        name=name,
        serves=tuple(serves),
        place=tuple(place),
    )
    payload = _encode(advert)
    blob = identity.sign(_DOMAIN, payload) + payload
    try:
        _parse(blob)
    except ContentRefused as problem:
        raise Misuse(
            what="the advert was not signed", why=problem.why, fix="Correct the arguments."
        ) from problem
    return blob


def read_advert(blob: bytes, now_s: int) -> Advert:
    """The advert in `blob`, if it holds at `now_s` (unix seconds).

    Raises ContentRefused (oversize, malformed) or NotAuthorized (tampered with, expired).
    """
    advert = _parse(blob)
    if not verify(advert.node, _DOMAIN, blob[SIGNATURE_BYTES:], blob[:SIGNATURE_BYTES]):
        raise NotAuthorized(
            what=f"the advert of {advert.node_id} is refused",
            why="it was tampered with or damaged: the signature does not match",
            fix="Restart that node; if this goes on, someone on the network alters its adverts.",
        )
    if now_s >= advert.not_after_s:
        raise NotAuthorized(
            what=f"the advert of {advert.node_id} is refused",
            why=f"it expired {now_s - advert.not_after_s} s ago",
            fix="Set the clocks of both machines right (`timedatectl`), or restart that node.",
        )
    if advert.not_after_s - now_s > MAX_LIFETIME_S:
        raise NotAuthorized(
            what=f"the advert of {advert.node_id} is refused",
            why=f"it claims to hold for {advert.not_after_s - now_s} s,"
            f" and {MAX_LIFETIME_S} s are allowed",
            fix="Set the clocks of both machines right (`timedatectl`).",
        )
    return advert


def claimed_node(blob: bytes) -> NodeId:
    """The node an advert names, unverified: a label for finders. Raises ContentRefused."""
    return _parse(blob).node_id


def _parse(blob: bytes) -> Advert:
    if len(blob) > MAX_ADVERT:
        raise _malformed(f"it has {len(blob)} bytes, and {MAX_ADVERT} are allowed")
    try:
        return _decode(blob[SIGNATURE_BYTES:])
    except MALFORMED as problem:
        raise _malformed(str(problem)) from problem


def _malformed(why: str) -> ContentRefused:
    return ContentRefused(
        what="an advert is refused",
        why=why,
        fix="Bring framemesh to the same version on both machines.",
    )
