from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused, Misuse, NotAuthorized
from mesh.core.identity import fingerprint
from mesh.peers.advert import MAX_ADVERT, MAX_LIFETIME_S, claimed_node, read_advert


def test_what_was_signed_is_what_is_read(author, realm, now_s):
    node = author(name="garage", roles=("gateway", "worker"))
    advert = read_advert(node.advert(sequence=7, port=4711), now_s)
    assert advert.node_id == node.node_id
    assert (advert.sequence, advert.port, advert.name) == (7, 4711, "garage")
    assert advert.roles == ("gateway", "worker")
    assert advert.realm == fingerprint(realm)
    assert realm not in node.advert()


def test_an_advert_of_a_node_with_every_role_and_a_long_name_fits(author):
    roles = ("worker", "gateway", "relay", "client", "admin")
    assert len(author(name="n" * 32, roles=roles).advert(sequence=2**52)) <= MAX_ADVERT


def test_changing_any_single_byte_is_noticed(author, now_s):
    blob = author().advert()
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises((NotAuthorized, ContentRefused)):
            read_advert(bytes(changed), now_s)


def test_a_tampered_advert_is_refused_with_the_reason(author, now_s):
    blob = author(name="abc").advert().replace(b"abc", b"abd")
    with pytest.raises(NotAuthorized, match="tampered with"):
        read_advert(blob, now_s)


def test_an_advert_holds_until_the_second_before_its_end(author, now_s):
    blob = author().advert(lifetime_s=10)
    assert read_advert(blob, now_s + 9)
    with pytest.raises(NotAuthorized, match="expired 0 s ago"):
        read_advert(blob, now_s + 10)


def test_an_advert_dated_far_ahead_is_refused(author, now_s):
    with pytest.raises(NotAuthorized, match="claims to hold for"):
        read_advert(author().advert(lifetime_s=MAX_LIFETIME_S + 1), now_s)


def test_an_oversize_advert_is_refused_before_it_is_decoded(now_s):
    with pytest.raises(ContentRefused, match="401 bytes"):
        read_advert(bytes(MAX_ADVERT + 1), now_s)


@given(st.binary(max_size=MAX_ADVERT + 8))
def test_noise_is_refused(noise):
    with pytest.raises((ContentRefused, NotAuthorized)):
        read_advert(noise, 0)


@pytest.mark.parametrize("name", ["a\nb", "<b>", "N", "n" * 49, "n\n"])
def test_a_name_that_could_pass_for_something_else_is_neither_signed_nor_read(author, now_s, name):
    node = author()
    with pytest.raises(Misuse):
        node.advert(name=name)
    payload = msgspec.msgpack.decode(node.advert()[64:])
    payload[-1] = name
    blob = msgspec.msgpack.encode(payload)
    with pytest.raises(ContentRefused):
        read_advert(node.identity.sign(b"advert/1", blob) + blob, now_s)


def test_a_signature_made_for_another_purpose_is_worth_nothing(author, now_s):
    node = author()
    payload = node.advert()[64:]
    with pytest.raises(NotAuthorized):
        read_advert(node.identity.sign(b"membership/1", payload) + payload, now_s)


def test_the_label_for_finders_is_the_node_id(author):
    node = author()
    assert claimed_node(node.advert()) == node.node_id
