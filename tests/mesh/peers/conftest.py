"""A realm, its nodes, and their adverts."""

from __future__ import annotations

import pytest

from mesh.core.identity import NodeIdentity, RealmKey
from mesh.peers.advert import sign_advert

NOW_S = 1_800_000_000


class Author:
    """A node that signs adverts."""

    def __init__(self, realm_public: bytes, roles=("worker",), name="node") -> None:
        self.identity = NodeIdentity.generate()
        self.node_id = self.identity.node_id
        self.realm_public = realm_public
        self.roles = roles
        self.name = name

    def advert(self, sequence=1, lifetime_s=600, port=7000, **changed) -> bytes:
        values = {"realm_public": self.realm_public, "roles": self.roles, "name": self.name}
        return sign_advert(
            self.identity,
            port=port,
            sequence=sequence,
            not_after_s=NOW_S + lifetime_s,
            **(values | changed),
        )


@pytest.fixture(scope="session")
def now_s():
    return NOW_S


@pytest.fixture(scope="session")
def realm():
    return RealmKey.generate().public_key


@pytest.fixture
def author(realm):
    """Make an author; `realm` unless said otherwise."""

    def make(realm_public=realm, **how) -> Author:
        return Author(realm_public, **how)

    return make
