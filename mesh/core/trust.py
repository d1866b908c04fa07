"""Whom a node believes now: the realm's key and its successors, less who was revoked. Pure.

Holds the newest bulletins, judges memberships and tokens by them, and says what is to be passed on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

from mesh.core.bulletin import (
    Bulletin,
    Renewal,
    Revocation,
    Secret,
    Successor,
    read_bulletin,
    verify_bulletin,
)
from mesh.core.errors import NotAuthorized
from mesh.core.identity import fingerprint
from mesh.core.membership import Membership, claimed_realm, verify_membership
from mesh.core.token import ClientToken, token_realm, verify_token

MAX_BULLETINS = 1024
_TOKEN_ID_BYTES = 16


class _Kept(NamedTuple):
    bulletin: Bulletin
    blob: bytes


class Trust:
    """Everything a node believes of its realm."""

    def __init__(self, realm_public: bytes, kept: Iterable[bytes] = (), now_s: int = 0) -> None:
        """kept: bulletins from this node's own disk; what does not hold any more is left out."""
        self.realm = realm_public  # that this node was admitted to
        self._kept: dict[tuple[bytes, bytes, str, str], _Kept] = {}
        self._revoked: frozenset[str] = frozenset()
        self._retired: dict[bytes, int | None] = {realm_public: None}  # realm: until when it holds
        for blob in kept:
            try:
                self.take(blob, now_s)
            except NotAuthorized:
                continue  # its signer's time is over, or it was thrown out meanwhile

    # --- judging --------------------------------------------------------------------------------

    def membership(self, blob: bytes, node_public: bytes, now_s: int) -> Membership:
        """See `verify_membership`; of any realm that is trusted now. Raises NotAuthorized."""
        what = "the node is not admitted to the realm"
        realm = self._realm_of(claimed_realm(blob, what), now_s) if blob else self.realm
        return verify_membership(blob, realm, node_public, now_s, self.is_revoked)

    def token(self, text: str, now_s: int) -> ClientToken:
        """See `verify_token`; of any realm that is trusted now. Raises NotAuthorized."""
        what = "the client is not authorised"
        realm = self._realm_of(token_realm(text, what), now_s) if text else self.realm
        return verify_token(text, realm, now_s, self.is_revoked)

    def is_revoked(self, key_or_id: bytes) -> bool:
        """Whether a public key's holder, or the token of an id, was thrown out."""
        if not self._revoked:
            return False
        if len(key_or_id) == _TOKEN_ID_BYTES:
            return key_or_id.hex() in self._revoked
        return fingerprint(key_or_id) in self._revoked

    def holds(self, member: Membership, now_s: int) -> bool:
        """Whether a membership verified earlier still counts."""
        return (
            member.not_before <= now_s < member.not_after
            and self._realm_of(member.realm, now_s) == member.realm
            and not self.is_revoked(member.node)
            and not (member.signer is not None and self.is_revoked(member.signer))
        )

    def holds_token(self, token: ClientToken, now_s: int) -> bool:
        """Whether a token verified earlier still counts."""
        return now_s < token.not_after and not (
            self.is_revoked(token.id) or self.is_revoked(token.signer)
        )

    @property
    def realms(self) -> frozenset[bytes]:
        """Public keys of all realms that are, or were, believed."""
        return frozenset(self._retired)

    @property
    def secret(self) -> bytes | None:
        """What the realm's members share now; None: this node was not told."""
        secrets = (k.bulletin for k in self._kept.values() if isinstance(k.bulletin.says, Secret))
        newest = max(secrets, key=lambda b: (b.sequence, b.signer or b.realm), default=None)
        return newest.says.secret if newest and isinstance(newest.says, Secret) else None

    def renewal(self, node_id: str) -> bytes | None:
        """The newest membership that admins made for a node since it joined."""
        found = [k.bulletin for k in self._kept.values() if k.bulletin.about[3] == node_id]
        newest = max(found, key=lambda bulletin: bulletin.sequence, default=None)
        return newest.says.membership if newest and isinstance(newest.says, Renewal) else None

    def revocation_of(self, signer: bytes) -> Revocation:
        """All that a signer has thrown out so far."""
        for kept in self._kept.values():
            says = kept.bulletin.says
            if isinstance(says, Revocation) and kept.bulletin.about[1] == signer:
                return says
        return Revocation()

    # --- bulletins ------------------------------------------------------------------------------

    def take(self, blob: bytes, now_s: int) -> bool:
        """Believe a bulletin; whether it was news, and so is to be passed on.

        Raises NotAuthorized for one that is not the realm's word, or when there is no room.
        """
        realm = read_bulletin(blob).realm
        if realm not in self._retired:
            realm = self.realm  # and be refused with the reason
        bulletin = verify_bulletin(blob, realm, now_s, self.is_revoked)
        before = self._kept.get(bulletin.about)
        if before is not None and bulletin.sequence <= before.bulletin.sequence:
            return False
        if before is None and len(self._kept) >= MAX_BULLETINS:
            raise NotAuthorized(
                what="a bulletin is refused",
                why=f"{MAX_BULLETINS} are kept already",
                fix="Have an admin revoke whoever signed so many.",
            )
        self._kept[bulletin.about] = _Kept(bulletin, blob)
        self._weigh()
        return True

    def bulletins(self) -> list[bytes]:
        """All that hold, for whoever has none: revocations before secrets."""
        order = (Successor, Revocation, Secret, Renewal)
        kept = sorted(self._kept.values(), key=lambda k: order.index(type(k.bulletin.says)))
        return [k.blob for k in kept]

    def lineage(self) -> tuple[bytes, ...]:
        """How the realm's key came to be the one it is: for hellos. The latest eight changes."""
        said = [k.blob for k in self._kept.values() if isinstance(k.bulletin.says, Successor)]
        return tuple(said[-8:])

    def take_lineage(self, blobs: Iterable[bytes], now_s: int) -> None:
        """Believe what a stranger shows of it, if the realm's own key said so. Never raises."""
        for blob in blobs:
            with contextlib.suppress(NotAuthorized):
                if isinstance(read_bulletin(blob).says, Successor):
                    self.take(blob, now_s)

    def essentials(self) -> list[bytes]:
        """Of all that holds, what a node needs to find others: they tell it the rest."""
        secret = self.secret
        return [
            kept.blob
            for kept in self._kept.values()
            if isinstance(kept.bulletin.says, Successor)
            or (isinstance(kept.bulletin.says, Secret) and kept.bulletin.says.secret == secret)
        ]

    def _weigh(self) -> None:
        """Work out who is revoked: the realms' own word first, then that of admins who remain."""
        self._retired = self._successors()
        revoked = set(self._said(None))
        self._revoked = frozenset(revoked)
        admins = {k.bulletin.signer for k in self._kept.values() if k.bulletin.signer is not None}
        for admin in sorted(admin for admin in admins if not self.is_revoked(admin)):
            revoked.update(self._said(admin))
        self._revoked = frozenset(revoked)
        self._kept = {
            about: kept
            for about, kept in self._kept.items()
            if kept.bulletin.signer is None or not self.is_revoked(kept.bulletin.signer)
        }

    def _said(self, signer: bytes | None) -> Iterable[str]:
        for kept in self._kept.values():
            says = kept.bulletin.says
            if kept.bulletin.signer == signer and isinstance(says, Revocation):
                yield from says.nodes
                yield from says.tokens

    def _successors(self) -> dict[bytes, int | None]:
        retired: dict[bytes, int | None] = {self.realm: None}
        said = {
            k.bulletin.realm: k.bulletin.says
            for k in self._kept.values()
            if isinstance(k.bulletin.says, Successor)
        }
        realm = self.realm
        while (successor := said.get(realm)) is not None and successor.realm not in retired:
            retired[realm] = successor.retires
            realm = successor.realm
            retired[realm] = None
        return retired

    def _realm_of(self, claimed: bytes, now_s: int) -> bytes:
        """The realm to verify by: the one that is claimed if it is trusted, or else this one's."""
        if claimed in self._retired:
            until = self._retired[claimed]
            if until is None or now_s < until:
                return claimed
            return next(realm for realm, until in self._retired.items() if until is None)
        return self.realm
