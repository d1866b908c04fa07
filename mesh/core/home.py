"""A node's state directory: its key, its membership, what admins said; the realm's key."""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from mesh.core.bulletin import Says, sign_bulletin
from mesh.core.errors import IdentityError, NotAuthorized
from mesh.core.files import write_private
from mesh.core.identity import NodeIdentity, RealmKey, SigningKey
from mesh.core.membership import Membership, Role, claimed_realm, read_membership
from mesh.core.trust import Trust
from mesh.core.wire import MALFORMED

MEMBERSHIP = "framemesh-membership-1"
REQUEST = "framemesh-request-1"
_ARMOR_LIMIT = 16_384
_ISSUED_LIMIT = 10_000  # memberships remembered where they are signed


class Signer(NamedTuple):
    """Who speaks for the realm on this machine: its own key (no proof), or an admin's node key."""

    key: SigningKey
    realm_public: bytes
    proof: bytes

    @classmethod
    def of(cls, realm: RealmKey) -> Self:
        """The realm's own key."""
        return cls(realm, realm.public_key, b"")

    def bulletin(self, says: Says, sequence: int) -> bytes:
        """See `sign_bulletin`."""
        return sign_bulletin(
            self.key, says, sequence=sequence, realm_public=self.realm_public, proof=self.proof
        )


class NodeHome:
    """Reads and writes one state directory; every file is private and replaced atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def identity(self) -> NodeIdentity:
        """The node's key, made on first use."""
        return NodeIdentity.load_or_create(self.path / "node.key")

    def next_identity(self) -> NodeIdentity:
        """A key to take the place of the node's, once it has a membership. Made on first use."""
        return NodeIdentity.load_or_create(self.path / "node.key.next")

    def identities(self) -> list[NodeIdentity]:
        """The node's key, and the one that is to replace it, if there is one."""
        following = [self.next_identity()] if (self.path / "node.key.next").exists() else []
        return [self.identity(), *following]

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

    def join(self, identity: NodeIdentity, membership: bytes, trust: Trust) -> None:
        """Belong to a realm with a key of this directory, and believe no more than what is given.

        It replaces all before, the node's key as well if `identity` is the one that was to follow.
        """
        with self._locked():
            if identity.public_key != self.identity().public_key:
                old = self.path / f"node.key.{self.identity().fingerprint[:7]}"
                os.link(self.path / "node.key", old)
                (self.path / "node.key.next").replace(self.path / "node.key")
            kept = msgspec.msgpack.encode((trust.realm, trust.bulletins()))
            write_private(self.path / "bulletins", kept)
            self.install_membership(membership)

    def install_membership(self, blob: bytes) -> None:
        """Keep a membership; it replaces the one before."""
        write_private(self.path / "membership", armor(MEMBERSHIP, blob).encode("ascii"))

    # --- what admins said -------------------------------------------------------------------

    def trust(self, now_s: int) -> Trust:
        """What this node believes: its realm, and the bulletins it has. Raises IdentityError."""
        realm = claimed_realm(self.membership(), "the membership cannot be used")
        root, blobs = self._bulletins()
        trust = Trust(root or realm, blobs, now_s)
        return trust if realm in trust.realms else Trust(realm)

    def keep_bulletins(self, blobs: Iterable[bytes], now_s: int) -> None:
        """Add bulletins to those that are kept; safe beside another process that does the same."""
        with self._locked():
            trust = self.trust(now_s)
            for blob in blobs:
                try:
                    trust.take(blob, now_s)
                except NotAuthorized:
                    continue  # superseded by what another process has learnt
            kept = msgspec.msgpack.encode((trust.realm, trust.bulletins()))
            write_private(self.path / "bulletins", kept)

    def _bulletins(self) -> tuple[bytes, list[bytes]]:
        """The realm that all began with, and what was said since."""
        try:
            text = (self.path / "bulletins").read_bytes()
            return msgspec.msgpack.decode(text, type=tuple[bytes, list[bytes]])
        except FileNotFoundError:
            return b"", []
        except (OSError, *MALFORMED) as problem:
            raise IdentityError(
                what=f"{self.path / 'bulletins'} cannot be used",
                why=str(problem),
                fix="Restore it from a backup, or remove it: linked members tell it all again.",
            ) from problem

    # --- an admin's machine -----------------------------------------------------------------

    def signer(self, now_s: int) -> Signer:
        """Who may sign here for the realm. Raises IdentityError if nobody may."""
        if self._realm_key_path.exists():
            key = self.realm_key()
            return Signer.of(key)
        try:
            identity, proof = self.identity(), self.membership()
            member = read_membership(proof, identity.public_key, now_s)
        except (IdentityError, NotAuthorized) as problem:
            raise self._no_signer(problem.why) from problem
        if not member.has(Role.ADMIN):
            raise self._no_signer(f"its node is {', '.join(sorted(member.roles))}, no admin")
        return Signer(identity, member.realm, proof)

    def _no_signer(self, why: str) -> IdentityError:
        return IdentityError(
            what="this machine can sign nothing for a realm",
            why=f"it holds no realm key ({self._realm_key_path}), and {why}",
            fix="Run `framemesh realm create` here, or run this command where an admin's node is.",
        )

    def retire_realm_key(self, successor: RealmKey) -> None:
        """Keep the realm's key beside, under another name, and put its successor in its place."""
        old = self.realm_key()
        write_private(self.path / f"realm.key.{old.fingerprint[:7]}", old.private_pem())
        write_private(self._realm_key_path, successor.private_pem())

    def issued(self) -> dict[str, Membership]:
        """Members that are known here, by node id: whom to give memberships again."""
        try:
            text = (self.path / "issued").read_bytes()
            return msgspec.msgpack.decode(text, type=dict[str, Membership])
        except FileNotFoundError:
            return {}
        except (OSError, *MALFORMED) as problem:
            raise IdentityError(
                what=f"{self.path / 'issued'} cannot be used",
                why=str(problem),
                fix="Restore it from a backup, or remove it: linked members are noted again.",
            ) from problem

    def note_issued(self, members: dict[str, Membership]) -> None:
        """Remember members, over restarts."""
        with self._locked():
            issued = self.issued() | members
            kept = dict(list(issued.items())[-_ISSUED_LIMIT:])
            write_private(self.path / "issued", msgspec.msgpack.encode(kept))

    # --- where other members were last ------------------------------------------------------

    def contacts(self) -> list[str]:
        """ "host:port" of members, as this node last knew them."""
        try:
            lines = (self.path / "contacts").read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []  # they help, and nothing depends on them
        return [line for line in lines if line][:64]

    def keep_contacts(self, addresses: Iterable[str]) -> None:
        """Replace them."""
        write_private(self.path / "contacts", "\n".join(addresses).encode("utf-8") + b"\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Of the processes of this machine only this one changes the directory's files now."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

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
