"""A node's state directory: its key, its membership, and on an admin's machine the realm key."""

from __future__ import annotations

import base64
from pathlib import Path

from mesh.core.errors import IdentityError
from mesh.core.files import write_private
from mesh.core.identity import NodeIdentity, RealmKey

MEMBERSHIP = "framemesh-membership-1"
REQUEST = "framemesh-request-1"
_ARMOR_LIMIT = 8192


class NodeHome:
    """Reads and writes one state directory; every file is private and replaced atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def identity(self) -> NodeIdentity:
        """The node's key, made on first use."""
        return NodeIdentity.load_or_create(self.path / "node.key")

    def realm_key(self) -> RealmKey:
        """The realm's key, where this machine holds it. Raises IdentityError."""
        if not self._realm_key_path.exists():
            raise IdentityError(
                what="this machine holds no realm key",
                why=f"{self._realm_key_path} does not exist",
                fix="Run `framemesh realm create` here, or run this command where it was run.",
            )
        return RealmKey.load(self._realm_key_path)

    def create_realm_key(self) -> RealmKey:
        """A new realm key. Raises IdentityError rather than replace one."""
        return RealmKey.create(self._realm_key_path)

    def membership(self) -> bytes:
        """The installed membership, as signed. Raises IdentityError."""
        path = self.path / "membership"
        try:
            return unarmor(MEMBERSHIP, path.read_text("ascii"))
        except FileNotFoundError:
            raise IdentityError(
                what="this node belongs to no realm",
                why=f"{path} does not exist",
                fix="Run `framemesh realm create` for a new realm, or have an admin run "
                "`framemesh realm sign` with this node's id and run `framemesh realm join FILE`.",
            ) from None

    def install_membership(self, blob: bytes) -> None:
        """Keep a membership; it replaces the one before."""
        write_private(self.path / "membership", armor(MEMBERSHIP, blob).encode("ascii"))

    @property
    def _realm_key_path(self) -> Path:
        return self.path / "realm.key"


def armor(kind: str, blob: bytes) -> str:
    """Signed bytes or a key as one line of text that survives mail and chat."""
    return f"{kind} {base64.b64encode(blob).decode('ascii')}\n"


def unarmor(kind: str, text: str) -> bytes:
    """The reverse of `armor`. Raises IdentityError."""
    text = text.strip()
    try:
        if len(text) > _ARMOR_LIMIT or not text.startswith(kind + " "):
            raise ValueError(f"it does not start with '{kind}'")
        return base64.b64decode(text[len(kind) + 1 :], validate=True)
    except ValueError as problem:
        raise IdentityError(
            what="the text cannot be used",
            why=str(problem),
            fix="Give the whole line as `framemesh realm` printed it.",
        ) from problem
