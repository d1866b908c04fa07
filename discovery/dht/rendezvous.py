"""Where in a distributed hash table the nodes of a realm meet, and how they write there. Pure.

All of it is derived from a secret that the realm's members share, so that nobody else can tell
which entries belong together, what they say, or where to look (HMAC-SHA256, RFC 2104, one label
for each use). Two kinds of entry:

* *providers* (BEP 5): under three keys for each role, workload and region. What a torrent's peer
  announces as its port is a *slot* here, a number that its node has drawn.
* *items* (BEP 44, mutable): for each slot, under an Ed25519 key of its own, the node's signed
  advert and addresses, sealed by ChaCha20-Poly1305 (RFC 8439).

Any member can write any slot; what it writes is believed only if the advert in it verifies.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Meta

from mesh.core.errors import ContentRefused, Misuse
from mesh.peers.advert import MAX_ADVERT

SECRET_BYTES = 32
# Far apart in the table: whoever crowds the nodes around one of them has not got the others.
COPIES = 3
TARGET_BYTES = 20  # as long as SHA-1's digests, which these keys are elsewhere
SLOTS = range(1024, 65536)  # some nodes refuse to store low ports
MAX_VALUE = 1000  # of an item, bencoded; ours is a string, whose length takes up to four bytes
MAX_ADDRESSES = 8
MAX_ADDRESS = 56  # characters
_NONCE_BYTES = 12
_LABEL = b"framemesh dht/1 "


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What an item says."""

    advert: Annotated[bytes, Meta(max_length=MAX_ADVERT)]
    addresses: Annotated[
        tuple[Annotated[str, Meta(max_length=MAX_ADDRESS)], ...], Meta(max_length=MAX_ADDRESSES)
    ]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for one node's entry. public: the item's key, 32 bytes. private: its private key as
    the hash table's library wants it, 64 bytes (SHA-512 of the seed, clamped: RFC 8032, 5.1.5).
    """

    number: int
    public: bytes
    private: bytes
    sealing: bytes


class Rendezvous:
    """Where nodes with one role meet that serve one workload ("": any), in one region."""

    def __init__(self, secret: bytes, role: str, region: str = "", serves: str = "") -> None:
        """secret: SECRET_BYTES. Raises Misuse for another length."""
        if len(secret) != SECRET_BYTES:
            raise Misuse(
                what="nodes cannot meet in the hash table",
                why=f"the secret has {len(secret)} bytes instead of {SECRET_BYTES}",
                fix="Make one with `openssl rand -hex 32`, the same for all members.",
            )
        where = msgspec.json.encode((role, region, serves))
        self._key = hmac.digest(secret, _LABEL + b"where " + where, hashlib.sha256)
        self.targets = tuple(
            self._derived(f"target {copy}")[:TARGET_BYTES] for copy in range(COPIES)
        )

    def slot(self, number: int) -> Slot:
        """The slot of a number in SLOTS."""
        seed = self._derived(f"item {number}")
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        expanded = bytearray(hashlib.sha512(seed).digest())
        expanded[0] &= 248
        expanded[31] = expanded[31] & 63 | 64
        return Slot(number, public, bytes(expanded), self._derived(f"seal {number}"))

    def _derived(self, use: str) -> bytes:
        return hmac.digest(self._key, use.encode(), hashlib.sha256)


def seal(slot: Slot, advert: bytes, addresses: Sequence[str]) -> bytes:
    """A node's entry as the hash table stores it: as many of its addresses as fit."""
    kept = tuple(addresses[:MAX_ADDRESSES])
    plain = _encode(Entry(advert, kept))
    while len(plain) > MAX_VALUE - 64 and kept:
        kept = kept[:-1]
        plain = _encode(Entry(advert, kept))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(slot.sealing).encrypt(nonce, plain, slot.public)


def unseal(slot: Slot, value: bytes) -> Entry:
    """What `seal` made. Raises ContentRefused for anything else."""
    try:
        if len(value) > MAX_VALUE:
            raise ValueError(f"it has {len(value)} bytes")
        nonce, sealed = value[:_NONCE_BYTES], value[_NONCE_BYTES:]
        return _decode(ChaCha20Poly1305(slot.sealing).decrypt(nonce, sealed, slot.public))
    except (InvalidTag, ValueError, msgspec.DecodeError) as problem:
        raise ContentRefused(
            what="an entry of the hash table is not used",
            why=f"it was not written by a member of the realm ({type(problem).__name__})",
            fix="Nothing needs doing; others may write what they like there.",
        ) from problem
