from __future__ import annotations

import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.core.identity import NodeIdentity, RealmKey
from mesh.peers.advert import sign_advert
from mesh.peers.backoff import BackOff
from mesh.peers.peerbook import Limits, Outcome, PeerBook, dials

SECOND = 1_000_000
ADDRESS = "192.0.2.7:7000"


@pytest.fixture
def gateway(realm, author):
    return author(roles=("gateway",), name="gateway")


@pytest.fixture
def open_book(realm, gateway):
    def make(me=gateway, **limits) -> PeerBook:
        return PeerBook(
            me=me.node_id, realm_public=realm, roles=me.roles, seed=1, limits=Limits(**limits)
        )

    return make


@pytest.fixture
def see(now_s):
    """Report a sighting; `at_us` runs from `now_s`."""

    def sight(book, blob, addresses=(ADDRESS,), source="mdns", at_us=0) -> Outcome:
        return book.sighted(source, blob, addresses, now_s=now_s + at_us // SECOND, now_us=at_us)

    return sight


def link(book, attempt, node) -> None:
    """What a node does when a dial leads to a link."""
    book.connected(node)
    book.reached(attempt, node)


# --- whom to dial -----------------------------------------------------------------------------


def test_a_gateway_dials_a_worker_as_soon_as_it_is_sighted(open_book, author, see):
    book, worker = open_book(), author()
    assert see(book, worker.advert(), ["192.0.2.7:7000", "192.0.2.8:7000"]) is Outcome.NEW
    [attempt] = book.due(0)
    assert attempt.node == worker.node_id
    assert attempt.addresses == ("192.0.2.7:7000", "192.0.2.8:7000")
    assert book.due(0) == []


def test_a_worker_dials_nobody(open_book, author, see, gateway):
    book = open_book(me=author())
    see(book, gateway.advert())
    see(book, author().advert())
    assert book.due(10 * SECOND) == []


@given(
    mine=st.frozensets(st.sampled_from(["gateway", "worker"]), min_size=1),
    theirs=st.frozensets(st.sampled_from(["gateway", "worker"]), min_size=1),
)
def test_of_two_nodes_that_can_use_each_other_exactly_one_dials(mine, theirs):
    useful = ("gateway" in mine and "worker" in theirs) or (
        "worker" in mine and "gateway" in theirs
    )
    assert dials("a", mine, "b", theirs) + dials("b", theirs, "a", mine) == useful


def test_a_node_does_not_dial_itself(open_book, gateway, see):
    book = open_book()
    assert see(book, gateway.advert()) is Outcome.OWN
    assert book.due(0) == []


def test_dials_under_way_are_bounded(open_book, author, see):
    book = open_book(dials=2)
    for _ in range(5):
        see(book, author().advert())
    first = book.due(0)
    assert len(first) == 2
    assert book.due(0) == []
    book.failed(first[0], 0)
    link(book, first[1], first[1].node)
    assert len(book.due(0)) == 2


def test_a_node_that_links_by_itself_while_it_waits_for_its_dial_is_not_dialled(
    open_book, author, see
):
    book, first, second = open_book(dials=1), author(), author()
    see(book, first.advert())
    [attempt] = book.due(0)
    see(book, second.advert())
    assert book.due(0) == []
    book.connected(second.node_id)
    book.failed(attempt, 0)
    assert book.due(0) == []


def test_a_node_whose_advert_expires_while_it_waits_for_its_dial_is_not_dialled(
    open_book, author, see
):
    book = open_book(dials=1)
    see(book, author().advert())
    [attempt] = book.due(0)
    see(book, author().advert(lifetime_s=10))
    assert book.due(0) == []
    book.failed(attempt, 9 * SECOND)
    assert book.due(10 * SECOND) == [attempt]


def test_a_node_that_renews_its_advert_while_it_waits_takes_no_more_room(open_book, author, see):
    book, waiting = open_book(dials=1), author()
    see(book, author().advert())
    book.due(0)
    for n in range(500):
        see(book, waiting.advert(n), at_us=n)
        book.due(n)
    assert len(book._ready) == 1
    assert len(book._timers) <= 70


# --- believing adverts ------------------------------------------------------------------------


def test_another_realms_node_is_not_dialled_and_the_reason_is_said_once(
    open_book, author, see, caplog
):
    book = open_book()
    stranger = author(realm_public=RealmKey.generate().public_key, name="stranger")
    assert see(book, stranger.advert(1)) is Outcome.OTHER_REALM
    assert see(book, stranger.advert(2)) is Outcome.OTHER_REALM
    assert book.due(0) == []
    assert book.counts["mdns"][Outcome.OTHER_REALM] == 2
    [record] = caplog.records
    assert "belongs to realm" in record.message
    assert stranger.node_id in record.message


def test_a_tampered_advert_is_counted_and_the_reason_is_said_once(open_book, author, see, caplog):
    book = open_book()
    blob = author(name="abc").advert().replace(b"abc", b"abd")
    assert see(book, blob) is Outcome.UNTRUSTED
    assert see(book, blob) is Outcome.UNTRUSTED
    assert book.counts["mdns"][Outcome.UNTRUSTED] == 2
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "tampered" in caplog.text
    assert "mdns" in caplog.text


def test_the_victim_of_tampering_is_told_too(open_book, gateway, see, caplog):
    book = open_book()
    assert see(book, gateway.advert().replace(b"gateway", b"getaway")) is Outcome.UNTRUSTED
    assert "this node's own" in caplog.text


def test_an_expired_advert_is_not_believed(open_book, author, see):
    book = open_book()
    assert see(book, author().advert(lifetime_s=5), at_us=5 * SECOND) is Outcome.UNTRUSTED
    assert book.due(5 * SECOND) == []


def test_a_flood_of_strangers_is_not_a_flood_of_log_lines(open_book, author, see, caplog):
    book = open_book()
    foreign = RealmKey.generate().public_key
    for _ in range(300):
        see(book, author(realm_public=foreign).advert())
    assert len(caplog.records) == 256
    assert book.counts["mdns"][Outcome.OTHER_REALM] == 300


@pytest.mark.parametrize(
    "address",
    ["", "192.0.2.1", "host.example:80", "192.0.2.1:0", "192.0.2.1:65536", "224.0.0.251:5353",
     "0.0.0.0:80", "[::]:80", "192.0.2.1:x", "1" * 200 + ":80"],
)  # fmt: skip
def test_an_address_that_cannot_be_a_nodes_is_not_dialled(open_book, author, see, address):
    book = open_book()
    assert see(book, author().advert(), [address]) is Outcome.NO_ADDRESS
    assert book.due(0) == []


def test_ipv6_addresses_are_dialled(open_book, author, see):
    book = open_book()
    see(book, author().advert(), ["[2001:db8::7]:7000", "[fe80::1%eth0]:7000"])
    [attempt] = book.due(0)
    assert attempt.addresses == ("[2001:db8::7]:7000", "[fe80::1%eth0]:7000")


# --- merging sightings ------------------------------------------------------------------------


def test_the_highest_sequence_number_wins_whatever_the_order(open_book, author, see):
    book, worker = open_book(), author()
    assert see(book, worker.advert(2, port=7002), ["192.0.2.7:7002"]) is Outcome.NEW
    assert see(book, worker.advert(1, port=7001), ["192.0.2.7:7001"]) is Outcome.STALE
    assert see(book, worker.advert(3, port=7003), ["192.0.2.7:7003"]) is Outcome.NEWER
    [attempt] = book.due(0)
    assert attempt.addresses == ("192.0.2.7:7003",)


def test_two_finders_addresses_are_tried_latest_first_without_repeats(open_book, author, see):
    book, blob = open_book(), author().advert()
    see(book, blob, ["192.0.2.7:7000", "192.0.2.8:7000"], source="mdns")
    assert see(book, blob, ["203.0.113.5:7000", "192.0.2.7:7000"], source="dht") is Outcome.KNOWN
    [attempt] = book.due(0)
    assert attempt.addresses == ("203.0.113.5:7000", "192.0.2.7:7000", "192.0.2.8:7000")


def test_replaying_an_advert_elsewhere_does_not_displace_the_true_address(open_book, author, see):
    book, blob = open_book(), author().advert()
    see(book, blob, ["192.0.2.7:7000"])
    see(book, blob, ["198.51.100.66:7000"])
    [attempt] = book.due(0)
    assert "192.0.2.7:7000" in attempt.addresses


# --- links coming and going -------------------------------------------------------------------


def test_a_linked_node_is_not_dialled_again(open_book, author, see):
    book, worker = open_book(), author()
    see(book, worker.advert())
    [attempt] = book.due(0)
    link(book, attempt, worker.node_id)
    see(book, worker.advert(2), at_us=SECOND)
    assert book.due(60 * SECOND) == []


def test_a_lost_link_is_dialled_again_at_once(open_book, author, see):
    book, worker = open_book(), author()
    see(book, worker.advert())
    [attempt] = book.due(0)
    link(book, attempt, worker.node_id)
    book.lost(worker.node_id, 60 * SECOND)
    assert [a.node for a in book.due(60 * SECOND)] == [worker.node_id]


def test_a_link_that_is_dropped_right_after_each_dial_is_backed_off(open_book, author, see):
    book, worker = open_book(), author()
    see(book, worker.advert())
    now_us, gaps = 0, []
    for _ in range(5):
        [attempt] = book.due(now_us)
        link(book, attempt, worker.node_id)
        book.lost(worker.node_id, now_us)
        due_us = book.next_due_us()
        gaps.append(due_us - now_us)
        now_us = due_us
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 8 * 50_000


def test_failures_back_off_and_a_newer_advert_brings_the_next_try_forward(open_book, author, see):
    book, worker = open_book(), author()
    see(book, worker.advert(1))
    now_us = 0
    for _ in range(8):
        [attempt] = book.due(now_us)
        book.failed(attempt, now_us)
        assert book.due(now_us) == []
        now_us = book.next_due_us()
    [attempt] = book.due(now_us)
    book.failed(attempt, now_us)
    assert book.next_due_us() >= now_us + 5 * SECOND
    assert see(book, worker.advert(2), at_us=now_us + SECOND) is Outcome.NEWER
    assert [a.node for a in book.due(now_us + SECOND)] == [worker.node_id]


def test_a_node_that_renews_its_advert_without_end_is_not_dialled_without_end(
    open_book, author, see
):
    book, worker = open_book(), author()
    dialled = 0
    for n in range(1000):  # one second
        see(book, worker.advert(n), at_us=n * 1000)
        for attempt in book.due(n * 1000):
            dialled += 1
            book.failed(attempt, n * 1000)
    assert dialled <= 11


def test_an_expired_peer_is_forgotten_but_not_while_linked(open_book, author, see):
    book, short, linked = open_book(), author(), author()
    for node in (short, linked):
        see(book, node.advert(lifetime_s=10))
    for attempt in book.due(0):
        if attempt.node == linked.node_id:
            link(book, attempt, linked.node_id)
        else:
            book.failed(attempt, 0)
    assert book.due(10 * SECOND) == []
    assert [(p.node, p.state) for p in book.peers()] == [(linked.node_id, "linked")]
    book.lost(linked.node_id, 11 * SECOND)
    assert book.due(11 * SECOND) == []
    assert book.peers() == []


# --- configured addresses ---------------------------------------------------------------------


def test_a_configured_address_is_dialled_whoever_answers(open_book, author):
    book, worker = open_book(), author()
    book.add_static("peer.example:7000")
    [attempt] = book.due(0)
    assert (attempt.node, attempt.addresses) == (None, ("peer.example:7000",))
    link(book, attempt, worker.node_id)
    assert book.due(10 * SECOND) == []
    book.lost(worker.node_id, 10 * SECOND)
    assert len(book.due(10 * SECOND)) == 1


def test_a_configured_address_whose_link_is_gone_before_the_dial_returns_is_tried_again(
    open_book, author
):
    book, worker = open_book(), author()
    book.add_static(ADDRESS)
    [attempt] = book.due(0)
    book.connected(worker.node_id)
    book.lost(worker.node_id, 0)
    book.reached(attempt, worker.node_id)
    assert 0 < book.next_due_us() <= SECOND
    assert len(book.due(SECOND)) == 1


def test_a_node_that_is_configured_and_found_is_dialled_once(open_book, author, see):
    book, worker = open_book(), author()
    book.add_static(ADDRESS)
    [attempt] = book.due(0)
    link(book, attempt, worker.node_id)
    see(book, worker.advert())
    book.lost(worker.node_id, 10 * SECOND)
    assert [a.node for a in book.due(10 * SECOND)] == [None]


def test_a_node_that_left_its_configured_address_is_dialled_where_it_was_found(
    open_book, author, see
):
    book, worker = open_book(), author()
    book.add_static(ADDRESS)
    [attempt] = book.due(0)
    link(book, attempt, worker.node_id)
    see(book, worker.advert(), ["192.0.2.99:7000"])
    book.lost(worker.node_id, 10 * SECOND)
    [attempt] = book.due(10 * SECOND)
    book.failed(attempt, 10 * SECOND)
    assert [a.node for a in book.due(10 * SECOND)] == [worker.node_id]


# --- bounds -----------------------------------------------------------------------------------


def test_a_full_book_keeps_what_it_has_until_something_fails(open_book, author, see):
    book = open_book(peers=3)
    for _ in range(3):
        assert see(book, author().advert()) is Outcome.NEW
    newcomer = author()
    assert see(book, newcomer.advert()) is Outcome.FULL
    book.failed(book.due(0)[0], 0)
    assert see(book, newcomer.advert()) is Outcome.NEW
    assert len(book.peers()) == 3


def test_a_node_that_was_linked_never_gives_way(open_book, author, see):
    book, worker = open_book(peers=1), author()
    see(book, worker.advert())
    [attempt] = book.due(0)
    link(book, attempt, worker.node_id)
    book.lost(worker.node_id, 60 * SECOND)
    [attempt] = book.due(60 * SECOND)
    book.failed(attempt, 60 * SECOND)
    assert see(book, author().advert(), at_us=60 * SECOND) is Outcome.FULL


def test_adverts_cannot_aim_a_crowd_of_dials_at_one_host(open_book, author, see):
    book = open_book(peers_per_host=2)
    victim = "198.51.100.1:22"
    outcomes = [see(book, author().advert(), [victim]) for _ in range(3)]
    assert outcomes == [Outcome.NEW, Outcome.NEW, Outcome.FULL]
    elsewhere = author()
    assert see(book, elsewhere.advert(1), ["198.51.100.2:22"]) is Outcome.NEW
    assert see(book, elsewhere.advert(2), [victim]) is Outcome.FULL


@given(failures=st.integers(1, 10_000), seed=st.integers())
def test_a_back_off_lies_between_half_and_the_whole_of_its_step(failures, seed):
    back_off = BackOff(first_us=100, longest_us=10_000)
    whole = min(10_000, 100 * 2 ** min(failures - 1, 20))
    assert whole // 2 <= back_off.delay_us(failures, random.Random(seed)) <= whole


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens, in whatever order, the book's promises hold."""

    LIMITS = Limits(peers=4, peers_per_host=3, addresses_per_peer=3, dials=2)
    REALM = RealmKey.generate().public_key
    NODES = tuple(NodeIdentity.generate() for _ in range(7))
    ME = NodeIdentity.generate().node_id

    def __init__(self) -> None:
        super().__init__()
        self.book = PeerBook(
            me=self.ME, realm_public=self.REALM, roles=("gateway",), seed=3, limits=self.LIMITS
        )
        self.now_us = 0
        self.dialling: list = []
        self.linked: set[str] = set()

    @rule(
        node=st.sampled_from(NODES), sequence=st.integers(0, 5), lifetime=st.integers(1, 30),
        hosts=st.lists(st.integers(1, 4), max_size=4), source=st.sampled_from(["a", "b"]),
    )  # fmt: skip
    def sight(self, node, sequence, lifetime, hosts, source):
        now_s = self.now_us // SECOND
        blob = sign_advert(
            node, realm_public=self.REALM, port=7000 + sequence, roles=("worker",), name="n",
            sequence=sequence, not_after_s=now_s + lifetime,
        )  # fmt: skip
        addresses = [f"192.0.2.{h}:{7000 + sequence}" for h in hosts]
        self.book.sighted(source, blob, addresses, now_s=now_s, now_us=self.now_us)

    @rule()
    def configure(self):
        self.book.add_static("192.0.2.200:1")

    @rule(by_us=st.integers(1, 12 * SECOND))
    def wait(self, by_us):
        self.now_us += by_us

    @rule()
    def dial(self):
        for attempt in self.book.due(self.now_us):
            assert attempt.node not in self.linked
            assert 1 <= len(attempt.addresses) <= self.LIMITS.addresses_per_peer
            assert attempt.key not in [a.key for a in self.dialling]
            self.dialling.append(attempt)

    @precondition(lambda self: self.dialling)
    @rule(works=st.booleans(), dropped=st.booleans(), node=st.sampled_from(NODES))
    def finish_dial(self, works, dropped, node):
        attempt = self.dialling.pop(0)
        if works:
            reached = attempt.node or node.node_id
            self.linked.add(reached)
            self.book.connected(reached)
            if dropped:
                self.linked.discard(reached)
                self.book.lost(reached, self.now_us)
            self.book.reached(attempt, reached)
        else:
            self.book.failed(attempt, self.now_us)

    @precondition(lambda self: self.linked)
    @rule(data=st.data())
    def lose(self, data):
        node = data.draw(st.sampled_from(sorted(self.linked)))
        self.linked.discard(node)
        self.book.lost(node, self.now_us)

    @invariant()
    def bounds_hold(self):
        peers = self.book.peers()
        assert len(peers) <= self.LIMITS.peers + 1  # and the configured one
        assert sum(p.state == "dialling" for p in peers) <= self.LIMITS.dials
        hosts = [
            {a.rpartition(":")[0] for a in p.addresses} for p in peers if p.addresses and p.name
        ]
        for host in set().union(*hosts):
            assert sum(host in found for found in hosts) <= self.LIMITS.peers_per_host

    @invariant()
    def whoever_waits_is_dialled_in_the_end(self):
        waiting = [p for p in self.book.peers() if p.state == "waiting"]
        slots = self.LIMITS.dials - len(self.dialling)
        if waiting and slots > 0:
            assert self.book.next_due_us() is not None


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(stateful_step_count=40)
