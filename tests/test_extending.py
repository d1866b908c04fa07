"""docs/extending.md as printed: its workload is installed and used through a real node."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvloop

from mesh.core.identity import NodeIdentity
from mesh.core.token import Scope
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

WIDTH = 256


def blocks(repository: Path, section: str, language: str) -> list[str]:
    """The code in one language under a heading of the document."""
    text = (repository / "docs" / "extending.md").read_text("utf-8")
    [part] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```", part, re.DOTALL | re.MULTILINE)


def printed(repository: Path) -> str:
    """The first example's code; its packaging must be what `install_workload` makes."""
    section = "A NumPy function, split by rows"
    [code] = blocks(repository, section, "python")
    [table] = blocks(repository, section, "toml")
    assert table == '[project.entry-points."framemesh.workloads"]\nrows = "rows:create"\n'
    return code


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
async def host(open_host: Any, install_workload: Any, repository: Path) -> AsyncIterator[Any]:
    install_workload("rows", printed(repository))
    async with open_host(rows={}) as host:
        yield host


@pytest.fixture
async def client(host: Any) -> tuple[Link, Client]:
    client = Client()
    return await linked(host, client), client


async def linked(host: Any, client: Client, scope: Scope = Scope.INFER) -> Link:
    credentials = Credentials(
        NodeIdentity.generate(), host.realm.public_key, b"", host.token(scope)
    )
    return await dial("127.0.0.1", host.node.port, credentials, client, tuple)


async def open_rows(link: Link, client: Client) -> str:
    link.send(ClientOpen(1, "rows", b"{}"))
    opened, _ = await client.said.get()
    assert isinstance(opened, ClientOpened), opened
    assert msgspec.json.decode(opened.description)["width"] == WIDTH
    return opened.session


async def test_its_node_runs_on_the_loop_of_production() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


def test_the_example_is_as_short_as_it_claims(repository: Path) -> None:
    assert len(printed(repository).splitlines()) <= 66


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
    host: Any, client: tuple[Link, Client]
) -> None:
    link, told = client
    session = await open_rows(link, told)
    other = Client()
    thief = await linked(host, other)
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
    host: Any, scope: Scope, workload: str, options: bytes, reason: str
) -> None:
    told = Client()
    link = await linked(host, told, scope)
    link.send(ClientOpen(3, workload, options))
    failed, _ = await told.said.get()
    assert isinstance(failed, ClientFailed)
    assert failed.request == 3
    assert reason in f"{failed.problem.what} {failed.problem.why}"


async def test_leaving_ends_the_session_whether_said_or_not(
    host: Any, client: tuple[Link, Client]
) -> None:
    link, told = client
    session = await open_rows(link, told)
    link.send(ClientClose(session))
    closed, _ = await told.said.get()
    assert isinstance(closed, ClientClosed)
    assert host.sessions == []
    await open_rows(link, told)
    await link.close()
    async with asyncio.timeout(10):
        while host.sessions:  # noqa: ASYNC110  the far end's news to hear
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
