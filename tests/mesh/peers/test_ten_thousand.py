"""A gateway's peer book in a mesh of ten thousand workers: it stays small in what it does."""

from __future__ import annotations

import random

import pytest

from mesh.core.identity import NodeIdentity
from mesh.peers.advert import sign_advert
from mesh.peers.nearness import Coordinate, Position, to_wire
from mesh.peers.peerbook import Limits, Outcome, PeerBook

NODES, LINKED, SECOND = 10_000, 256, 1_000_000


@pytest.fixture(scope="module")
def crowd(realm, now_s):
    """Adverts of workers all over the world, by node id: (advert, address, place)."""
    draw, made = random.Random(4), {}
    for number in range(NODES):
        identity = NodeIdentity.generate()
        place = Coordinate(*(draw.gauss(0, 60) for _ in range(3)), draw.uniform(0.5, 8), 0.1)
        blob = sign_advert(
            identity, realm_public=realm, port=7000, roles=["worker"], name=f"w{number}",
            sequence=1, not_after_s=now_s + 3000, serves=["render"], place=to_wire(place),
        )  # fmt: skip
        address = f"198.{18 + number // 65_536}.{number // 250 % 256}.{number % 250 + 1}:7000"
        made[identity.node_id] = (blob, address, place)
    return made


def dial_all(book, now_us, dead=()):
    """Every dial that is due comes to its end; who was reached."""
    reached = []
    while attempts := book.due(now_us):
        for attempt in attempts:
            if attempt.node in dead:
                book.failed(attempt, now_us)
            else:
                book.connected(attempt.node)
                book.reached(attempt, attempt.node)
                reached.append(attempt.node)
    return reached


def test_of_ten_thousand_a_gateway_links_the_nearest_and_replaces_who_dies(realm, crowd, now_s):
    here = Position(1, Coordinate(10, 20, 30, 1.0, 0.1))
    book = PeerBook(
        me="g" * 39, realm_public=realm, roles=["gateway"], seed=2,
        limits=Limits(workers=LINKED, dials=16),
    )  # fmt: skip
    book.place_is(here)
    for blob, address, _ in crowd.values():
        assert book.sighted("dht", blob, [address], now_s=now_s, now_us=0) is Outcome.NEW
    linked = set(dial_all(book, 0))
    nearest = sorted(crowd, key=lambda node: here.here.distance_ms(crowd[node][2]))
    assert len(linked) == LINKED
    assert len(linked & set(nearest[:LINKED])) >= 0.9 * LINKED
    draw = random.Random(5)
    dead = set(draw.sample(sorted(linked), LINKED * 3 // 10)) | set(nearest[300:400])
    for node in linked & dead:
        book.lost(node, 10 * SECOND)
    again = set()
    for second in range(10, 40):
        again |= set(dial_all(book, second * SECOND, dead))
    alive = (linked - dead) | again
    assert len(alive) == LINKED
    assert not alive & dead
    far = max(here.here.distance_ms(crowd[node][2]) for node in alive)
    assert far <= here.here.distance_ms(crowd[nearest[600]][2])
