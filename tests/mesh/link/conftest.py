"""Real links over loopback: nodes with real keys, handlers that write down what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mesh.core.errors import MeshError
from mesh.core.identity import NodeIdentity, RealmKey
from mesh.core.membership import Role, sign_membership
from mesh.core.wire import Message
from mesh.link.endpoint import Listener, dial, listen
from mesh.link.handshake import Credentials
from mesh.link.liveness import LinkTiming
from mesh.link.transport import Link

# Patient about silence: these tests share their cores with others. Where silence is the subject,
# a test brings its own timing.
PATIENT = LinkTiming(silent_us=20_000_000, stuck_us=60_000_000, handshake_us=20_000_000)


class Inbox(asyncio.Queue):
    """What a test waits for; when it never comes, the test fails instead of hanging."""

    async def get(self):
        async with asyncio.timeout(30):
            return await super().get()


class Recorder:
    """A handler that takes every body and notes everything."""

    def __init__(self) -> None:
        self.links: asyncio.Queue[Link] = Inbox()
        self.messages: asyncio.Queue[tuple[Message, memoryview]] = Inbox()
        self.ends: asyncio.Queue[MeshError | None] = Inbox()

    def opened(self, link):
        self.links.put_nowait(link)

    def body_buffer(self, link, message, size):
        return memoryview(bytearray(size))

    def received(self, link, message, body):
        self.messages.put_nowait((message, body))

    def closed(self, link, why):
        self.ends.put_nowait(why)


class Realm:
    """A realm that admits nodes; times are relative to now."""

    def __init__(self) -> None:
        self.key = RealmKey.generate()

    def blob(self, identity, begin_s=-60, end_s=3600):
        now_s = int(time.time())
        return sign_membership(
            self.key,
            node_public=identity.public_key,
            roles=[Role.WORKER, Role.GATEWAY],
            not_before=now_s + begin_s,
            not_after=now_s + end_s,
        )

    def member(self, end_s=3600) -> Credentials:
        identity = NodeIdentity.generate()
        return Credentials(identity, self.key.public_key, self.blob(identity, end_s=end_s))


class End:
    """One node of a test: credentials, handler, and what it refused."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.handler = Recorder()
        self.refusals: asyncio.Queue[MeshError] = Inbox()

    @asynccontextmanager
    async def listening(self, timing: LinkTiming = PATIENT) -> AsyncIterator[Listener]:
        async with listen(
            "127.0.0.1",
            0,
            self.credentials,
            self.handler,
            lambda: (),
            timing=timing,
            refused=lambda address, why: self.refusals.put_nowait(why),
        ) as listener:
            yield listener

    async def dial(self, port: int, timing: LinkTiming = PATIENT, **options) -> Link:
        return await dial(
            "127.0.0.1", port, self.credentials, self.handler, lambda: (), timing=timing, **options
        )


@pytest.fixture(scope="session")
def realm() -> Realm:
    return Realm()


@pytest.fixture(scope="session")
def foreign_realm() -> Realm:
    return Realm()


@pytest.fixture
def end() -> Callable[[Credentials], End]:
    return End


@pytest.fixture
def linked(realm):
    """`async with linked() as (here, there)`: two open links, `here` dialled; see Linked."""

    @asynccontextmanager
    async def make(timing: LinkTiming = PATIENT):
        server, client = End(realm.member()), End(realm.member())
        async with server.listening(timing) as listener:
            here = await client.dial(listener.port, timing)
            there = await server.handler.links.get()
            yield Linked(here, client.handler, there, server.handler)
            await here.close()

    return make


class Linked:
    """Both ends of a link and their handlers."""

    def __init__(self, here: Link, ours: Recorder, there: Link, theirs: Recorder) -> None:
        self.here, self.ours, self.there, self.theirs = here, ours, there, theirs
