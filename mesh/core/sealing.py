"""A message that one node alone can read, by nothing more than its public key.

libsodium's sealed boxes (X25519, XSalsa20-Poly1305) over the node's Ed25519 key as a Curve25519 key
(RFC 7748, 4.1), which libsodium converts. They do not say who wrote them: what is inside is signed.
"""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import SigningKey as SodiumSigningKey
from nacl.signing import VerifyKey

from mesh.core.errors import IdentityError
from mesh.core.identity import NodeIdentity


def seal_to(node_public: bytes, plain: bytes) -> bytes:
    """For the holder of `node_public` (32 raw bytes of Ed25519) alone. Raises IdentityError."""
    try:
        return SealedBox(VerifyKey(node_public).to_curve25519_public_key()).encrypt(plain)
    except (CryptoError, ValueError, TypeError) as problem:
        raise IdentityError(
            what="nothing can be sealed for a node",
            why=f"its public key is not usable ({problem or type(problem).__name__})",
            fix="Have the line from `framemesh realm request` sent again.",
        ) from problem


def unseal(identity: NodeIdentity, sealed: bytes) -> bytes:
    """What was sealed for this node. Raises IdentityError."""
    try:
        key = SodiumSigningKey(identity.private_raw()).to_curve25519_private_key()
        return SealedBox(key).decrypt(sealed)
    except (CryptoError, ValueError, TypeError) as problem:
        raise IdentityError(
            what="a sealed message cannot be read",
            why="it is damaged, or was sealed for another node",
            fix="Have it made again for this node's own id (`framemesh id` prints it).",
        ) from problem
