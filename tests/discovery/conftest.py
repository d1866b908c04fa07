"""Finders in real processes, in network namespaces that see nothing of the machine's networks."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

NODE = Path(__file__).with_name("node.py")
_numbers = itertools.count()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def _namespace():
    name = f"fm-{os.getpid()}-{next(_numbers)}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _ip("netns", "delete", name)


@pytest.fixture
def namespace():
    """A namespace with nothing but loopback."""
    with _namespace() as name:
        yield name


@pytest.fixture
def two_namespaces():
    """Two namespaces, 10.77.0.1 and 10.77.0.2, joined by a cable; each has loopback too."""
    with _namespace() as one, _namespace() as two:
        _ip("-n", one, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", two)
        for name, address in ((one, "10.77.0.1/24"), (two, "10.77.0.2/24")):
            _ip("-n", name, "address", "add", address, "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        yield one, two


@pytest.fixture
def three_networks():
    """Three namespaces, 10.77.1.2 to 10.77.3.2, each in a network of its own; a router between
    them forwards no multicast.
    """
    with _namespace() as router, _namespace() as one, _namespace() as two, _namespace() as three:
        for number, name in enumerate((one, two, three), 1):
            port = f"eth{number}"
            _ip("-n", router, "link", "add", port, "type", "veth", "peer", "eth0", "netns", name)
            for where, device, last in ((router, port, 1), (name, "eth0", 2)):
                _ip("-n", where, "address", "add", f"10.77.{number}.{last}/24", "dev", device)
                _ip("-n", where, "link", "set", device, "up")
            _ip("-n", name, "route", "add", "default", "via", f"10.77.{number}.1")
        forward = ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        subprocess.run(["ip", "netns", "exec", router, *forward], check=True)
        yield one, two, three


@pytest.fixture
def ip():
    """Run `ip` with these words."""
    return _ip


class NodeProcess:
    """One finder; `next_line` reads what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.heard: list[dict] = []

    async def until(self, **wanted) -> dict:
        """The first line with these facts, from now on; those before it are in `heard`."""
        while line := await self.process.stdout.readline():
            facts = json.loads(line)
            self.heard.append(facts)
            if all(facts.get(key) == value for key, value in wanted.items()):
                return facts
        raise AssertionError(f"the process ended before it said {wanted}: {self.heard}")

    def tell(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")

    async def finish(self) -> int:
        self.process.stdin.close()
        return await self.process.wait()


@pytest.fixture
async def start_node(tmp_path, repository):
    """Start a finder in a namespace; all of them end with the test."""

    @asynccontextmanager
    async def run(namespace, name, port=7000, sequence=1, **settings):
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", namespace, sys.executable, NODE),
            *(name, str(port), str(sequence), str(tmp_path / name), json.dumps(settings)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=repository,
            env=os.environ | {"PYTHONPATH": str(repository)},
        )
        try:
            yield NodeProcess(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async with AsyncExitStack() as stack:

        async def start(*where, **how) -> NodeProcess:
            return await stack.enter_async_context(run(*where, **how))

        yield start
