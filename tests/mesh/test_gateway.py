"""A gateway with a real device process and a real WebRTC viewer, in one node."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mesh.channel import LocalChannel
from mesh.core.config import GatewayConfig
from mesh.core.errors import ContentRefused, DeviceUnavailable, NotAuthorized, SessionRefused
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.token import ClientToken, Scope, sign_token
from mesh.core.wire import DevicesChanged
from mesh.core.workload import DeviceInfo, SessionRequest
from mesh.device.supervisor import Device, DeviceLimits, Plugins, open_device
from mesh.gateway import Gateway
from mesh.http import UnknownSession, UnknownViewer
from mesh.link.handshake import Credentials
from mesh.worker import Worker

PLUGINS = Path(__file__).parent / "plugins"
INFO = DeviceInfo(unit="stripes", api="cpu", name="stripes", driver="numpy", index=0)
KILL_AFTER_US = 300_000


class Realm:
    """A realm with one gateway node."""

    def __init__(self) -> None:
        self.key = RealmKey.generate()
        self.credentials = Credentials(NodeIdentity.generate(), self.key.public_key, b"")

    def token(self, subject: str = "alice", scope: Scope = Scope.CONTROL) -> str:
        now_s = int(time.time())
        return sign_token(
            self.key,
            realm_public=self.key.public_key,
            subject=subject,
            scopes=[scope],
            not_before=now_s - 60,
            not_after=now_s + 3600,
        )

    def client(self, gateway: Gateway, subject: str = "alice") -> ClientToken:
        return gateway.authorize(self.token(subject), Scope.CONTROL)


@pytest.fixture
def realm() -> Realm:
    return Realm()


@pytest.fixture
def stripes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PLUGINS))
    yield __import__("stripes").create({})
    sys.modules.pop("stripes")


@asynccontextmanager
async def node(
    realm: Realm,
    stripes: Any,
    *,
    with_worker: bool = True,
    max_sessions: int = 4,
    others: tuple[str, ...] = (),
) -> AsyncIterator[Gateway]:
    """A gateway and, over its channel to itself, a worker with one device."""
    config = GatewayConfig(max_sessions=max_sessions, others=others)
    async with Gateway(config, realm.credentials, {"stripes": stripes}) as gateway:
        if not with_worker:
            yield gateway
            return
        tell: list[Any] = []

        def changed(device: Device) -> None:
            for worker, end in tell:
                worker.device_changed(device)
                end.send(DevicesChanged(worker.offers()))

        async with open_device(
            "stripes",
            [INFO],
            {"stripes": {}},
            limits=DeviceLimits(arena_bytes=8 << 20),
            changed=changed,
            plugins=Plugins({"stripes": "stripes:create"}, (PLUGINS,)),
        ) as device:
            await device.ready()
            async with Worker([device], kill_after_us=KILL_AFTER_US) as worker:
                me = realm.credentials.identity.node_id
                gateway_end, worker_end = LocalChannel.pair(me, gateway, worker)
                tell.append((worker, worker_end))
                gateway.worker_found(gateway_end, "me", worker.offers())
                yield gateway
                tell.clear()


def request(**options: object) -> SessionRequest:
    return SessionRequest("stripes", {"barcode": 1, **options})


async def frame_facts(viewer: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(await viewer.messages.get())
    return facts


async def watch(gateway: Gateway, client: ClientToken, viewers: Any, **options: object) -> Any:
    viewer = viewers()
    opened = await gateway.open_session(client, request(**options), await viewer.offer())
    await viewer.accept(opened.answer_sdp)
    viewer.session_id = opened.session_id
    return viewer


async def test_frames_made_by_pieces_reach_the_viewer_in_order(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        viewer = await watch(gateway, realm.client(gateway), viewers)
        seen = [await viewer.next_picture_id() for _ in range(10)]
        assert None not in seen
        assert seen == sorted(set(seen))
        facts = await frame_facts(viewer)
        assert (facts["filled"], facts["rung"]) == (0, 0)
        assert len(facts["pieces"]) == 4
        assert facts["passes"] == {"paint": 12}
        assert facts["makers"][0].startswith("me@")
        assert set(facts["stages"]) == {"open", "pieces", "compose", "encode", "send"}


async def test_the_input_that_a_frame_was_made_with_is_named_with_it(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        viewer = await watch(gateway, realm.client(gateway), viewers)
        await viewer.input_open()
        assert (await frame_facts(viewer))["input"] == -1
        viewer.input.send(json.dumps({"id": 7}))
        async with asyncio.timeout(10):
            while (await frame_facts(viewer))["input"] != 7:
                pass


@pytest.mark.parametrize("trouble", ["crash", "hang"])
async def test_a_device_that_dies_costs_fills_and_the_stream_goes_on(
    realm: Realm, stripes: Any, viewers: Any, trouble: str
) -> None:
    async with node(realm, stripes) as gateway:
        viewer = await watch(gateway, realm.client(gateway), viewers, trouble=trouble, at=20)
        frames: list[dict[str, Any]] = []
        async with asyncio.timeout(30):
            while not frames or frames[-1]["frame"] < 60 or frames[-1]["filled"]:
                frames.append(await frame_facts(viewer))
        by_id = {facts["frame"]: facts for facts in frames}
        assert by_id[20]["filled"] > 0
        ids = [facts["frame"] for facts in frames]
        assert ids == sorted(set(ids))


async def test_a_result_that_is_no_answer_to_its_piece_is_never_shown(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        viewer = await watch(gateway, realm.client(gateway), viewers, trouble="short", at=20)
        async with asyncio.timeout(30):
            while (facts := await frame_facts(viewer))["frame"] < 20:
                pass
        assert facts["frame"] == 20
        assert facts["pieces"][0][4] == -1
        assert facts["filled"] == 1


async def test_a_bug_in_a_workload_ends_its_session_and_no_other(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        client = realm.client(gateway)
        healthy = await watch(gateway, client, viewers)
        ill = await watch(gateway, client, viewers, trouble="bug", at=10)
        async with asyncio.timeout(30):
            while "closed" not in await frame_facts(ill):
                pass
        assert await healthy.next_picture_id() is not None
        assert len(gateway.status()["sessions"]) == 1


async def test_content_that_the_device_refuses_is_told_to_who_opens(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        with pytest.raises(ContentRefused, match="crooked"):
            await watch(gateway, realm.client(gateway), viewers, crooked=1)
        assert gateway.status()["sessions"] == []


@pytest.mark.parametrize(
    ("workload", "options", "offer", "reason"),
    [
        ("paint", {}, None, "no workload 'paint'"),
        ("stripes", {"colour": "red"}, None, "stripes are grey"),
        ("stripes", {"codec": "mpeg1"}, None, "codec"),
        ("stripes", {}, "not an offer", "offer"),
    ],
)
async def test_what_cannot_be_served_is_refused_before_anything_starts(
    realm: Realm, stripes: Any, viewers: Any, workload: str, options: Any, offer: Any, reason: str
) -> None:
    async with node(realm, stripes) as gateway:
        offer = offer or await viewers().offer()
        with pytest.raises(SessionRefused, match=reason):
            await gateway.open_session(
                realm.client(gateway), SessionRequest(workload, options), offer
            )
        assert gateway.status()["sessions"] == []


async def test_without_a_worker_nothing_is_promised(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes, with_worker=False) as gateway:
        with pytest.raises(DeviceUnavailable, match="no worker"):
            await watch(gateway, realm.client(gateway), viewers)


async def test_one_session_more_than_configured_is_refused(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes, max_sessions=1) as gateway:
        client = realm.client(gateway)
        first = await watch(gateway, client, viewers)
        with pytest.raises(DeviceUnavailable, match="max_sessions"):
            await watch(gateway, client, viewers)
        await gateway.close_session(client, first.session_id)
        await watch(gateway, client, viewers)


async def test_a_session_belongs_to_who_opened_it(realm: Realm, stripes: Any, viewers: Any) -> None:
    async with node(realm, stripes) as gateway:
        viewer = await watch(gateway, realm.client(gateway), viewers)
        mallory = realm.client(gateway, "mallory")
        with pytest.raises(NotAuthorized):
            await gateway.close_session(mallory, viewer.session_id)
        alice = realm.client(gateway)
        assert gateway.describe_session(alice, viewer.session_id)["title"] == "stripes"
        await gateway.close_session(alice, viewer.session_id)
        with pytest.raises(UnknownSession):
            gateway.describe_session(alice, viewer.session_id)


# --- looking on -----------------------------------------------------------------------------


async def look_on(gateway: Gateway, client: ClientToken, viewers: Any, session_id: str) -> Any:
    viewer = viewers()
    joined = await gateway.join_session(client, session_id, await viewer.offer())
    await viewer.accept(joined.answer_sdp)
    viewer.id = joined.viewer_id
    return viewer


async def test_another_of_the_realm_looks_on_and_leaves_and_the_session_goes_on(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        owner = await watch(gateway, realm.client(gateway), viewers)
        bob = gateway.authorize(realm.token("bob", Scope.VIEW), Scope.VIEW)
        [listed] = gateway.sessions(bob)
        assert (listed["session"], listed["subject"]) == (owner.session_id, "alice")
        assert (listed["pictures"], listed["title"], listed["viewers"]) == (True, "stripes", 1)
        guest = await look_on(gateway, bob, viewers, owner.session_id)
        seen = [await guest.next_picture_id() for _ in range(5)]
        assert seen == sorted(set(seen))
        assert gateway.status()["sessions"][0]["viewers"] == 2
        with pytest.raises(NotAuthorized):
            await gateway.close_session(bob, owner.session_id)
        gateway.leave_session(bob, owner.session_id, guest.id)
        with pytest.raises(UnknownViewer):
            gateway.leave_session(bob, owner.session_id, guest.id)
        after = [await owner.next_picture_id() for _ in range(5)]
        assert after == sorted(set(after))


async def test_a_session_ends_with_its_opener_and_whoever_looks_on_is_told(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        alice = realm.client(gateway)
        owner = await watch(gateway, alice, viewers)
        guest = await look_on(gateway, alice, viewers, owner.session_id)
        await guest.input_open()
        await gateway.close_session(alice, owner.session_id)
        async with asyncio.timeout(10):
            while "closed" not in (told := await frame_facts(guest)):
                pass
        assert told["closed"] == "its client closed it"
        with pytest.raises(UnknownSession):
            await look_on(gateway, alice, viewers, owner.session_id)


@pytest.mark.parametrize("others", [(), ("https://gate-2.example",)])
async def test_viewers_of_a_draining_gateway_are_sent_on_where_there_is_another(
    realm: Realm, stripes: Any, viewers: Any, others: tuple[str, ...]
) -> None:
    async with node(realm, stripes, others=others) as gateway:
        alice = realm.client(gateway)
        viewer = await watch(gateway, alice, viewers)
        await viewer.input_open()
        gateway.drain()
        await gateway.close_session(alice, viewer.session_id)
        heard: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while not heard or "closed" not in heard[-1]:
                heard.append(await frame_facts(viewer))
        assert ({"leaving": True} in heard) == bool(others)
        await gateway.drained()


async def test_a_private_session_is_seen_by_its_opener_alone(
    realm: Realm, stripes: Any, viewers: Any
) -> None:
    async with node(realm, stripes) as gateway:
        alice, bob = realm.client(gateway), realm.client(gateway, "bob")
        owner = await watch(gateway, alice, viewers, private=1)
        assert gateway.sessions(bob) == []
        with pytest.raises(NotAuthorized, match="private"):
            gateway.describe_session(bob, owner.session_id)
        with pytest.raises(NotAuthorized, match="private"):
            await look_on(gateway, bob, viewers, owner.session_id)
        assert [s["session"] for s in gateway.sessions(alice)] == [owner.session_id]
        await look_on(gateway, alice, viewers, owner.session_id)
