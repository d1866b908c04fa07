"""What was on the wire yesterday is understood today: captures of every version, kept for good.

`golden/wire-N.json` has one capture of each message as version N sent it, and of each signed
statement. A capture is never changed: what a new version says otherwise goes into a file of its own
(`python tests/mesh/test_golden.py` writes the current version's).
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mesh.core.admission import Admission, Invite, Told
from mesh.core.bulletin import Revocation, Secret, Successor, sign_bulletin, verify_bulletin
from mesh.core.identity import NodeIdentity, RealmKey, SigningKey
from mesh.core.membership import GRANTED_BY_ADMINS, Role, sign_membership, verify_membership
from mesh.core.token import Limits, Scope, sign_token, verify_token
from mesh.core.wire import PROTOCOL_VERSION, decode_message, encode_message
from mesh.peers.advert import read_advert, sign_advert

FOLDER = Path(__file__).with_name("golden")
CAPTURES = sorted(FOLDER.glob("wire-*.json"))
NOW_S, END_S = 1_800_000_000, 1_800_600_000


def captures() -> dict[str, dict[str, str]]:
    """What this version says, as hexadecimal digits."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    from tests.mesh.test_operations import LINK  # noqa: PLC0415  one sample of each message

    def key(kind: type[SigningKey], number: int) -> SigningKey:
        return kind(Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)))

    realm, node = key(RealmKey, 1), key(NodeIdentity, 2)
    period = {"not_before": NOW_S - 60, "not_after": END_S}
    admin = sign_membership(
        realm, node_public=node.public_key, roles=[Role.ADMIN], name="admin",
        admits=GRANTED_BY_ADMINS, **period,
    )  # fmt: skip
    member = sign_membership(
        node, node_public=realm.public_key, roles=[Role.WORKER], name="desk",
        capabilities=["render"], region="north", realm_public=realm.public_key, proof=admin,
        **period,
    )  # fmt: skip
    token = sign_token(
        node, realm_public=realm.public_key, subject="viewer", scopes=[Scope.VIEW],
        membership=admin, limits=Limits(frozenset({"render"}), "north", 921_600, 60.0, 600),
        **period,
    )  # fmt: skip
    advert = sign_advert(
        node, realm_public=realm.public_key, port=7000, roles=["worker"], name="desk", sequence=7,
        not_after_s=END_S, serves=["render"], place=[100, -200, 300, 50, 10],
    )  # fmt: skip
    says = (Secret(bytes(32)), Successor(bytes(32), END_S), Revocation({node.fingerprint: END_S}))
    return {
        "messages": {type(m).__name__: encode_message(m).hex() for m, _ in LINK},
        "statements": {
            "realm": realm.public_key.hex(),
            "membership": member.hex(),
            "token": token,
            "advert": advert.hex(),
            **{type(what).__name__: sign_bulletin(realm, what, sequence=5).hex() for what in says},
            "admission": msgspec.msgpack.encode(Admission(member, b"sealed")).hex(),
            "invite": msgspec.msgpack.encode(
                Invite(bytes(32), admin, Told(realm.public_key))
            ).hex(),
        },
    }


def test_the_current_version_has_captures():
    assert FOLDER / f"wire-{PROTOCOL_VERSION}.json" in CAPTURES


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_messages_of_every_version_are_understood_and_say_the_same_again(path):
    for name, hexed in json.loads(path.read_text())["messages"].items():
        captured = bytes.fromhex(hexed)
        message = decode_message(captured)
        assert type(message).__name__ == name
        assert decode_message(encode_message(message)) == message


def test_this_version_says_what_it_said_when_it_was_captured():
    kept = json.loads((FOLDER / f"wire-{PROTOCOL_VERSION}.json").read_text())
    assert captures()["messages"] == kept["messages"]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_statements_of_every_version_verify(path):
    said = json.loads(path.read_text())["statements"]
    realm = bytes.fromhex(said["realm"])
    member = verify_membership(bytes.fromhex(said["membership"]), realm, realm, NOW_S)
    assert (member.name, member.capabilities, member.region) == ("desk", {"render"}, "north")
    token = verify_token(said["token"], realm, NOW_S)
    assert (token.subject, token.limits.session_s) == ("viewer", 600)
    advert = read_advert(bytes.fromhex(said["advert"]), NOW_S)
    assert (advert.name, advert.serves, advert.sequence) == ("desk", ("render",), 7)
    for kind in ("Secret", "Successor", "Revocation"):
        assert type(verify_bulletin(bytes.fromhex(said[kind]), realm, NOW_S).says).__name__ == kind
    msgspec.msgpack.decode(bytes.fromhex(said["admission"]), type=Admission)
    msgspec.msgpack.decode(bytes.fromhex(said["invite"]), type=Invite)


if __name__ == "__main__":
    target = FOLDER / f"wire-{PROTOCOL_VERSION}.json"
    assert not target.exists(), "a capture is never changed"
    target.write_text(json.dumps(captures(), indent=1) + "\n")
