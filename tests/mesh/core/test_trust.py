"""What admins say counts, in the right order, and nobody else's word does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.bulletin import Renewal, Revocation, Secret, Successor, sign_bulletin
from mesh.core.errors import NotAuthorized
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.membership import GRANTED_BY_ADMINS, Role, sign_membership, verify_membership
from mesh.core.token import Scope, sign_token
from mesh.core.trust import MAX_BULLETINS, Trust

REALM, FOREIGN, NEXT = RealmKey.generate(), RealmKey.generate(), RealmKey.generate()
ADMIN, SECOND, GUEST, NODE = (NodeIdentity.generate() for _ in range(4))
BEGIN, NOW, END = 1_000, 2_000, 3_000


def member(key=REALM, node=NODE, roles=(Role.WORKER,), end=END, **how):
    return sign_membership(
        key, node_public=node.public_key, roles=roles, not_before=BEGIN, not_after=end, **how
    )


def under(key, proof, node=NODE, roles=(Role.WORKER,), realm=REALM, **how):
    return member(key, node, roles, realm_public=realm.public_key, proof=proof, **how)


APPOINTED = member(node=ADMIN, roles=(Role.ADMIN,), admits=GRANTED_BY_ADMINS)
ALSO = member(node=SECOND, roles=(Role.ADMIN,), admits=GRANTED_BY_ADMINS)
INVITED = under(ADMIN, APPOINTED, GUEST, (Role.INVITATION,), admits=(Role.WORKER,))


def says(what, sequence=1, key=REALM, proof=b"", realm=REALM):
    return sign_bulletin(key, what, sequence=sequence, realm_public=realm.public_key, proof=proof)


def out(*nodes):
    return Revocation(nodes={node.fingerprint: END for node in nodes})


def judged(trust, blob, node=NODE, now=NOW):
    return trust.membership(blob, node.public_key, now)


# --- who may admit ------------------------------------------------------------------------------


def test_an_admin_admits_and_an_invitation_admits_in_its_name():
    trust = Trust(REALM.public_key)
    assert judged(trust, under(ADMIN, APPOINTED)).signer == ADMIN.public_key
    assert judged(trust, under(GUEST, INVITED)).has(Role.WORKER)


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (under(ADMIN, APPOINTED, roles=(Role.ADMIN,)), "may not grant admin"),
        (under(GUEST, INVITED, roles=(Role.GATEWAY,)), "may not grant gateway"),
        (under(GUEST, INVITED, roles=(Role.INVITATION,)), "may not grant invitation"),
        (under(SECOND, APPOINTED), "the proof in it is another key's"),
        (under(ADMIN, member(node=ADMIN, roles=(Role.WORKER,))), "may not grant worker"),
        (under(NODE, under(GUEST, INVITED, roles=(Role.WORKER,))), "is too long"),
        (under(ADMIN, APPOINTED, admits=(Role.WORKER,)), "only invitations admit"),
        (under(ADMIN, member(FOREIGN, ADMIN, (Role.ADMIN,))), "of another realm"),
        (under(ADMIN, member(node=ADMIN, roles=(Role.ADMIN,), end=NOW - 5)), "expired 5 s ago"),
        (
            under(ADMIN, member(node=ADMIN, roles=(Role.ADMIN,), admits=GRANTED_BY_ADMINS,
                                capabilities=("infer",))),
            "may not grant all those capabilities",
        ),
    ],
)  # fmt: skip
def test_nobody_grants_more_than_was_given(blob, why):
    with pytest.raises(NotAuthorized, match=why):
        verify_membership(blob, REALM.public_key, NODE.public_key, NOW)


def test_a_chain_has_an_end():
    deep = under(GUEST, INVITED, SECOND, (Role.WORKER,))
    for _ in range(2):
        deep = under(SECOND, deep[:2000], SECOND)
        with pytest.raises(NotAuthorized):
            verify_membership(deep, REALM.public_key, SECOND.public_key, NOW)


def test_capabilities_say_what_a_node_may_serve():
    trust = Trust(REALM.public_key)
    bound = judged(trust, member(capabilities=("render",), region="north"))
    assert bound.may_serve("render") and not bound.may_serve("infer")
    assert judged(trust, member()).may_serve("anything")
    assert bound.region == "north"


# --- who is thrown out --------------------------------------------------------------------------


def test_who_is_revoked_is_refused_and_with_an_admin_whom_it_admitted():
    trust = Trust(REALM.public_key)
    by_admin, by_realm = under(ADMIN, APPOINTED), member()
    seen = judged(trust, by_admin)
    assert trust.take(says(out(ADMIN)), NOW)
    with pytest.raises(NotAuthorized, match="was revoked"):
        judged(trust, by_admin)
    assert not trust.holds(seen, NOW)
    assert judged(trust, by_realm)
    assert trust.take(says(out(ADMIN, NODE), 2), NOW)
    with pytest.raises(NotAuthorized, match="was revoked"):
        judged(trust, by_realm)


def test_tokens_are_revoked_by_id_and_with_their_signer():
    gate = member(node=NODE, roles=(Role.GATEWAY,))
    texts = [
        sign_token(
            key, realm_public=REALM.public_key, subject="s", scopes=[Scope.VIEW],
            not_before=BEGIN, not_after=END, membership=proof,
        )
        for key, proof in ((REALM, b""), (NODE, gate))
    ]  # fmt: skip
    trust = Trust(REALM.public_key)
    tokens = [trust.token(text, NOW) for text in texts]
    trust.take(says(Revocation(tokens={tokens[0].id.hex(): END})), NOW)
    with pytest.raises(NotAuthorized, match="revoked"):
        trust.token(texts[0], NOW)
    assert [trust.holds_token(token, NOW) for token in tokens] == [False, True]
    trust.take(says(out(NODE), key=ADMIN, proof=APPOINTED), NOW)
    with pytest.raises(NotAuthorized, match="revoked"):
        trust.token(texts[1], NOW)
    assert not trust.holds_token(tokens[1], NOW)


def test_what_a_revoked_admin_said_counts_no_more():
    trust = Trust(REALM.public_key)
    trust.take(says(out(NODE), key=ADMIN, proof=APPOINTED), NOW)
    with pytest.raises(NotAuthorized):
        judged(trust, member())
    trust.take(says(out(ADMIN)), NOW)
    assert judged(trust, member())
    with pytest.raises(NotAuthorized, match="was revoked"):
        trust.take(says(out(NODE), 9, key=ADMIN, proof=APPOINTED), NOW)


# --- bulletins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (sign_bulletin(FOREIGN, out(NODE), sequence=1), "of another realm"),
        (says(out(ADMIN)).replace(ADMIN.fingerprint[:7].encode(), b"0000000"), "tampered"),
        (says(out(ADMIN), key=NODE, proof=member(roles=(Role.GATEWAY,))), "no admin"),
        (says(Successor(NEXT.public_key, END), key=ADMIN, proof=APPOINTED), "that key alone"),
        (b"", "cannot be read"),
        (b"\x93" * 40_000, "longer than"),
    ],
)
def test_each_reason_to_refuse_a_bulletin_is_its_own_message(blob, why):
    trust = Trust(REALM.public_key)
    with pytest.raises(NotAuthorized, match=why):
        trust.take(blob, NOW)
    assert not trust.bulletins()


@given(st.permutations(range(6)))
def test_in_whatever_order_they_come_the_newest_of_each_signer_counts(order):
    said = [
        says(Secret(bytes([1] * 32)), 1),
        says(Secret(bytes([2] * 32)), 3),
        says(Secret(bytes([3] * 32)), 2, key=ADMIN, proof=APPOINTED),
        says(out(NODE), 1),
        says(out(GUEST), 2),
        says(out(SECOND), 1, key=ADMIN, proof=APPOINTED),
    ]
    trust = Trust(REALM.public_key)
    for at in order:
        trust.take(said[at], NOW)
    assert trust.secret == bytes([2] * 32)
    revoked = {who.fingerprint for who in (ADMIN, SECOND, GUEST, NODE)
               if trust.is_revoked(who.public_key)}  # fmt: skip
    assert revoked == {GUEST.fingerprint, SECOND.fingerprint}
    again = Trust(REALM.public_key, trust.bulletins(), NOW)
    assert again.secret == trust.secret
    assert sorted(again.bulletins()) == sorted(trust.bulletins())


def test_what_was_heard_before_is_no_news():
    trust, blob = Trust(REALM.public_key), says(out(NODE))
    assert trust.take(blob, NOW)
    assert not trust.take(blob, NOW)


def test_a_board_is_bounded():
    trust = Trust(REALM.public_key)
    for number in range(MAX_BULLETINS):
        trust.take(says(Renewal(f"{number:039d}", b"m")), NOW)
    with pytest.raises(NotAuthorized, match="kept already"):
        trust.take(says(Renewal("z" * 39, b"m")), NOW)
    assert trust.take(says(Renewal("0" * 39, b"newer"), 2), NOW)


# --- the realm's key changes --------------------------------------------------------------------


def test_a_successor_is_believed_beside_the_old_key_until_that_retires():
    trust = Trust(REALM.public_key)
    new = member(NEXT)
    with pytest.raises(NotAuthorized, match="another realm"):
        judged(trust, new)
    trust.take(says(Successor(NEXT.public_key, NOW + 10)), NOW)
    old = judged(trust, member())
    assert judged(trust, new).realm == NEXT.public_key
    with pytest.raises(NotAuthorized, match="another realm"):
        judged(trust, member(), now=NOW + 10)
    assert not trust.holds(old, NOW + 10)
    assert judged(trust, new, now=NOW + 10)


def test_the_successor_speaks_for_the_realm_and_names_its_own():
    trust = Trust(REALM.public_key)
    trust.take(says(Successor(NEXT.public_key, END)), NOW)
    trust.take(says(out(GUEST), key=NEXT, realm=NEXT), NOW)
    assert trust.is_revoked(GUEST.public_key)
    trust.take(says(Successor(FOREIGN.public_key, END), key=NEXT, realm=NEXT), NOW)
    assert judged(trust, member(FOREIGN)).realm == FOREIGN.public_key
    assert trust.renewal(NODE.node_id) is None
    trust.take(says(Renewal(NODE.node_id, member(NEXT)), key=NEXT, realm=NEXT), NOW)
    assert trust.renewal(NODE.node_id) == trust.renewal(NODE.node_id) != b""
