"""The commands as a person types them, on state directories of their own."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from clients.cli.main import main
from mesh.core.admission import ADMISSION, open_admission
from mesh.core.errors import NotAuthorized
from mesh.core.home import NodeHome, unarmor
from mesh.core.identity import fingerprint
from mesh.core.membership import read_membership
from mesh.core.token import verify_token


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def fails(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 2
    return capsys.readouterr().err


def test_a_node_is_admitted_by_request_sign_and_join(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin, desk = tmp_path / "admin", tmp_path / "desk"
    run(capsys, "realm", "create", "--state", admin)
    request = run(capsys, "realm", "request", "--state", desk)
    signed = run(capsys, "realm", "sign", request, "--name", "desk", "--state", admin)
    (tmp_path / "membership").write_text(signed)
    said = run(capsys, "realm", "join", tmp_path / "membership", "--state", desk)
    realm = NodeHome(admin).realm_key()
    assert realm.realm_id in said
    home = NodeHome(desk)
    member = read_membership(home.membership(), home.identity().public_key, int(time.time()))
    assert (member.name, member.roles) == ("desk", {"worker"})
    assert run(capsys, "id", "--state", desk).strip() == fingerprint(member.node)


def test_a_request_of_another_node_than_the_one_named_is_not_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin, desk, thief = (tmp_path / name for name in ("admin", "desk", "thief"))
    run(capsys, "realm", "create", "--state", admin)
    request = run(capsys, "realm", "request", "--state", thief)
    wanted = run(capsys, "id", "--state", desk).strip()
    said = fails(capsys, "realm", "sign", request, "--id", wanted, "--state", admin)
    assert "nothing was signed" in said
    named = run(capsys, "id", "--state", thief).strip().upper()
    assert run(capsys, "realm", "sign", request, "--id", named, "--state", admin)


def test_the_first_member_may_be_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "realm", "create", "--state", tmp_path)
    home = NodeHome(tmp_path)
    member = read_membership(home.membership(), home.identity().public_key, int(time.time()))
    assert member.roles == {"gateway", "worker", "relay", "admin"}


def test_a_token_opens_what_it_says_until_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "realm", "create", "--state", tmp_path)
    text = run(capsys, "realm", "token", "--scope", "view", "--hours", "2", "--state", tmp_path)
    realm_public = NodeHome(tmp_path).realm_key().public_key
    token = verify_token(text.strip(), realm_public, int(time.time()))
    assert token.scopes == {"view"}
    assert 7100 < token.not_after - time.time() <= 7200


def test_a_membership_for_another_node_is_not_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin, desk, thief = (tmp_path / name for name in ("admin", "desk", "thief"))
    run(capsys, "realm", "create", "--state", admin)
    signed = run(
        capsys, "realm", "sign", run(capsys, "realm", "request", "--state", desk), "--state", admin
    )
    (tmp_path / "membership").write_text(signed)
    assert "another node" in fails(
        capsys, "realm", "join", tmp_path / "membership", "--state", thief
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["realm", "sign", "garbage"], "framemesh-request-1"),
        (["realm", "join", "/nonexistent"], "/nonexistent"),
        (["realm", "token"], "no realm key"),
        (["realm", "create"], "exists"),
    ],
)
def test_what_cannot_be_done_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    if words == ["realm", "create"] or words[1] == "sign":
        run(capsys, "realm", "create", "--state", tmp_path)
    said = fails(capsys, *words, "--state", tmp_path)
    assert said.startswith("framemesh: ")
    assert reason in said


def test_a_node_without_a_realm_says_how_to_join_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n')
    assert "realm join" in fails(capsys, "node", "--config", config)


def test_a_node_takes_no_role_that_its_membership_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin, desk = tmp_path / "admin", tmp_path / "desk"
    run(capsys, "realm", "create", "--state", admin)
    request = run(capsys, "realm", "request", "--state", desk)
    signed = run(capsys, "realm", "sign", request, "--role", "worker", "--state", admin)
    home = NodeHome(desk)
    home.install_membership(
        open_admission([home.identity()], unarmor(ADMISSION, signed)).membership
    )
    config = tmp_path / "node.toml"
    config.write_text(f'state_dir = "{desk}"\nroles = ["gateway"]\n')
    assert "may not be a gateway" in fails(capsys, "node", "--config", config)


# --- invitations, revocation, renewal, rotation -----------------------------------------------


def test_an_invitation_admits_with_nobody_online_and_can_be_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin, guest = tmp_path / "admin", tmp_path / "guest"
    run(capsys, "realm", "create", "--state", admin)
    words = ("invite", "--role", "worker", "--expires", "12h", "--at", "192.0.2.1:7000")
    assert main([*words, "--state", str(admin)]) == 0
    line, told = capsys.readouterr()
    (tmp_path / "line").write_text(line)
    said = run(capsys, "realm", "join", tmp_path / "line", "--name", "lodger", "--state", guest)
    assert "as lodger, worker" in said
    home, now_s = NodeHome(guest), int(time.time())
    member = home.trust(now_s).membership(home.membership(), home.identity().public_key, now_s)
    assert member.not_after - now_s <= 12 * 3600
    assert home.contacts() == ["192.0.2.1:7000"]
    assert home.trust(now_s).secret == NodeHome(admin).trust(now_s).secret is not None
    run(capsys, "realm", "revoke", told.split()[-1], "--state", admin)
    trust = NodeHome(admin).trust(now_s)
    assert not trust.holds(member, now_s)
    assert trust.secret != home.trust(now_s).secret


def test_an_appointed_admin_signs_and_revokes_and_appoints_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, admin, desk = (tmp_path / name for name in ("owner", "admin", "desk"))
    run(capsys, "realm", "create", "--state", owner)
    for node, signer, role in ((admin, owner, "admin"), (desk, admin, "worker")):
        request = run(capsys, "realm", "request", "--state", node)
        line = run(capsys, "realm", "sign", request, "--role", role, "--state", signer)
        (tmp_path / "line").write_text(line)
        run(capsys, "realm", "join", tmp_path / "line", "--state", node)
    said = fails(capsys, "realm", "sign", request, "--role", "admin", "--state", admin)
    assert "may not grant admin" in said
    said = fails(capsys, "realm", "sign", request, "--state", desk)
    assert "no admin" in said
    run(capsys, "realm", "revoke", run(capsys, "id", "--state", desk).strip(), "--state", admin)
    assert NodeHome(admin).trust(int(time.time())).is_revoked(NodeHome(desk).identity().public_key)


def test_renewal_and_rotation_give_every_known_node_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, desk = tmp_path / "owner", tmp_path / "desk"
    run(capsys, "realm", "create", "--state", owner)
    request = run(capsys, "realm", "request", "--state", desk)
    line = run(capsys, "realm", "sign", request, "--days", "1", "--state", owner)
    (tmp_path / "line").write_text(line)
    run(capsys, "realm", "join", tmp_path / "line", "--state", desk)
    now_s, home = int(time.time()), NodeHome(owner)
    before, node = home.realm_key(), NodeHome(desk).identity()
    run(capsys, "realm", "renew", "--days", "30", "--state", owner)
    told = home.trust(now_s).renewal(node.node_id)
    assert told is not None
    assert read_membership(told, node.public_key, now_s).not_after > now_s + 29 * 86_400
    said = run(capsys, "realm", "rotate", "--state", owner)
    after = home.realm_key()
    assert after.realm_id in said and after.public_key != before.public_key
    desk_home = NodeHome(desk)
    desk_home.keep_bulletins(home.trust(now_s).bulletins(), now_s)
    renewed = desk_home.trust(now_s).renewal(node.node_id)
    assert renewed is not None
    assert read_membership(renewed, node.public_key, now_s).realm == after.public_key
    assert list(owner.glob("realm.key.*")), "the old key is kept beside"


def test_a_nodes_key_is_replaced_when_the_new_one_is_a_member(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, desk = tmp_path / "owner", tmp_path / "desk"
    run(capsys, "realm", "create", "--state", owner)
    before = run(capsys, "id", "--state", desk).strip()
    request = run(capsys, "realm", "request", "--new-key", "--state", desk)
    assert run(capsys, "id", "--state", desk).strip() == before
    (tmp_path / "line").write_text(run(capsys, "realm", "sign", request, "--state", owner))
    run(capsys, "realm", "join", tmp_path / "line", "--state", desk)
    after = run(capsys, "id", "--state", desk).strip()
    assert after != before
    assert list(NodeHome(owner).issued())[-1] == after
    assert not (desk / "node.key.next").exists()
    assert (desk / f"node.key.{before[:7]}").stat().st_mode & 0o777 == 0o600
    home = NodeHome(desk)
    assert read_membership(home.membership(), home.identity().public_key, int(time.time()))


def test_a_state_directory_that_is_copied_and_put_back_is_the_same_node_and_admin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, backup, desk = (tmp_path / name for name in ("owner", "backup", "desk"))
    run(capsys, "realm", "create", "--state", owner)
    request = run(capsys, "realm", "request", "--state", desk)
    run(capsys, "realm", "sign", request, "--state", owner)
    node = run(capsys, "id", "--state", owner)
    shutil.copytree(owner, backup)
    shutil.rmtree(owner)
    shutil.copytree(backup, owner)
    assert run(capsys, "id", "--state", owner) == node
    assert (owner / "realm.key").stat().st_mode & 0o777 == 0o600
    run(capsys, "realm", "revoke", run(capsys, "id", "--state", desk).strip(), "--state", owner)
    assert NodeHome(owner).trust(int(time.time())).is_revoked(NodeHome(desk).identity().public_key)
    assert run(capsys, "realm", "renew", "--state", owner) == ""


def test_a_token_is_as_narrow_as_it_was_made_and_is_revoked_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "realm", "create", "--state", tmp_path)
    words = ("--workload", "render", "--region", "north", "--pixels", "900", "--minutes", "2")
    assert main(["realm", "token", *words, "--state", str(tmp_path)]) == 0
    text, told = capsys.readouterr()
    realm, now_s = NodeHome(tmp_path).realm_key().public_key, int(time.time())
    limits = verify_token(text.strip(), realm, now_s).limits
    assert (limits.workloads, limits.region) == ({"render"}, "north")
    assert (limits.pixels, limits.session_s) == (900, 120)
    run(capsys, "realm", "revoke", told.split()[-1], "--state", tmp_path)
    with pytest.raises(NotAuthorized, match="revoked"):
        NodeHome(tmp_path).trust(now_s).token(text.strip(), now_s)
