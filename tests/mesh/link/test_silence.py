"""A peer that stops, dies, or stalls; each in a process of its own."""

import asyncio
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh.core.errors import LinkLost
from mesh.core.wire import AssetWanted
from mesh.link.liveness import LinkTiming

LONE_NODE = Path(__file__).with_name("lone_node.py")
ATTENTIVE = LinkTiming()  # as shipped


@pytest.fixture
def lone_node(realm, tmp_path):
    """`async with lone_node() as (process, port)`: a listening node of the realm."""

    @asynccontextmanager
    async def start():
        member = realm.member(end_s=10**9)
        (tmp_path / "key").touch(mode=0o600)
        (tmp_path / "key").write_bytes(member.identity.private_pem())
        (tmp_path / "membership").write_bytes(member.membership)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            LONE_NODE,
            tmp_path / "key",
            tmp_path / "membership",
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield process, int(await process.stdout.readline())
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return start


async def test_a_stopped_peer_is_noticed_and_learns_of_it_when_it_wakes(realm, end, lone_node):
    node = end(realm.member())
    async with lone_node() as (process, port):
        await node.dial(port, ATTENTIVE)
        assert await process.stdout.readline() == b"opened\n"
        process.send_signal(signal.SIGSTOP)
        why = await node.handler.ends.get()
        assert isinstance(why, LinkLost) and "nothing was heard" in why.why
        process.send_signal(signal.SIGCONT)
        assert (await process.stdout.readline()).startswith(b"closed the link to")
        link = await node.dial(port)  # and it can be linked with again
        assert link.is_open


async def test_a_killed_peer_is_noticed(realm, end, lone_node):
    node = end(realm.member())
    async with lone_node() as (process, port):
        await node.dial(port)
        process.kill()
        await process.wait()
        assert isinstance(await node.handler.ends.get(), LinkLost)


async def test_a_stall_of_our_own_does_not_cost_the_link(realm, end, lone_node):
    node, question = end(realm.member()), AssetWanted("0" * 64)
    async with lone_node() as (_, port):
        link = await node.dial(port, LinkTiming(silent_us=300_000))
        for _ in range(3):
            stalled_until = time.monotonic() + 0.35
            while time.monotonic() < stalled_until:
                pass
            link.send(question)
            assert (await node.handler.messages.get())[0] == question
        assert node.handler.ends.empty()
