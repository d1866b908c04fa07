"""A running gateway node refuses whoever cannot prove a right, and both sides are told why."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from mesh.core.config import GatewayConfig, HttpConfig, LinkConfig, NodeConfig
from mesh.core.errors import PeerRefused
from mesh.core.home import NodeHome
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.membership import Role, sign_membership
from mesh.core.token import Scope, sign_token
from mesh.link.endpoint import dial
from mesh.link.handshake import Credentials
from mesh.node import Node, open_node
from mesh.peers.advert import sign_advert

HOUR_S = 3600


@pytest.fixture
def realm() -> RealmKey:
    return RealmKey.generate()


@pytest.fixture
async def gateway(realm: RealmKey, tmp_path: Path) -> AsyncIterator[Node]:
    home = NodeHome(tmp_path)
    now_s = int(time.time())
    home.install_membership(
        sign_membership(
            realm,
            node_public=home.identity().public_key,
            roles=[Role.GATEWAY],
            not_before=now_s - 60,
            not_after=now_s + HOUR_S,
            name="gateway",
        )
    )
    config = NodeConfig(
        name="gateway",
        roles=("gateway",),
        state_dir=str(tmp_path),
        link=LinkConfig(host="127.0.0.1"),
        http=HttpConfig(port=0),
        gateway=GatewayConfig(),
        workloads={},
        discovery={},
    )
    async with open_node(config) as node:
        yield node


class Silent:
    """A link handler that expects never to be given a link."""

    def opened(self, link: object) -> None:
        raise AssertionError("the link must not open")

    def body_buffer(self, link: object, message: object, size: int) -> None:
        raise AssertionError("nothing may be received")

    received = closed = body_buffer  # type: ignore[assignment]


def membership(realm: RealmKey, node: NodeIdentity, *, expires_in_s: int = HOUR_S) -> bytes:
    now_s = int(time.time())
    return sign_membership(
        realm,
        node_public=node.public_key,
        roles=[Role.WORKER],
        not_before=now_s - 2 * HOUR_S,
        not_after=now_s + expires_in_s,
        name="intruder",
    )


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("other realm", "another realm"),
        ("none", "no membership"),
        ("expired", "expired"),
        ("another node's", "another node's"),
        ("tampered", "tampered"),
    ],
)
async def test_a_node_that_cannot_prove_membership_is_refused_and_both_sides_know_why(
    gateway: Node, realm: RealmKey, caplog: pytest.LogCaptureFixture, case: str, reason: str
) -> None:
    me = NodeIdentity.generate()
    blob = {
        "other realm": lambda: membership(RealmKey.generate(), me),
        "none": lambda: b"",
        "expired": lambda: membership(realm, me, expires_in_s=-60),
        "another node's": lambda: membership(realm, NodeIdentity.generate()),
        "tampered": lambda: membership(realm, me).replace(b"intruder", b"emperors"),
    }[case]()
    credentials = Credentials(me, realm.public_key, blob)
    with caplog.at_level(logging.WARNING), pytest.raises(PeerRefused) as told:
        await dial("127.0.0.1", gateway.port, credentials, Silent(), tuple)
    assert reason in str(told.value)
    said = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert any(reason in line for line in said)
    assert gateway.gateway is not None
    assert gateway.gateway.status()["workers"] == []


async def test_a_tampered_advert_and_one_of_another_realm_are_never_dialled(
    gateway: Node, realm: RealmKey, caplog: pytest.LogCaptureFixture
) -> None:
    dialled: asyncio.Queue[str] = asyncio.Queue()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.put_nowait("tcp")
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def advert(realm_public: bytes, name: str) -> bytes:
        now_s = int(time.time())
        return sign_advert(
            NodeIdentity.generate(),
            realm_public=realm_public,
            port=port,
            roles=["worker"],
            name=name,
            sequence=1,
            not_after_s=now_s + HOUR_S,
        )

    async with server:
        honest = advert(realm.public_key, "honest")
        with caplog.at_level(logging.INFO):
            gateway.company.sighted(
                "test", honest.replace(b"honest", b"crooks"), [f"127.0.0.1:{port}"]
            )
            foreign = advert(RealmKey.generate().public_key, "foreign")
            gateway.company.sighted("test", foreign, [f"127.0.0.1:{port}"])
        gateway.company.sighted("test", honest, [f"127.0.0.1:{port}"])
        async with asyncio.timeout(10):
            await dialled.get()  # the honest one: the book is at work
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "tampered" in said
    assert "belongs to realm" in said
    assert dialled.empty()


@pytest.mark.parametrize(
    ("case", "status", "reason"),
    [
        ("none", 401, "Bearer"),
        ("garbage", 403, "token"),
        ("foreign", 403, "another realm"),
        ("expired", 403, "expired"),
        ("scope", 403, "not allowed"),
    ],
)
async def test_a_client_without_a_good_token_opens_nothing(
    gateway: Node, realm: RealmKey, case: str, status: int, reason: str
) -> None:
    def token(key: RealmKey, *, lives_s: int = HOUR_S, scope: Scope = Scope.CONTROL) -> str:
        now_s = int(time.time())
        return sign_token(
            key,
            realm_public=key.public_key,
            subject="mallory",
            scopes=[scope],
            not_before=now_s - 2 * HOUR_S,
            not_after=now_s + lives_s,
        )

    headers = {"Content-Type": "application/sdp"}
    presented = {
        "none": lambda: None,
        "garbage": lambda: "fm1.AAAA",
        "foreign": lambda: token(RealmKey.generate()),
        "expired": lambda: token(realm, lives_s=-60),
        "scope": lambda: token(realm, scope=Scope.INFER),
    }[case]()
    if presented is not None:
        headers["Authorization"] = f"Bearer {presented}"
    url = f"http://127.0.0.1:{gateway.http_port}/whep/render"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data="v=0\r\n", headers=headers) as answer,
    ):
        problem = await answer.json()
    assert answer.status == status
    assert reason in f"{problem['what']} {problem['why']}"
    assert problem["fix"]
    assert gateway.gateway is not None
    assert gateway.gateway.status()["sessions"] == []
