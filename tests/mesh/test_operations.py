"""Every operation of every protocol, asked for by everybody who has no right to it.

The tables say who may ask for what. A message, a route or a request that is not in them fails a
test, so that nothing new is reachable before it has been thought about who may reach it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import typing
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from clients.cli.realm import admit, publish
from mesh import control
from mesh.core.bulletin import Revocation, Secret
from mesh.core.config import HttpConfig, LinkConfig, NodeConfig
from mesh.core.errors import Problem
from mesh.core.home import NodeHome
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.membership import Role, sign_membership
from mesh.core.token import Scope, read_token, sign_token
from mesh.core.wire import (
    AssetData,
    AssetMissing,
    AssetWanted,
    Cancel,
    ClientClose,
    ClientClosed,
    ClientFailed,
    ClientInput,
    ClientOpen,
    ClientOpened,
    ClientRehome,
    ClientResult,
    ClientSteer,
    DevicesChanged,
    Hello,
    InputRefused,
    Message,
    Observed,
    PeersSeen,
    PieceDone,
    PieceRefused,
    PieceRun,
    Ping,
    Pong,
    ReachAsk,
    ReachTold,
    RealmNews,
    Refuse,
    RelayAsk,
    RelayCall,
    RelayReady,
    RelayRefused,
    Renewed,
    SessionClose,
    SessionFailed,
    SessionOpen,
    SessionReady,
    encode_message,
)
from mesh.http import create_app
from mesh.link.framing import FrameReader, open_prefix
from mesh.link.handshake import Credentials, make_hello
from mesh.node import open_node

NOW_S = int(time.time())
HOUR_S = 3600
DIGEST, TICKET = "0" * 64, bytes(32)
PROBLEM = Problem("x", "x", "x", "x")
EVERY_NODE = {Role.WORKER, Role.GATEWAY, Role.RELAY, Role.ADMIN}

# Who may say what on a link to a node that is gateway and relay. `HANDSHAKE`: who may link at all.
# `NOBODY`: only a gateway says it, to a worker or a client, and this node is neither.
HANDSHAKE, NOBODY = {*EVERY_NODE, Role.CLIENT}, set()
LINK = [
    (Hello(1, 1, b""), HANDSHAKE),
    (Refuse(PROBLEM), HANDSHAKE),
    (Ping(1), HANDSHAKE),
    (Pong(1, 1, 1), HANDSHAKE),
    (RealmNews(b"x"), EVERY_NODE),
    (Renewed(b"x"), EVERY_NODE),
    (Observed("192.0.2.1:1"), EVERY_NODE),
    (PeersSeen(()), EVERY_NODE),
    (RelayAsk("c", "n"), EVERY_NODE),
    (ReachAsk("c", 1), EVERY_NODE),
    (RelayCall("c", "n", "192.0.2.1:1", 1, TICKET), {Role.RELAY}),
    (RelayReady("c", "192.0.2.1:1", 1, TICKET), {Role.RELAY}),
    (RelayRefused("c", PROBLEM), {Role.RELAY}),
    (ReachTold("c", True), {Role.RELAY}),
    (DevicesChanged(()), {Role.WORKER}),
    (SessionReady("s", 1, "d"), {Role.WORKER}),
    (SessionFailed("s", 1, "d", PROBLEM), {Role.WORKER}),
    (AssetWanted(DIGEST), {Role.WORKER}),
    (PieceDone("s", 1, 1, 1, "d", 1, 1), {Role.WORKER}),
    (PieceRefused("s", 1, 1, 1, "d", "late"), {Role.WORKER}),
    (ClientOpen(1, "render", b"{}"), {Role.CLIENT}),
    (ClientInput("s", 1, 1), {Role.CLIENT}),
    (ClientSteer("s", b"{}"), {Role.CLIENT}),
    (ClientClose("s"), {Role.CLIENT}),
    (SessionOpen("s", 1, "render", "d", b""), NOBODY),
    (SessionClose("s", 1), NOBODY),
    (AssetData(DIGEST), NOBODY),
    (AssetMissing(DIGEST), NOBODY),
    (PieceRun("s", 1, 1, 1, "d", "k", 1.0, 1, 1, b""), NOBODY),
    (Cancel("s", 1, 1), NOBODY),
    (ClientOpened(1, "s", b"{}"), NOBODY),
    (ClientFailed(1, PROBLEM), NOBODY),
    (InputRefused("s", 1, PROBLEM), NOBODY),
    (ClientResult("s", 1, 1, b"{}"), NOBODY),
    (ClientClosed("s", "x"), NOBODY),
    (ClientRehome("s", 1), NOBODY),
]

# Routes of a gateway's HTTP, with the scopes that open them; None: they say nothing of the mesh.
HTTP = {
    ("POST", "/whep/{workload}"): {Scope.CONTROL},
    ("GET", "/whep/{workload}"): None,
    ("POST", "/whep/sessions/{session}"): {Scope.VIEW},
    ("GET", "/whep/sessions/{session}"): {Scope.VIEW},
    ("PATCH", "/whep/sessions/{session}"): {Scope.CONTROL},
    ("DELETE", "/whep/sessions/{session}"): {Scope.CONTROL},
    ("GET", "/whep/sessions/{session}/viewers/{viewer}"): {Scope.VIEW},
    ("PATCH", "/whep/sessions/{session}/viewers/{viewer}"): {Scope.VIEW},
    ("DELETE", "/whep/sessions/{session}/viewers/{viewer}"): {Scope.VIEW},
    ("GET", "/sessions"): {Scope.VIEW},
    ("GET", "/status"): {Scope.VIEW},
    ("OPTIONS", "/{path}"): None,
    ("GET", "/{path}"): None,
}

# What the control socket takes, from the node's own user alone (tests/mesh/test_control.py).
CONTROL = {control.Drain, control.Reread, control.Check}


def test_every_operation_is_registered(tmp_path):
    assert {type(message) for message, _ in LINK} == set(typing.get_args(Message))
    routes = {
        (route.method, route.resource.canonical)
        for route in create_app(None, tmp_path).router.routes()  # type: ignore[type-var]
        if route.method != "HEAD"
    }
    assert routes == set(HTTP)
    assert set(typing.get_args(control.Request)) == CONTROL


# --- a node, and whoever comes ------------------------------------------------------------------


class Mesh:
    """A gateway and relay that runs, its realm's owner, and those who may not."""

    def __init__(self, folder):
        self.owner = NodeHome(folder / "owner")
        self.key = self.owner.create_realm_key()
        admit(self.key, self.owner, "owner", (Role.GATEWAY, Role.RELAY, Role.ADMIN))
        self.revoked = NodeIdentity.generate()
        self.revoked_token = self.token()
        token = read_token(self.revoked_token, NOW_S)
        end_s = NOW_S + HOUR_S
        publish(
            self.owner,
            [
                Secret(bytes(32)),
                Revocation({self.revoked.node_id: end_s}, {token.id.hex(): end_s}),
            ],
            quietly=True,
        )

    def membership(self, identity, *roles, realm=None, lives_s=HOUR_S):
        return sign_membership(
            realm or self.key,
            node_public=identity.public_key,
            roles=roles or tuple(EVERY_NODE),
            not_before=NOW_S - 2 * HOUR_S,
            not_after=NOW_S + lives_s,
            name="mallory",
        )

    def token(self, *scopes, realm=None, lives_s=HOUR_S):
        key = realm or self.key
        return sign_token(
            key,
            realm_public=key.public_key,
            subject="mallory",
            scopes=scopes or tuple(Scope),
            not_before=NOW_S - 2 * HOUR_S,
            not_after=NOW_S + lives_s,
        )

    def credentials(self, fault):
        """What somebody with this fault would come with."""
        me, foreign = NodeIdentity.generate(), RealmKey.generate()
        blob = {
            "wrong realm": lambda: self.membership(me, realm=foreign),
            "expired": lambda: self.membership(me, lives_s=-HOUR_S),
            "revoked": lambda: self.membership(self.revoked),
            "replayed": lambda: self.membership(NodeIdentity.generate()),
            "none": lambda: b"",
            "downgraded": lambda: self.membership(me),
        }[fault]()
        return Credentials(self.revoked if fault == "revoked" else me, self.key.public_key, blob)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    return Mesh(tmp_path_factory.mktemp("operations"))


@asynccontextmanager
async def running(mesh):
    config = NodeConfig(
        name="owner",
        roles=("gateway", "relay"),
        state_dir=str(mesh.owner.path),
        link=LinkConfig(host="127.0.0.1", silent_ms=20_000),
        http=HttpConfig(port=0),
        workloads={},
        discovery={},
    )
    async with open_node(config) as node:
        yield node


class Wire:
    """One raw connection: says frames, hears messages."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self._frames = FrameReader(lambda message, size: None)

    def say(self, message):
        header = encode_message(message)
        self._writer.write(open_prefix(0, 0, len(header), 0) + header)

    async def all(self):
        """Every message until the other end hangs up."""
        heard = []
        async with asyncio.timeout(30):
            while data := await self._reader.read(65_536):
                while data:
                    buffer = self._frames.buffer()
                    count = min(len(buffer), len(data))
                    buffer[:count], data = data[:count], data[count:]
                    heard += [message for message, _ in self._frames.advance(count)]
                if heard and isinstance(heard[-1], Refuse):
                    break
        return heard


@asynccontextmanager
async def wire_to(port, context):
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=""
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


# --- links --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["none", "wrong realm", "expired", "revoked", "replayed", "downgraded"]
)
async def test_no_operation_of_a_link_is_open_to_who_proves_no_right(mesh, fault, caplog):
    """Refused once, logged once; what is heard is the refusal and not even who refuses."""
    async with running(mesh) as node:
        for message, _ in LINK:
            caplog.clear()
            credentials = mesh.credentials(fault)
            async with wire_to(node.port, credentials.tls.client) as wire:
                hello = make_hello(credentials, ())
                if fault == "downgraded":
                    hello = msgspec.structs.replace(hello, version=0, oldest_version=0)
                wire.say(hello)
                wire.say(message)
                heard = await wire.all()
            assert [type(m) for m in heard] == [Refuse], type(message)
            said = heard[0].problem
            assert said.why and said.fix
            assert mesh.owner.path.name not in said.what + said.why
            lines = [r for r in caplog.records if r.levelno >= logging.WARNING]
            assert len(lines) == 1, [r.getMessage() for r in lines]
        assert node.gateway.status()["workers"] == []


async def test_without_a_certificate_nothing_is_said_at_all(mesh):
    async with running(mesh) as node:
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with wire_to(node.port, bare) as wire:
                for message, _ in LINK:
                    wire.say(message)
                assert await wire.all() == []
                raise ConnectionError("it was hung up on without a word")


@pytest.mark.parametrize("role", sorted(HANDSHAKE))
async def test_a_member_may_say_only_what_its_role_may(mesh, role):
    async with running(mesh) as node:
        for message, allowed in LINK:
            if allowed is HANDSHAKE or role in allowed:
                continue
            me = NodeIdentity.generate()
            blob = mesh.membership(me, role)
            credentials = Credentials(me, mesh.key.public_key, blob)
            async with wire_to(node.port, credentials.tls.client) as wire:
                wire.say(make_hello(credentials, ()))
                wire.say(Ping(1))
                heard = await until(wire, Ping)
                wire.say(Pong(heard.t0_us, 5, 5))
                wire.say(message)
                told = (await wire.all())[-1]
            assert isinstance(told, Refuse), type(message)
            assert told.problem.code == "protocol"


async def until(wire, kind):
    """The next message of a kind."""
    async with asyncio.timeout(30):
        while True:
            data = await wire._reader.read(65_536)
            assert data
            while data:
                buffer = wire._frames.buffer()
                count = min(len(buffer), len(data))
                buffer[:count], data = data[:count], data[count:]
                for message, _ in wire._frames.advance(count):
                    if isinstance(message, kind):
                        return message


# --- HTTP ---------------------------------------------------------------------------------------


async def test_no_route_answers_who_has_no_right(mesh):
    foreign = RealmKey.generate()
    async with running(mesh) as node, aiohttp.ClientSession() as http:
        for (method, path), scopes in HTTP.items():
            if scopes is None:
                continue
            wrong = tuple(scope for scope in Scope if scope not in scopes)
            for fault, token in {
                "none": None,
                "garbage": "fm1.AAAA",
                "wrong realm": mesh.token(realm=foreign),
                "expired": mesh.token(lives_s=-60),
                "revoked": mesh.revoked_token,
                "wrong scope": mesh.token(*wrong),
            }.items():
                where = path.format(workload="render", session="s", viewer="v")
                url = f"http://127.0.0.1:{node.http_port}{where}"
                headers = {"Content-Type": "application/sdp"}
                if token is not None:
                    headers["Authorization"] = f"Bearer {token}"
                async with http.request(method, url, headers=headers, data="x") as answer:
                    told = await answer.json()
                    assert answer.status in (401, 403), (method, path, fault, told)
                    assert set(told) == {"code", "what", "why", "fix"}
                    assert told["code"] in ("not_authorized", "bad_request")
