"""What two machines say to each other to be sure that a person typed one's code on the other. Pure.

SPAKE2 (RFC 9382, by the `spake2` library over Ed25519's group): each learns whether the other knows
the code, and whoever listens, or takes either's place, gets one guess and no way to try others at
leisure. Then both prove the key they share, the guest first: its proof is the guess, and counts.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Meta
from spake2 import SPAKE2_A, SPAKE2_B, SPAKEError
from spake2.ed25519_basic import NotOnCurve

from mesh.core.errors import ContentRefused, Misuse, NotAuthorized
from mesh.core.statement import PublicKey

CHANNELS = 100
_DIGITS = 6  # of the secret part; three tries of a million
MAX_MESSAGE = 16 * 1024
_HALF = 33  # bytes: whose it is, and a point
_NONCE = bytes(12)  # each key seals one message
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"


class Code(msgspec.Struct, frozen=True):
    """channel: says which of several that show codes is meant; secret: what only people know."""

    channel: str
    secret: str

    def __str__(self) -> str:
        return f"{self.channel}-{self.secret[:3]}-{self.secret[3:]}"


class Request(msgspec.Struct, frozen=True, array_like=True):
    """What a guest asks for."""

    public: PublicKey
    name: Annotated[str, Meta(max_length=32, pattern=r"\A[a-z0-9-]+\Z")]


def new_code() -> Code:
    """A code to show."""
    return Code(
        f"{secrets.randbelow(CHANNELS):02d}", f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}d}"
    )


def read_code(text: str) -> Code:
    """The code as people type it. Raises Misuse."""
    digits = "".join(letter for letter in text if letter not in "- \t")
    if not (digits.isascii() and digits.isdigit() and len(digits) == _DIGITS + 2):
        raise Misuse(
            what=f"'{text[:40]}' is no code",
            why=f"a code has {_DIGITS + 2} digits",
            fix="Type it as `framemesh pair` shows it on the other machine.",
        )
    return Code(digits[:2], digits[2:])


class Exchange:
    """One end of it. `message` goes to the other end first, then `agree` with what came."""

    def __init__(self, code: Code, side: Literal["guest", "host"]) -> None:
        kind = SPAKE2_A if side == "guest" else SPAKE2_B
        self._spake = kind(
            code.secret.encode(), idA=b"framemesh pair guest", idB=b"framemesh pair host"
        )
        self.message: bytes = self._spake.start()
        self._key = b""

    def agree(self, theirs: bytes) -> None:
        """Come to a key with the other end. Raises ContentRefused for what is no message."""
        try:
            if len(theirs) != _HALF:
                raise ValueError(f"{len(theirs)} bytes")
            self._key = self._spake.finish(theirs)
        except (SPAKEError, NotOnCurve, ValueError) as problem:
            raise ContentRefused(
                what="pairing ended",
                why="the other end does not speak this protocol",
                fix="Bring framemesh to the same version on both machines.",
            ) from problem

    def seal(self, side: Literal["guest", "host"], plain: bytes) -> bytes:
        """What only the other end can read, if it knows the code."""
        return ChaCha20Poly1305(self._derived(side)).encrypt(_NONCE, plain, None)

    def unseal(self, side: Literal["guest", "host"], sealed: bytes) -> bytes:
        """What `side` sealed. Raises NotAuthorized if it does not know the code."""
        try:
            return ChaCha20Poly1305(self._derived(side)).decrypt(_NONCE, sealed, None)
        except InvalidTag as problem:
            raise wrong_code() from problem

    def words(self) -> str:
        """Two words that are the same at both ends: proquints (arXiv:0901.4016) of 32 bits."""
        bits = int.from_bytes(self._derived("words")[:4])
        return f"{_proquint(bits >> 16)} {_proquint(bits & 0xFFFF)}"

    def _derived(self, use: str) -> bytes:
        """32 bytes (HMAC-SHA256, RFC 2104)."""
        return hmac.digest(self._key, b"framemesh pair/1 " + use.encode(), hashlib.sha256)


def wrong_code() -> NotAuthorized:
    """The ends do not know the same code."""
    return NotAuthorized(
        what="pairing is refused",
        why="the code is wrong, or was used or tried too often",
        fix="Run `framemesh pair` again and type the new code.",
    )


def _proquint(word: int) -> str:
    """Five letters for 16 bits."""
    shifts = ((12, _CONSONANTS), (10, _VOWELS), (6, _CONSONANTS), (4, _VOWELS), (0, _CONSONANTS))
    return "".join(letters[word >> shift & len(letters) - 1] for shift, letters in shifts)
