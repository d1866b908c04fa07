"""What an admin says reaches nodes that run, by whatever links there are, and is acted on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from clients.cli.main import parser
from clients.cli.realm import admit, publish, run_rotate
from mesh.core.admission import sign_for
from mesh.core.bulletin import Renewal, Revocation, Secret
from mesh.core.config import HttpConfig, LinkConfig, NodeConfig
from mesh.core.errors import MeshError, PeerRefused
from mesh.core.home import NodeHome
from mesh.core.identity import NodeIdentity
from mesh.core.membership import GRANTED_BY_ADMINS, Role, read_membership
from mesh.core.wire import RealmNews, Renewed, encode_message
from mesh.link.endpoint import dial
from mesh.link.handshake import Credentials
from mesh.link.liveness import LinkTiming
from mesh.link.transport import Link
from mesh.node import Node, open_node

OpenNode = Callable[..., AbstractAsyncContextManager[Node]]
NOW_S = int(time.time())
PATIENT = LinkTiming(silent_us=20_000_000, stuck_us=60_000_000, handshake_us=20_000_000)


class Member:
    """A bare link of a member, and what comes by it."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[object] = asyncio.Queue()
        self.ended: asyncio.Future[MeshError | None] = asyncio.get_running_loop().create_future()

    def opened(self, link: Link) -> None:
        pass

    def body_buffer(self, link: Link, message: object, size: int) -> None:
        return None

    def received(self, link: Link, message: object, body: memoryview) -> None:
        self.heard.put_nowait(message)

    def closed(self, link: Link, why: MeshError | None) -> None:
        self.ended.set_result(why)

    async def until(self, kind: type, holds: Callable[[object], bool] = lambda _: True) -> object:
        while True:
            message = await self.heard.get()
            if isinstance(message, kind) and holds(message):
                return message


@pytest.fixture
def owner(tmp_path: Path) -> NodeHome:
    home = NodeHome(tmp_path / "owner")
    admit(home.create_realm_key(), home, "owner", (Role.GATEWAY, Role.ADMIN))
    publish(home, [Secret(bytes(32))], quietly=True)
    return home


@pytest.fixture
def running() -> OpenNode:
    @asynccontextmanager
    async def run(home: NodeHome, *peers: int) -> AsyncIterator[Node]:
        config = NodeConfig(
            name=home.path.name,
            roles=("gateway",),
            state_dir=str(home.path),
            link=LinkConfig(
                host="127.0.0.1",
                silent_ms=20_000,
                peers=tuple(f"127.0.0.1:{port}" for port in peers),
            ),
            http=HttpConfig(port=0),
            workloads={},
            discovery={},
        )
        async with open_node(config) as node:
            yield node

    return run


def joined(owner: NodeHome, path: Path, *roles: Role) -> NodeHome:
    home = NodeHome(path)
    blob = sign_for(
        owner, home.identity().public_key, roles=roles, days=1, name=path.name, now_s=NOW_S
    )
    home.install_membership(blob)
    return home


async def linked(home: NodeHome, node: Node) -> tuple[Link, Member]:
    identity, blob = home.identity(), home.membership()
    realm = read_membership(blob, identity.public_key, int(time.time())).realm
    member = Member()
    link = await dial(
        "127.0.0.1", node.port, Credentials(identity, realm, blob), member, tuple, timing=PATIENT
    )
    return link, member


async def told(node: Node, member: Member) -> None:
    """Wait until a member of `node` has been told what `node` was told last."""
    newest = node.credentials.trust.bulletins()[-1]
    await member.until(RealmNews, lambda m: m.bulletin == newest)  # type: ignore[attr-defined]


async def test_who_is_revoked_is_hung_up_on_by_nodes_that_were_only_told(
    owner: NodeHome, running: OpenNode, tmp_path: Path
) -> None:
    middle = joined(owner, tmp_path / "middle", Role.GATEWAY)
    thief = joined(owner, tmp_path / "thief", Role.WORKER)
    honest = joined(owner, tmp_path / "honest", Role.WORKER)
    async with running(owner) as first, running(middle, first.port) as second:
        _, stolen = await linked(thief, second)
        link, kept = await linked(honest, second)
        node_id = thief.identity().node_id
        end_s = int(time.time()) + 3600
        out = [Revocation(nodes={node_id: end_s}), Secret(bytes(range(32)))]
        await kept.until(RealmNews)  # the second has heard of the realm from the first
        await asyncio.to_thread(publish, owner, out)
        why = await stolen.ended
        assert isinstance(why, PeerRefused) and "revoked" in why.why
        await kept.until(RealmNews, lambda _: second.credentials.trust.secret == bytes(range(32)))
        assert link.is_open
        while not stolen.heard.empty():
            told_it = encode_message(stolen.heard.get_nowait())
            assert bytes(range(32)) not in told_it, "who is thrown out is told no secret"
        with pytest.raises(PeerRefused, match="revoked"):
            await linked(thief, second)
    kept_secret = middle.trust(int(time.time())).secret
    async with running(middle) as again:
        assert again.credentials.trust.secret == kept_secret == bytes(range(32))
        with pytest.raises(PeerRefused, match="revoked"):
            await linked(thief, again)


async def test_a_membership_that_ends_ends_its_link(
    owner: NodeHome, running: OpenNode, tmp_path: Path
) -> None:
    brief = NodeHome(tmp_path / "brief")
    blob = sign_for(
        owner,
        brief.identity().public_key,
        roles=(Role.WORKER,),
        days=2 / 86_400,
        name="brief",
        now_s=int(time.time()),
    )
    brief.install_membership(blob)
    async with running(owner) as node:
        _, member = await linked(brief, node)
        why = await member.ended
    assert isinstance(why, PeerRefused) and "expired" in why.why


async def test_a_client_is_told_nothing_of_the_realm_and_may_say_nothing(
    owner: NodeHome, running: OpenNode, tmp_path: Path
) -> None:
    client = joined(owner, tmp_path / "client", Role.CLIENT)
    async with running(owner) as node:
        link, member = await linked(client, node)
        link.send(RealmNews(node.credentials.trust.bulletins()[0]))
        why = await member.ended
        assert isinstance(why, PeerRefused) and "a client" in why.why
        assert member.heard.empty()


async def test_a_bulletin_that_is_not_the_realms_word_is_not_passed_on(
    owner: NodeHome, running: OpenNode, tmp_path: Path
) -> None:
    liar, honest = (joined(owner, tmp_path / name, Role.WORKER) for name in ("liar", "honest"))
    async with running(owner) as node:
        link, member = await linked(liar, node)
        _, other = await linked(honest, node)
        await told(node, other)
        good = node.credentials.trust.bulletins()[0]
        for _ in range(200):
            link.send(RealmNews(good[:-1] + bytes([good[-1] ^ 1])))
        why = await member.ended
        assert isinstance(why, PeerRefused)
        while not other.heard.empty():
            assert not isinstance(other.heard.get_nowait(), RealmNews)


async def test_a_renewed_membership_is_taken_up_where_the_node_runs(
    owner: NodeHome, running: OpenNode, tmp_path: Path
) -> None:
    desk = joined(owner, tmp_path / "desk", Role.GATEWAY)
    watch = joined(owner, tmp_path / "watch", Role.WORKER)
    public = desk.identity().public_key
    async with running(owner) as first, running(desk, first.port) as second:
        _, member = await linked(watch, second)
        await member.until(RealmNews)
        blob = sign_for(owner, public, roles=(Role.GATEWAY,), days=9, name="renewed", now_s=NOW_S)
        await asyncio.to_thread(
            publish, owner, [Renewal(second.credentials.identity.node_id, blob)]
        )
        message = await member.until(Renewed)
        assert message == Renewed(blob)
        assert second.member.name == "renewed"
    assert desk.membership() == blob


async def test_the_realms_key_is_rotated_under_running_nodes_and_no_link_breaks(
    owner: NodeHome, running: OpenNode, tmp_path: Path
) -> None:
    desk = joined(owner, tmp_path / "desk", Role.GATEWAY)
    old = owner.realm_key()
    late = joined(owner, tmp_path / "late", Role.WORKER)
    async with running(owner) as first, running(desk, first.port) as second:
        link, member = await linked(late, second)
        await member.until(RealmNews)
        words = ["realm", "rotate", "--state", str(owner.path), "--overlap", "1"]
        await asyncio.to_thread(run_rotate, parser().parse_args(words))
        new = owner.realm_key()
        await member.until(Renewed)
        assert second.member.realm == new.public_key != old.public_key
        assert link.is_open
        # Who was not online is still believed until the old key retires, and told the new.
        _, again = await linked(late, second)
        await again.until(RealmNews)
        assert (await dialled(first, second)).realm == new.public_key
    async with running(desk) as restarted:
        assert restarted.member.realm == new.public_key
        await linked(late, restarted)


async def dialled(first: Node, second: Node) -> object:
    """The membership by which `first` knows `second` now."""
    for link in first._open_links():
        if link.peer.node_id == second.credentials.identity.node_id:
            return link.peer.membership
    raise AssertionError("their link is gone")


def test_admins_may_not_be_appointed_by_admins(owner: NodeHome, tmp_path: Path) -> None:
    admin = joined(owner, tmp_path / "admin", Role.ADMIN)
    assert owner.issued()[admin.identity().node_id].admits == frozenset(GRANTED_BY_ADMINS)
    with pytest.raises(MeshError, match="may not grant admin"):
        sign_for(
            admin,
            NodeIdentity.generate().public_key,
            roles=(Role.ADMIN,),
            days=1,
            name="x",
            now_s=NOW_S,
        )
