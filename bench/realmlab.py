"""Real nodes of one realm in namespaces: laid out, started, listened to."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from clients.cli.realm import admit
from mesh.core.admission import sign_for
from mesh.core.bulletin import Secret
from mesh.core.home import NodeHome
from mesh.core.membership import Role
from mesh.netcheck import NetReport

PLUGINS = Path(__file__).parent / "plugins"


class RunningNode:
    """A `framemesh node` in a namespace. said: its log so far, as it was read."""

    def __init__(
        self, process: asyncio.subprocess.Process, home: NodeHome, namespace: str, began_s: float
    ) -> None:
        self.process, self.home, self.namespace, self.began_s = process, home, namespace, began_s
        self.said: list[str] = []

    async def until(self, *words: str) -> float:
        """Wait for the next line of its log with all these words; when it was written, unix s."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.said.append(line)
            if all(word in line for word in words):
                return written_s(line)
        raise RuntimeError(f"it ended before it said {words}: {''.join(self.said[-30:])}")

    async def netcheck(self) -> NetReport:
        """What `framemesh netcheck` says of it."""
        asked = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", self.namespace, sys.executable, "-m", "clients.cli"),
            *("netcheck", "--json", "--state", str(self.home.path)),
            stdout=subprocess.PIPE,
        )
        out, _ = await asked.communicate()
        return msgspec.json.decode(out, type=NetReport)

    def processes(self) -> list[int]:
        """Its own, and those of its children."""
        own = node_pid(self.process.pid)
        return [own, *children_of(own)]


def written_s(line: str) -> float:
    """When a line of a node's log was written, in unix seconds."""
    stamp, _, millis = line[:23].partition(",")
    return time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S")) + int(millis) / 1000


def node_pid(pid: int) -> int:
    """`ip netns exec` becomes what it starts."""
    return pid


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class RealmLab:
    """A realm, and nodes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.owner = NodeHome(folder / "owner")
        admit(self.owner.create_realm_key(), self.owner, "owner", (Role.ADMIN,))
        now_s = int(time.time())
        secret = self.owner.signer(now_s).bulletin(Secret(bytes(range(32))), now_s)
        self.owner.keep_bulletins([secret], now_s)

    def home(self, name: str, *roles: Role) -> NodeHome:
        """A member that has not started, told what members are told."""
        home, now_s = NodeHome(self.folder / name), int(time.time())
        public = home.identity().public_key
        blob = sign_for(self.owner, public, roles=roles, days=1, name=name, now_s=now_s)
        home.install_membership(blob)
        home.keep_bulletins(self.owner.trust(now_s).bulletins(), now_s)
        return home

    @asynccontextmanager
    async def running(
        self, namespace: str, name: str, *roles: Role, link: str = "", extra: str = ""
    ) -> AsyncIterator[RunningNode]:
        """Run a node there. link: lines of its [link] table; extra: tables after it.

        Without a [discovery] table it has no finder; without [workloads], only a light one.
        """
        home = self.home(name, *roles)
        config = config_of(home, name, roles, link, extra)
        began_s = time.time()
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", namespace, sys.executable, "-m", "clients.cli"),
            *("node", "--config", str(config)),
            stderr=subprocess.PIPE,
            env=os.environ
            | {"PYTHONPATH": f"{PLUGINS}", "XDG_CACHE_HOME": str(home.path / "cache")},
        )
        node = RunningNode(process, home, namespace, began_s)
        try:
            await node.until("up: node")
            yield node
        finally:
            await ended(process)


async def ended(process: asyncio.subprocess.Process) -> None:
    """End a process in order, or by force if it does not."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(10):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


def config_of(home: NodeHome, name: str, roles: Sequence[Role], link: str, extra: str) -> Path:
    """The configuration file of a node, written; see `RealmLab.running`."""
    lines = [
        f'name = "{name}"',
        f'state_dir = "{home.path}"',
        f"roles = [{', '.join(repr(str(role)) for role in roles)}]",
        *([] if "[discovery" in extra else ["discovery = {}"]),
        f"[link]\n{link or 'silent_ms = 5000'}",
        "[http]\nport = 0",
        extra,
        "" if "[workloads" in extra else "[workloads.light]",
    ]
    path = home.path / "node.toml"
    path.write_text("\n".join(lines))
    return path
