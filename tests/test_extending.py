"""docs/extending.md as printed: its workload is installed and used through a real node."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvloop

from mesh.core.config import GatewayConfig, HttpConfig, LinkConfig, NodeConfig
from mesh.core.home import NodeHome
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.membership import Role, Scope, sign_membership, sign_token
from mesh.core.wire import (
    ClientClose,
    ClientClosed,
    ClientFailed,
    ClientInput,
    ClientOpen,
    ClientOpened,
    ClientResult,
    InputRefused,
    Message,
)
from mesh.link.endpoint import dial
from mesh.link.handshake import Credentials
from mesh.link.transport import Link
from mesh.node import Node, open_node

WIDTH = 256


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


def install(folder: Path, repository: Path) -> str:
    """What `pip install --target` would make of the document's code; returns the code."""
    text = (repository / "docs" / "extending.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    [table] = re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    name, value = re.findall(r"^(\w+) = \"(.+)\"", table, re.MULTILINE)[0]
    (folder / "rows.py").write_text(code)
    metadata = folder / "rows-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rows\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[framemesh.workloads]\n{name} = {value}\n")
    return str(code)


class Client:
    """A linked client that keeps what it is told."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[tuple[Message, bytes]] = asyncio.Queue()

    def opened(self, link: Link) -> None:
        pass

    def body_buffer(self, link: Link, message: Message, size: int) -> memoryview:
        return memoryview(bytearray(size))

    def received(self, link: Link, message: Message, body: memoryview) -> None:
        self.said.put_nowait((message, bytes(body)))

    def closed(self, link: Link, why: object) -> None:
        pass


@pytest.fixture
def realm() -> RealmKey:
    return RealmKey.generate()


@pytest.fixture
async def node(
    realm: RealmKey, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    install(plugin, repository)
    monkeypatch.syspath_prepend(str(plugin))
    home = NodeHome(tmp_path / "state")
    now_s = int(time.time())
    home.install_membership(
        sign_membership(
            realm,
            node_public=home.identity().public_key,
            roles=[Role.GATEWAY, Role.WORKER],
            not_before=now_s - 60,
            not_after=now_s + 3600,
            name="both",
        )
    )
    config = NodeConfig(
        state_dir=str(home.path),
        link=LinkConfig(host="127.0.0.1"),
        http=HttpConfig(port=0),
        gateway=GatewayConfig(),
        workloads={"rows": {}},
        discovery={},
    )
    async with open_node(config) as node:
        yield node
    sys.modules.pop("rows", None)


@pytest.fixture
async def client(node: Node, realm: RealmKey) -> AsyncIterator[tuple[Link, Client]]:
    client = Client()
    yield await linked(node, realm, client), client


async def linked(node: Node, realm: RealmKey, client: Client, scope: Scope = Scope.INFER) -> Link:
    now_s = int(time.time())
    token = sign_token(
        realm,
        realm_public=realm.public_key,
        subject="vehicle",
        scopes=[scope],
        not_before=now_s - 60,
        not_after=now_s + 3600,
    )
    credentials = Credentials(NodeIdentity.generate(), realm.public_key, b"", token)
    return await dial("127.0.0.1", node.port, credentials, client, tuple)


async def open_rows(link: Link, client: Client) -> str:
    link.send(ClientOpen(1, "rows", b"{}"))
    opened, _ = await client.said.get()
    assert isinstance(opened, ClientOpened), opened
    assert msgspec.json.decode(opened.description)["width"] == WIDTH
    return opened.session


def test_the_example_is_as_short_as_it_claims(repository: Path, tmp_path: Path) -> None:
    assert len(install(tmp_path, repository).splitlines()) <= 66


async def test_the_example_works_as_printed(client: tuple[Link, Client]) -> None:
    link, told = client
    session = await open_rows(link, told)
    rows = np.random.default_rng(1).standard_normal((100, WIDTH)).astype(np.float32)
    link.send(ClientInput(session, 7, 123), rows.tobytes())
    result, body = await told.said.get()
    assert isinstance(result, ClientResult), result
    assert (result.number, result.frame) == (7, 0)
    merged = np.frombuffer(body, np.float32).reshape(-1, WIDTH)
    np.testing.assert_array_equal(merged, np.sqrt(rows * rows + 1))
    facts = json.loads(result.facts)
    assert facts["filled"] == 0
    assert facts["input"] == 7


async def test_inputs_that_are_malformed_or_too_fast_are_answered_one_by_one(
    client: tuple[Link, Client],
) -> None:
    link, told = client
    session = await open_rows(link, told)
    link.send(ClientInput(session, 1, 0), b"three")
    refused, _ = await told.said.get()
    assert isinstance(refused, InputRefused)
    assert (refused.number, refused.problem.code) == (1, "content_refused")
    sent = range(10, 40)
    for number in sent:
        link.send(ClientInput(session, number, 0), bytes(4 * WIDTH))
    answers = [(await told.said.get())[0] for _ in sent]
    taken = {a.number for a in answers if isinstance(a, ClientResult)}
    refused_numbers = {a.number for a in answers if isinstance(a, InputRefused)}
    assert taken | refused_numbers == set(sent)
    assert taken
    assert refused_numbers


async def test_one_client_cannot_feed_anothers_session(
    node: Node, realm: RealmKey, client: tuple[Link, Client]
) -> None:
    link, told = client
    session = await open_rows(link, told)
    other = Client()
    thief = await linked(node, realm, other)
    thief.send(ClientInput(session, 5, 0), bytes(4 * WIDTH))
    refused, _ = await other.said.get()
    assert isinstance(refused, InputRefused)
    assert "not open for this client" in refused.problem.why
    thief.send(ClientClose(session))
    link.send(ClientInput(session, 6, 0), bytes(4 * WIDTH))
    assert isinstance((await told.said.get())[0], ClientResult)


@pytest.mark.parametrize(
    ("scope", "workload", "options", "reason"),
    [
        (Scope.VIEW, "rows", b"{}", "not allowed"),
        (Scope.INFER, "columns", b"{}", "no workload"),
        (Scope.INFER, "rows", b"[", "JSON"),
        (Scope.INFER, "rows", b'{"codec": "x"}', "codec"),
    ],
)
async def test_a_session_that_cannot_be_opened_is_answered_with_the_reason(
    node: Node, realm: RealmKey, scope: Scope, workload: str, options: bytes, reason: str
) -> None:
    told = Client()
    link = await linked(node, realm, told, scope)
    link.send(ClientOpen(3, workload, options))
    failed, _ = await told.said.get()
    assert isinstance(failed, ClientFailed)
    assert failed.request == 3
    assert reason in f"{failed.problem.what} {failed.problem.why}"


async def test_leaving_ends_the_session_whether_said_or_not(
    node: Node, realm: RealmKey, client: tuple[Link, Client]
) -> None:
    assert node.gateway is not None
    link, told = client
    session = await open_rows(link, told)
    link.send(ClientClose(session))
    closed, _ = await told.said.get()
    assert isinstance(closed, ClientClosed)
    assert node.gateway.status()["sessions"] == []
    await open_rows(link, told)
    await link.close()
    async with asyncio.timeout(10):
        while node.gateway.status()["sessions"]:  # noqa: ASYNC110  the far end's news to hear
            await asyncio.sleep(0.01)


async def test_a_bug_in_a_plugin_costs_its_session_and_never_the_node(
    client: tuple[Link, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, told = client
    plugin = sys.modules["rows"]

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug of the plug-in")

    with monkeypatch.context() as broken:
        broken.setattr(plugin.Rows, "open_session", bug)
        link.send(ClientOpen(1, "rows", b"{}"))
        failed, _ = await told.said.get()
        assert isinstance(failed, ClientFailed)
        assert "gateway failed" in failed.problem.why
    session = await open_rows(link, told)
    with monkeypatch.context() as broken:
        broken.setattr(plugin.RowsSession, "offer_input", bug)
        link.send(ClientInput(session, 1, 0), bytes(4 * WIDTH))
        closed, _ = await told.said.get()
        assert isinstance(closed, ClientClosed)
    session = await open_rows(link, told)
    link.send(ClientInput(session, 1, 0), bytes(4 * WIDTH))
    assert isinstance((await told.said.get())[0], ClientResult)
