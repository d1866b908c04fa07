"""The commands as a person types them, on state directories of their own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clients.cli.main import main
from mesh.core.home import MEMBERSHIP, NodeHome, unarmor
from mesh.core.identity import fingerprint
from mesh.core.membership import read_membership, verify_token


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
    assert member.roles == {"gateway", "worker", "admin"}


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
    NodeHome(desk).install_membership(unarmor(MEMBERSHIP, signed))
    config = tmp_path / "node.toml"
    config.write_text(f'state_dir = "{desk}"\nroles = ["gateway"]\n')
    assert "may not be a gateway" in fails(capsys, "node", "--config", config)
