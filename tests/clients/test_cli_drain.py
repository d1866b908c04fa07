"""`framemesh drain`: what is under way is finished, clients are told, nothing new begins."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import framemesh
from clients.cli.main import main
from clients.cli.realm import admit, viewer_token
from clients.sdk.session import Notice
from mesh.control import ask_to_drain
from mesh.core.errors import DeviceUnavailable, LinkLost, ProtocolViolation
from mesh.core.home import NodeHome, Signer
from mesh.core.membership import Role
from mesh.core.token import Scope

LONG_S, SHORT_S = 60.0, 0.05
MIRROR = Path(__file__).parent / "plugins" / "mirror.py"


def drained(state: Path, within_s: float) -> asyncio.Task[int]:
    """The command, in a thread: it has a loop of its own."""
    words = ["drain", "--state", str(state), "--within", str(within_s)]
    return asyncio.create_task(asyncio.to_thread(main, words))


async def test_a_session_is_told_and_the_node_leaves_when_it_has_gone(host: Any) -> None:
    async with framemesh.connect(host.url(), "mirror") as session:
        command = drained(host.node.config.state, LONG_S)
        assert await anext(session.notices) == Notice(round(LONG_S * 1e6))
        # It is served to its end.
        assert bytes((await session.ask(b"ab")).data) == b"ba"
        with pytest.raises(DeviceUnavailable, match="leaving"):
            async with framemesh.connect(host.url(), "mirror"):
                pass
        assert not host.node.left.is_set()
    assert await command == 0
    assert host.node.left.is_set()


async def test_a_session_that_stays_is_waited_for_no_longer_than_was_said(
    host: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with framemesh.connect(host.url(), "mirror"):
        assert await drained(host.node.config.state, SHORT_S) == 1
        assert host.node.left.is_set()
    assert capsys.readouterr().out.splitlines() == [
        f"draining: 1 sessions, at most {SHORT_S} s",
        "it ends, not all was finished",
    ]


async def test_a_worker_that_leaves_offers_nothing_and_finishes_what_it_has(host: Any) -> None:
    node = host.node
    async with framemesh.connect(host.url(), "mirror") as session:
        answers = [asyncio.create_task(session.ask(bytes([n]))) for n in range(2)]
        await asyncio.sleep(0)
        assert node.offers()
        node.worker.drain()
        await node.worker.drained()
        assert node.offers() == ()
        for answer in answers:
            with contextlib.suppress(framemesh.SessionRefused):
                await answer


def test_where_no_node_runs_there_is_nothing_to_drain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drain", "--state", str(tmp_path)]) == 2
    assert "no node to ask" in capsys.readouterr().err
    assert main(["drain", "--state", str(tmp_path), "--within", "1e9"]) == 2


async def test_nonsense_on_the_control_socket_is_refused_and_the_node_goes_on(host: Any) -> None:
    state = host.node.config.state
    for nonsense in (b"x\n", b'{"type":"drain","within_ms":-1}\n', b"[" * 3000 + b"\n", b"\n"):
        reader, writer = await asyncio.open_unix_connection(str(state / "control"))
        writer.write(nonsense)
        told = json.loads(await reader.readline())
        assert told["type"] == "refused"
        assert told["problem"]["code"] == ProtocolViolation.code
        writer.close()
    async with framemesh.connect(host.url(), "mirror") as session:
        assert bytes((await session.ask(b"ab")).data) == b"ba"


async def test_a_second_node_in_the_same_state_directory_does_not_take_the_socket(
    host: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from mesh.control import serve_control  # noqa: PLC0415

    async with serve_control(host.node.config.state, host.node):
        assert "another node runs" in caplog.text
    assert [news async for news in ask_to_drain(host.node.config.state, LONG_S)][-1].finished


async def test_a_node_that_ends_otherwise_was_not_drained(tmp_path: Path) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"type":"draining","sessions":3}\n')
        writer.close()

    async with await asyncio.start_unix_server(die, tmp_path / "control"):
        news = ask_to_drain(tmp_path, LONG_S)
        assert (await anext(news)).sessions == 3
        with pytest.raises(LinkLost, match="before it had drained"):
            await anext(news)


@pytest.fixture
def process(tmp_path: Path, install_workload: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A node in a process of its own, gateway and worker in one; its log: node.log."""
    install_workload("mirror", MIRROR.read_text("utf-8"))
    realm = NodeHome(tmp_path / "admin").create_realm_key()
    admit(realm, NodeHome(tmp_path / "node"), "both", (Role.GATEWAY, Role.WORKER))
    toml = f"""name = "both"
roles = ["gateway", "worker"]
state_dir = {json.dumps(str(tmp_path / "node"))}
[link]
host = "127.0.0.1"
[http]
port = 0
[workloads.mirror]
"""
    (tmp_path / "node.toml").write_text(toml)
    places = (str(tmp_path / "plugin"), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    with (tmp_path / "node.log").open("wb") as log:
        words = [sys.executable, "-m", "clients.cli", "node", "--config", tmp_path / "node.toml"]
        node = subprocess.Popen(words, stderr=log, env=environment)
    yield node
    node.kill()
    node.wait()


async def test_a_real_node_ends_by_itself_with_status_0(
    process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "node.log"
    while "up: node" not in (said := log.read_text()):
        assert process.poll() is None, said
        await asyncio.sleep(0.05)
    port = said.partition("http on 127.0.0.1 port ")[2].split()[0]
    token = viewer_token(
        Signer.of(NodeHome(tmp_path / "admin").realm_key()),
        subject="truck", lifetime_s=3600, scopes=(Scope.VIEW, Scope.INFER),
    )  # fmt: skip
    words = ("-m", "framemesh", "drain", "--config", str(tmp_path / "node.toml"), "--within", "60")
    async with framemesh.connect(f"http://127.0.0.1:{port}/#token={token}", "mirror") as session:
        command = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE
        )
        await anext(session.notices)
    told, _ = await command.communicate()
    assert (command.returncode, told.splitlines()[-1]) == (0, b"it ends: all was finished")
    assert await asyncio.to_thread(process.wait) == 0
