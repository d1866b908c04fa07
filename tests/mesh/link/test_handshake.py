import pytest

from mesh.core.errors import NotAuthorized, PeerRefused, Problem
from mesh.core.identity import fingerprint
from mesh.core.wire import PROTOCOL_VERSION, Hello
from mesh.link.handshake import judge, make_hello, refused_by

NEXT = PROTOCOL_VERSION + 1
NOW = 2_000_000_000


@pytest.fixture
def me(realm):
    return realm.member(end_s=10**9)


@pytest.fixture
def other(realm):
    return realm.member(end_s=10**9)


def judged(me, other, **changes):
    hello = make_hello(other, ())
    said = {"version": hello.version, "oldest_version": hello.oldest_version} | changes
    expect = said.pop("expect", None)
    return judge(
        me,
        other.identity.public_key,
        Hello(membership=other.membership, software="test", **said),
        address="192.0.2.1:7000",
        now_s=NOW,
        expect=expect,
    )


def test_a_member_of_the_realm_is_a_peer(me, other):
    peer = judged(me, other, expect=other.identity.node_id)
    assert peer.node_id == other.identity.node_id
    assert peer.membership.node == other.identity.public_key
    assert (peer.version, peer.address) == (PROTOCOL_VERSION, "192.0.2.1:7000")


def test_a_newer_peer_that_still_speaks_our_version_is_met_at_ours(me, other):
    assert judged(me, other, version=NEXT + 5).version == PROTOCOL_VERSION


def test_without_a_common_version_both_ranges_are_named(me, other):
    with pytest.raises(PeerRefused, match=f"speaks {NEXT} to {NEXT + 5}") as refused:
        judged(me, other, version=NEXT + 5, oldest_version=NEXT)
    assert me.identity.node_id in refused.value.why
    with pytest.raises(PeerRefused, match="speaks 0"):
        judged(me, other, version=0, oldest_version=0)


def test_a_node_does_not_link_with_itself(me):
    with pytest.raises(PeerRefused, match="this node itself"):
        judged(me, me)


def test_another_node_than_the_expected_one_is_refused(me, other):
    with pytest.raises(PeerRefused, match=f"{fingerprint(other.identity.public_key)} answers"):
        judged(me, other, expect=me.identity.node_id)


def test_a_stranger_is_refused(me, foreign_realm):
    with pytest.raises(NotAuthorized, match="another realm"):
        judged(me, foreign_realm.member())


def test_what_a_peer_writes_cannot_forge_lines_in_our_log():
    refused = refused_by("here", Problem("x", "what", "why\r\n\x1b[2Kall is well", "fix\u2028it"))
    assert str(refused).isprintable()
