import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import IdentityError
from mesh.core.identity import NodeIdentity, RealmKey, fingerprint, parse_node_id, verify

KEY = NodeIdentity.generate()
OTHER = NodeIdentity.generate()
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
keys = st.binary(min_size=32, max_size=32)


def test_the_first_start_makes_a_private_key_file_and_later_ones_find_the_same_node(tmp_path):
    path = tmp_path / "state" / "node.key"
    first = NodeIdentity.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert NodeIdentity.load_or_create(path).node_id == first.node_id
    assert NodeIdentity.load(path).public_key == first.public_key


def test_processes_racing_on_the_first_start_end_up_with_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(NodeIdentity.load_or_create, [tmp_path / "node.key"] * 16))
    assert len({identity.node_id for identity in made}) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_key_file_that_others_can_reach_is_refused_with_the_remedy(tmp_path, mode):
    path = tmp_path / "node.key"
    NodeIdentity.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(IdentityError, match="other users have access") as refused:
        NodeIdentity.load_or_create(path)
    assert f"chmod 600 {path}" in refused.value.fix


def _foreign_pem():
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no unencrypted PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no unencrypted PEM"),
        (_foreign_pem(), "not an Ed25519 key"),
        (b"x" * 5000, "longer than"),
    ],
)
def test_a_file_that_holds_no_ed25519_key_is_refused_and_left_alone(tmp_path, content, why):
    path = tmp_path / "node.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=why):
        NodeIdentity.load_or_create(path)
    assert path.read_bytes() == content


def test_a_missing_key_is_reported_with_its_path(tmp_path):
    with pytest.raises(IdentityError, match=r"node\.key cannot be read: No such file"):
        NodeIdentity.load(tmp_path / "node.key")


def test_an_existing_realm_key_is_never_overwritten(tmp_path):
    path = tmp_path / "realm.key"
    realm = RealmKey.create(path)
    with pytest.raises(IdentityError, match="the file exists"):
        RealmKey.create(path)
    assert RealmKey.load(path).realm_id == realm.realm_id


def test_a_key_cannot_be_pickled_into_another_process():
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


@given(st.binary(max_size=200))
def test_a_signature_is_good_for_its_key_domain_and_payload_only(payload):
    signature = KEY.sign(b"advert/1", payload)
    assert verify(KEY.public_key, b"advert/1", payload, signature)
    assert not verify(OTHER.public_key, b"advert/1", payload, signature)
    assert not verify(KEY.public_key, b"advert/2", payload, signature)
    assert not verify(KEY.public_key, b"advert/1", payload + b"\0", signature)


def test_the_border_between_domain_and_payload_is_signed_too():
    signature = KEY.sign(b"a", b"b/c")
    assert not verify(KEY.public_key, b"a\0b/c"[:1] + b"/b", b"c", signature)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_malformed_keys_and_signatures_are_false_not_errors(key, signature):
    assert not verify(key, b"advert/1", b"payload", signature)


@given(keys)
def test_an_id_survives_the_ways_people_write_it(key):
    node_id = fingerprint(key)
    assert [len(group) for group in node_id.split("-")] == [7] * 5
    for written in (
        node_id,
        f"  {node_id.upper()} ",
        node_id.replace("-", ""),
        node_id.replace("-", " "),
        node_id.replace("0", "o").replace("1", "l"),
    ):
        assert parse_node_id(written) == node_id


@given(keys, st.integers(0, 38), st.sampled_from(ALPHABET))
def test_any_one_wrong_character_is_noticed(key, place, letter):
    node_id = fingerprint(key)
    if node_id[place] in ("-", letter):
        return
    group = node_id[:place].count("-") + 1
    with pytest.raises(IdentityError, match=f"group {group}, .* fails its check"):
        parse_node_id(node_id[:place] + letter + node_id[place + 1 :])


@given(keys, st.integers(0, 4), st.integers(0, 6), st.integers(0, 6))
def test_any_two_exchanged_characters_of_a_group_are_noticed(key, group, one, two):
    groups = fingerprint(key).split("-")
    letters = list(groups[group])
    letters[one], letters[two] = letters[two], letters[one]
    if "".join(letters) == groups[group]:
        return
    groups[group] = "".join(letters)
    with pytest.raises(IdentityError, match="fails its check"):
        parse_node_id("-".join(groups))


@given(st.text(max_size=60))
def test_other_text_is_refused_as_an_id(text):
    with pytest.raises(IdentityError, match="not a node id"):
        parse_node_id(text)
