"""Nodes of one realm in networks that the test lays out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from bench.netlab import Lab
from clients.cli.realm import admit, publish
from mesh.core.admission import sign_for
from mesh.core.bulletin import Secret
from mesh.core.home import NodeHome
from mesh.core.membership import Role
from mesh.netcheck import NetReport

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture
def lab():
    """Networks and NATs."""
    made = Lab()
    yield made
    made.close()


class RunningNode:
    """A `framemesh node` in a namespace."""

    def __init__(self, process, home, namespace):
        self.process, self.home, self.namespace = process, home, namespace
        self.said = []

    async def until(self, *words) -> str:
        """The first line of its log with all these words, from now on."""
        while line := (await self.process.stderr.readline()).decode():
            self.said.append(line)
            if all(word in line for word in words):
                return line
        raise AssertionError(f"it ended before it said {words}: {''.join(self.said[-30:])}")

    async def netcheck(self) -> NetReport:
        """What `framemesh netcheck` says of it."""
        asked = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", self.namespace, sys.executable, "-m", "clients.cli"),
            *("netcheck", "--json", "--state", str(self.home.path)),
            stdout=subprocess.PIPE,
        )
        out, _ = await asked.communicate()
        return msgspec.json.decode(out, type=NetReport)


class Realm:
    """A realm, and nodes of it that run."""

    def __init__(self, folder: Path, stack: AsyncExitStack):
        self.folder, self._stack = folder, stack
        self.owner = NodeHome(folder / "owner")
        admit(self.owner.create_realm_key(), self.owner, "owner", (Role.ADMIN,))
        publish(self.owner, [Secret(bytes(range(32)))], quietly=True)

    def home(self, name: str, *roles: Role) -> NodeHome:
        """A member that has not started, told what members are told."""
        home = NodeHome(self.folder / name)
        public = home.identity().public_key
        now_s = int(time.time())
        home.install_membership(
            sign_for(self.owner, public, roles=roles, days=1, name=name, now_s=now_s)
        )
        home.keep_bulletins(self.owner.trust(now_s).bulletins(), now_s)
        return home

    async def start(self, namespace: str, name: str, *roles: Role, extra: str = "", **link):
        """Run a node there until the test ends; `link` goes into its [link] table."""
        home = self.home(name, *roles)
        lines = [
            f'name = "{name}"',
            f'state_dir = "{home.path}"',
            f"roles = [{', '.join(repr(str(role)) for role in roles)}]",
            "[link]\nsilent_ms = 5000",
            *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in link.items()),
            "[http]\nport = 0",
            extra if "[workloads" in extra else f"{extra}\n[workloads.light]",
        ]
        if "[discovery" not in extra:
            lines.insert(3, "discovery = {}")
        config = home.path / "node.toml"
        config.write_text("\n".join(lines))
        return await self._stack.enter_async_context(running(namespace, home, config))


@asynccontextmanager
async def running(namespace, home, config):
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, "-m", "clients.cli"),
        *("node", "--config", str(config)),
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{PLUGINS}", "XDG_CACHE_HOME": str(home.path / "cache")},
    )
    node = RunningNode(process, home, namespace)
    try:
        await node.until("up: node")
        yield node
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


@pytest.fixture
async def realm(tmp_path):
    """A realm whose nodes end with the test."""
    async with AsyncExitStack() as stack:
        yield await asyncio.to_thread(Realm, tmp_path, stack)
