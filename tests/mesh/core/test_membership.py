import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import Misuse, NotAuthorized
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.membership import (
    MAX_MEMBERSHIP,
    Role,
    read_membership,
    sign_membership,
    verify_membership,
)
from mesh.core.token import MAX_TOKEN, Scope, sign_token, verify_token

REALM, FOREIGN = RealmKey.generate(), RealmKey.generate()
NODE, OTHER = NodeIdentity.generate(), NodeIdentity.generate()
BEGIN, NOW, END = 1_000, 2_000, 3_000


def membership(realm=REALM, node=NODE, roles=(Role.GATEWAY,), begin=BEGIN, end=END):
    return sign_membership(
        realm,
        node_public=node.public_key,
        roles=roles,
        not_before=begin,
        not_after=end,
        name="desk",
    )


def token(key=REALM, realm=REALM, scopes=(Scope.VIEW,), begin=BEGIN, end=END, proof=b""):
    return sign_token(
        key,
        realm_public=realm.public_key,
        subject="browser",
        scopes=scopes,
        not_before=begin,
        not_after=end,
        membership=proof,
    )


def test_a_membership_says_what_was_signed():
    blob = membership(roles=[Role.WORKER, Role.RELAY])
    read = verify_membership(blob, REALM.public_key, NODE.public_key, NOW)
    assert read.roles == {"worker", "relay"}
    assert (read.name, read.not_before, read.not_after) == ("desk", BEGIN, END)
    assert read.has(Role.WORKER) and read.has(Role.ADMIN, Role.RELAY)
    assert not read.has(Role.GATEWAY)


def test_a_membership_holds_from_its_first_second_until_before_its_last():
    blob = membership()
    for now in (BEGIN, END - 1):
        assert verify_membership(blob, REALM.public_key, NODE.public_key, now)


def _tampered(blob):
    return blob.replace(b"gateway", b"gatewax")


@pytest.mark.parametrize(
    ("blob", "now", "why"),
    [
        (b"", NOW, "presented no membership"),
        (membership(realm=FOREIGN), NOW, f"of another realm, {FOREIGN.realm_id}"),
        (membership(node=OTHER), NOW, f"another node's, {OTHER.node_id}"),
        (_tampered(membership()), NOW, "tampered with"),
        (membership(), BEGIN - 5, "not valid for another 5 s"),
        (membership(), END + 7, "expired 7 s ago"),
        (b"\x93", NOW, "cannot be read"),
        (b"\0" * (MAX_MEMBERSHIP + 1), NOW, "longer than"),
    ],
)
def test_each_reason_to_refuse_a_membership_is_its_own_message(blob, now, why):
    with pytest.raises(NotAuthorized, match=why) as refused:
        verify_membership(blob, REALM.public_key, NODE.public_key, now)
    assert refused.value.fix


def test_a_realm_named_in_a_membership_signed_by_another_key_is_tampering():
    forged = membership(realm=FOREIGN).replace(FOREIGN.public_key, REALM.public_key)
    with pytest.raises(NotAuthorized, match="tampered with"):
        verify_membership(forged, REALM.public_key, NODE.public_key, NOW)


@given(st.data())
def test_no_changed_byte_goes_unnoticed(data):
    blob = bytearray(membership())
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotAuthorized):
        verify_membership(bytes(blob), REALM.public_key, NODE.public_key, NOW)


@given(st.binary(max_size=300), st.text(max_size=300))
def test_nonsense_is_refused_and_nothing_else(blob, text):
    with pytest.raises(NotAuthorized):
        verify_membership(blob, REALM.public_key, NODE.public_key, NOW)
    for written in (text, "fm1." + text):
        with pytest.raises(NotAuthorized):
            verify_token(written, REALM.public_key, NOW)


def test_a_joining_node_learns_the_realm_from_its_membership():
    assert read_membership(membership(), NODE.public_key, NOW).realm == REALM.public_key
    with pytest.raises(NotAuthorized, match="another node's"):
        read_membership(membership(), OTHER.public_key, NOW)


def test_a_role_of_a_newer_version_is_kept_and_grants_nothing_known():
    blob = membership(roles=["archivist"])
    read = verify_membership(blob, REALM.public_key, NODE.public_key, NOW)
    assert read.roles == {"archivist"}
    assert not read.has(*Role)


@pytest.mark.parametrize(
    "wrong", [{"roles": []}, {"begin": END, "end": BEGIN}, {"begin": -1}, {"roles": ["x" * 65]}]
)
def test_a_membership_no_reader_would_accept_is_not_signed(wrong):
    with pytest.raises(Misuse, match="was not signed"):
        membership(**wrong)


@pytest.mark.parametrize("key", [REALM, NODE])
def test_the_realm_and_its_gateways_may_make_tokens(key):
    proof = b"" if key is REALM else membership()
    text = token(key, scopes=[Scope.VIEW, Scope.CONTROL], proof=proof)
    read = verify_token(text, REALM.public_key, NOW)
    assert (read.subject, read.scopes, read.signer) == (
        "browser",
        {"view", "control"},
        key.public_key,
    )
    read.require(Scope.CONTROL)
    with pytest.raises(NotAuthorized, match=r"'infer' is not allowed: .* grants control, view"):
        read.require(Scope.INFER)


def test_a_token_goes_into_a_url_as_it_is_and_no_two_are_equal():
    one, two = (token(NODE, proof=membership()) for _ in range(2))
    assert one != two
    assert len(one) < MAX_TOKEN
    assert set(one) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def _with_proof(text_key, proof):
    """A token whose proof is not the signer's: `sign_token` cannot know, `verify_token` must."""
    return token(text_key, proof=proof)


@pytest.mark.parametrize(
    ("text", "now", "why"),
    [
        ("", NOW, "presented no token"),
        ("hello", NOW, "does not start with"),
        ("fm1.é", NOW, "not base64url"),
        ("fm1.AAAA", NOW, "cannot be read"),
        ("fm1." + "A" * MAX_TOKEN, NOW, "longer than"),
        (token(FOREIGN, FOREIGN), NOW, "of another realm"),
        (token(FOREIGN, REALM, proof=b"\x90"), NOW, "membership cannot be read"),
        (_with_proof(NODE, membership(roles=[Role.WORKER])), NOW, "is no gateway or admin"),
        (_with_proof(OTHER, membership()), NOW, "is no gateway or admin"),
        (_with_proof(NODE, membership(realm=FOREIGN)), NOW, "signer: its membership is of another"),
        (_with_proof(NODE, membership(end=NOW - 9)), NOW, "signer: its membership expired 9 s"),
        (token(), BEGIN - 3, "not valid for another 3 s"),
        (token(), END, "token expired 0 s ago"),
    ],
)
def test_each_reason_to_refuse_a_token_is_its_own_message(text, now, why):
    with pytest.raises(NotAuthorized, match=why) as refused:
        verify_token(text, REALM.public_key, now)
    assert refused.value.fix


def test_a_token_without_its_signers_proof_is_refused():
    whole = token(NODE, proof=membership())
    envelope = msgspec.msgpack.decode(_decoded(whole))
    envelope[2] = b""
    with pytest.raises(NotAuthorized, match="no proof that the realm trusts that key"):
        verify_token(_encoded(msgspec.msgpack.encode(envelope)), REALM.public_key, NOW)


@given(st.data())
def test_no_changed_byte_of_a_token_goes_unnoticed(data):
    blob = bytearray(_decoded(token(NODE, proof=membership())))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotAuthorized):
        verify_token(_encoded(bytes(blob)), REALM.public_key, NOW)


def test_a_membership_is_no_token_and_a_token_no_membership():
    with pytest.raises(NotAuthorized):
        verify_token(_encoded(membership()), REALM.public_key, NOW)
    with pytest.raises(NotAuthorized):
        verify_membership(_decoded(token()), REALM.public_key, NODE.public_key, NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"begin": END, "end": BEGIN},
        {"key": NODE},
        {"proof": membership()},
    ],
)
def test_a_token_no_reader_would_accept_is_not_signed(wrong):
    with pytest.raises(Misuse, match="was not signed"):
        token(**wrong)


def _decoded(text):
    return msgspec.json.decode(f'"{_plain(text)}"'.encode(), type=bytes)


def _encoded(blob):
    plain = msgspec.json.decode(msgspec.json.encode(blob))
    return "fm1." + plain.replace("+", "-").replace("/", "_").rstrip("=")


def _plain(text):
    plain = text.removeprefix("fm1.").replace("-", "+").replace("_", "/")
    return plain + "=" * (-len(plain) % 4)
