"""Who a node is: an Ed25519 key (RFC 8032), made on first start and kept in a private file.

The node's id is a digest of its public key, written so that people can read, compare and type it:
Crockford's base32 in lower case, in groups that each end in a check character.
"""

from __future__ import annotations

import hashlib
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mesh.core.errors import IdentityError
from mesh.core.files import create_private
from mesh.core.workload import NodeId

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
_KEY_FILE_LIMIT = 4096

# --- signing keys ---------------------------------------------------------------------------


class SigningKey:
    """An Ed25519 private key in this process; `NodeIdentity` and `RealmKey` are its two uses."""

    noun = "signing key"  # how messages to people name it

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.fingerprint}>"

    @classmethod
    def generate(cls) -> Self:
        """A new key, in memory only."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file (PKCS #8 PEM).

        Raises IdentityError when it is missing, no Ed25519 key, or others may read it.
        """
        pem = _read_private(path, cls.noun)
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as problem:
            raise _unusable(path, cls.noun, "it holds no unencrypted PEM private key") from problem
        if not isinstance(private, Ed25519PrivateKey):
            raise _unusable(path, cls.noun, "its key is not an Ed25519 key")
        return cls(private)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a key and its file (mode 0600, crash-safe). Raises IdentityError if one is there."""
        key = cls.generate()
        if not key._store(path):
            raise IdentityError(
                what=f"{cls.noun} {path} was not created",
                why="the file exists, and a key that is overwritten is lost for ever",
                fix="Use the existing key, or choose another path.",
            )
        return key

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The key in `path`, made on first use; processes racing to make it get the same one.

        Raises IdentityError when an existing file cannot be used or a new one cannot be written.
        """
        if not os.path.lexists(path):
            key = cls.generate()
            if key._store(path):
                return key
        return cls.load(path)

    def _store(self, path: Path) -> bool:
        try:
            return create_private(path, self.private_pem())
        except OSError as problem:
            raise IdentityError(
                what=f"{self.noun} {path} cannot be written",
                why=str(problem),
                fix="Make the directory writable for this user, or choose another one.",
            ) from problem

    @cached_property
    def public_key(self) -> bytes:
        """The public half, 32 raw bytes."""
        return self._private.public_key().public_bytes_raw()

    @cached_property
    def fingerprint(self) -> str:
        """The public key's checked text form, see `fingerprint`."""
        return fingerprint(self.public_key)

    def private_pem(self) -> bytes:
        """The key as unencrypted PKCS #8 PEM: for its own file and for TLS, for nothing else."""
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def private_raw(self) -> bytes:
        """The 32-byte seed (RFC 8032, 5.1.5): for libsodium, which reads what is sealed to it."""
        return self._private.private_bytes_raw()

    def sign(self, domain: bytes, payload: bytes) -> bytes:
        """A 64-byte signature of `payload` that is good for `domain` only."""
        return self._private.sign(_separated(domain, payload))


class NodeIdentity(SigningKey):
    """This node's key."""

    noun = "node key"

    @property
    def node_id(self) -> NodeId:
        """The node's name in the mesh, e.g. ``1k5zq0h-8r3w9dx-...`` (five groups of seven)."""
        return self.fingerprint


class RealmKey(SigningKey):
    """The key that signs a realm's memberships. Only the realm's owner holds it."""

    noun = "realm key"

    @property
    def realm_id(self) -> str:
        """The realm's name in messages to people."""
        return self.fingerprint


def verify(public_key: bytes, domain: bytes, payload: bytes, signature: bytes) -> bool:
    """Whether `signature` is `public_key`'s (32 raw bytes) for `payload` in `domain`.

    False for anything malformed too: all arguments but `domain` may come from outside.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            signature, _separated(domain, payload)
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def _separated(domain: bytes, payload: bytes) -> bytes:
    """What is really signed, so that a signature of one kind can never pass for another kind's.

    TLS signs with the node key too, but 64 spaces first (RFC 8446, 4.4.3): no overlap.
    """
    assert domain and b"\0" not in domain, "a domain is a non-empty constant without NUL"
    return b"framemesh/" + domain + b"\0" + payload


# --- ids ------------------------------------------------------------------------------------

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u
_VALUE = {letter: value for value, letter in enumerate(_ALPHABET)} | {"i": 1, "l": 1, "o": 0}
_GROUPS, _GROUP_DATA = 5, 6  # 30 data characters: 150 bits of SHA-256


def fingerprint(public_key: bytes) -> str:
    """Checked text for a public key (32 raw bytes): 150 bits of its SHA-256, 39 characters."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise IdentityError(
            what="a public key is not usable",
            why=f"it has {len(public_key)} bytes instead of {PUBLIC_KEY_BYTES}",
            fix="Pass the 32 raw bytes of an Ed25519 public key.",
        )
    digest = hashlib.sha256(b"framemesh/id\0" + public_key).digest()
    number = int.from_bytes(digest) >> (256 - 5 * _GROUPS * _GROUP_DATA)
    values = [(number >> shift) & 31 for shift in range(5 * (_GROUPS * _GROUP_DATA - 1), -1, -5)]
    groups = (
        [*values[at : at + _GROUP_DATA], _check_value(at, values[at : at + _GROUP_DATA])]
        for at in range(0, len(values), _GROUP_DATA)
    )
    return "-".join("".join(_ALPHABET[value] for value in group) for group in groups)


def parse_node_id(text: str) -> NodeId:
    """The canonical form of an id as people type it (any case, spaces, `o` for `0`, `l` for `1`).

    Raises IdentityError naming the group with the typo.
    """
    letters = text.strip().lower().replace("-", "").replace(" ", "")[:100]
    size = _GROUP_DATA + 1
    if len(letters) != _GROUPS * size:
        raise _not_an_id(text, f"it has {len(letters)} characters instead of {_GROUPS * size}")
    groups = [letters[at : at + size] for at in range(0, len(letters), size)]
    for number, group in enumerate(groups):
        values = [_VALUE.get(letter, -1) for letter in group]
        if -1 in values:
            raise _not_an_id(text, f"group {number + 1}, '{group}', has a foreign character")
        if _check_value(number * _GROUP_DATA, values[:-1]) != values[-1]:
            raise _not_an_id(text, f"group {number + 1}, '{group}', fails its check character")
    return "-".join("".join(_ALPHABET[_VALUE[letter]] for letter in group) for group in groups)


def _check_value(position: int, values: list[int]) -> int:
    """The group's check character: a sum over GF(32), each place weighted by its own power of x.

    One wrong character or two exchanged ones always change the sum (the weights are distinct and
    not zero). Weights go on from group to group, so that exchanged groups rarely pass (1 in 1024).
    """
    total = 0
    for offset, value in enumerate(values):
        total ^= _times_x_power(value, position + offset + 1)
    return total


def _times_x_power(value: int, power: int) -> int:
    """value * x^power in GF(2)[x] / (x^5 + x^2 + 1), in which x has order 31."""
    for _ in range(power % 31):
        value <<= 1
        if value & 32:
            value ^= 0b100101
    return value


def _not_an_id(text: str, why: str) -> IdentityError:
    return IdentityError(
        what=f"'{text[:60]}' is not a node id",
        why=why,
        fix="Compare it with what `framemesh id` prints on that node.",
    )


# --- key files ------------------------------------------------------------------------------


def _read_private(path: Path, noun: str) -> bytes:
    """The bytes of a small file that only its owner can read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_KEY_FILE_LIMIT + 1)
    except OSError as problem:
        raise IdentityError(
            what=f"{noun} {path} cannot be read",
            why=str(problem.strerror or problem),
            fix="Check the path and that this user owns the file.",
        ) from problem
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IdentityError(
            what=f"{noun} {path} is refused",
            why=f"other users have access to it (mode {stat.S_IMODE(status.st_mode):04o})",
            fix=f"Run `chmod 600 {path}`; if others may have read it, make a new key instead.",
        )
    if len(data) > _KEY_FILE_LIMIT:
        raise _unusable(path, noun, f"it is longer than {_KEY_FILE_LIMIT} bytes")
    return data


def _unusable(path: Path, noun: str, why: str) -> IdentityError:
    return IdentityError(
        what=f"{noun} {path} cannot be used",
        why=why,
        fix="Restore it from a backup, or move it away and make a new one.",
    )
