"""The relay's two ends: here what a benchmark holds; `bench.impair.process` is the process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.childprocess import Child, open_child
from bench.impair.line import Counts, Link
from mesh.core.errors import MeshError

LOOPBACK = "127.0.0.1"
NEAR_ADDRESS, FAR_ADDRESS = "10.78.0.1", "10.78.0.2"
TUN = Path("/dev/net/tun")


class ImpairFailed(MeshError):
    """The impaired network cannot be made."""

    code = "impair_failed"


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Two joined network namespaces, the client's and the server's, with one address each.

    Run a command in one: `["ip", "netns", "exec", namespaces.near, *command]`.
    """

    near: str
    far: str
    near_address: str = NEAR_ADDRESS
    far_address: str = FAR_ADDRESS


class Relay:
    """A running relay. Made by `impaired` and `joined_namespaces`."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def open_port(self, host: str, port: int) -> int:
        """A UDP port on loopback that leads to `host`'s `port` over the lines."""
        return int((await self._child.call("open", host=host, port=port))["port"])

    async def answer(self, sdp: str) -> str:
        """An SDP answer whose only candidate is a port of the relay that leads to the answer's.

        Raises ImpairFailed if it has no UDP host candidate on IPv4.
        """
        host, port = _server_of(sdp)
        return _announce(sdp, await self.open_port(host, port))

    async def start(self) -> None:
        """Begin `rate_bps` at its second 0, and all counts at 0."""
        await self._child.call("start")

    async def counts(self) -> tuple[Counts, Counts]:
        """Down and up, since `start`."""
        told = await self._child.call("counts")
        return Counts(**told["down"]), Counts(**told["up"])


@asynccontextmanager
async def impaired(link: Link) -> AsyncIterator[Relay]:
    """A relay on loopback, for as long as the block runs."""
    async with _process(link, []) as relay:
        yield relay


@asynccontextmanager
async def joined_namespaces(link: Link) -> AsyncIterator[tuple[Relay, Namespaces]]:
    """Two namespaces of our own, joined by the lines: `down` is from `far` to `near`.

    Raises ImpairFailed where that needs rights that this process does not have.
    """
    if not _may_join():
        raise ImpairFailed(
            what="no network namespaces can be joined",
            why=f"that takes root and {TUN}",
            fix="Run as root, or use `impaired` on loopback.",
        )
    name = f"framemesh-{os.getpid()}"
    spaces = Namespaces(f"{name}-near", f"{name}-far")
    made = []
    try:
        for space in (spaces.near, spaces.far):
            await _ip("netns", "add", space)
            made.append(space)
            await _ip("-n", space, "link", "set", "lo", "up")
        async with joined(link, spaces.near, spaces.far) as relay:
            yield relay, spaces
    finally:
        for space in made:
            await _ip("netns", "del", space)


@asynccontextmanager
async def joined(link: Link, near: str, far: str) -> AsyncIterator[Relay]:
    """Two namespaces that are there already, joined by the lines; see `joined_namespaces`."""
    async with _process(link, [near, far]) as relay:
        yield relay


@asynccontextmanager
async def _process(link: Link, spaces: Sequence[str]) -> AsyncIterator[Relay]:
    command = [sys.executable, "-m", "bench.impair.process", json.dumps(link.as_json()), *spaces]
    async with open_child("the impairing relay", *command) as child:
        yield Relay(child)


def _may_join() -> bool:
    return os.geteuid() == 0 and TUN.exists()


async def _ip(*words: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *words)
    if await process.wait():
        raise ImpairFailed(
            what="a network namespace cannot be made",
            why=f"`ip {' '.join(words)}` failed",
            fix="Run as root where namespaces are allowed.",
        )


# --- SDP ------------------------------------------------------------------------------------------


def without_candidates(sdp: str) -> str:
    """An offer that does not say where its maker is: the answerer must wait to be called."""
    kept = [line for line in sdp.splitlines() if not line.startswith("a=candidate:")]
    return "\r\n".join(kept) + "\r\n"


def _server_of(sdp: str) -> tuple[str, int]:
    """The answer's IPv4 UDP host candidate; loopback's, if it has one."""
    found: list[tuple[str, int]] = []
    for line in sdp.splitlines():
        words = line.split()
        if (
            line.startswith("a=candidate:")
            and words[2].lower() == "udp"
            and words[7] == "host"
            and words[4].count(".") == 3
        ):
            found.append((words[4], int(words[5])))
    if not found:
        raise ImpairFailed(
            what="the answer cannot be relayed",
            why="it has no UDP host candidate on IPv4",
            fix="Have the server gather host candidates before it answers.",
        )
    return min(found, key=lambda address: address[0] != LOOPBACK)


def _announce(sdp: str, port: int) -> str:
    """Replace each section's candidates by the relay's port."""
    written: list[str] = []
    announced = False
    for line in sdp.splitlines():
        if line.startswith("m="):
            announced = False
        if line.startswith("a=candidate:"):
            if not announced:
                written.append(f"a=candidate:1 1 udp 2130706431 {LOOPBACK} {port} typ host")
            announced = True
        else:
            written.append(line)
    return "\r\n".join(written) + "\r\n"
