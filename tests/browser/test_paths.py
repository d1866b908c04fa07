"""The page reaches a gateway through a TURN server and by nothing else, and over IPv6."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.core.turn import IceServer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SECRET = "north"
SHOWS = "globalThis.framemesh?.look().counts.matched > 30"
ONLY_IPV6 = """
const accept = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
  const ours = (line) => !line.startsWith("a=candidate") || line.split(" ")[4].includes(":");
  return accept.call(this, { type, sdp: sdp.split("\\r\\n").filter(ours).join("\\r\\n") });
};"""
_numbers = itertools.count()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def cable() -> Iterator[str]:
    """A namespace at the other end of a cable; here 10.78.0.1 and fd78::1, there .2 and ::2."""
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    name = f"fm{os.getpid()}t{next(_numbers)}"  # of the namespace, and of the device into it
    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        for where, device, last in (((), name, 1), (("-n", name), "eth0", 2)):
            ip(*where, "address", "add", f"10.78.0.{last}/24", "dev", device)
            ip(*where, "address", "add", f"fd78::{last}/64", "dev", device, "nodad")
            ip(*where, "link", "set", device, "up")
        # coturn 4.6 gives a relayed address up as soon as one of its peers is unreachable.
        ip("-n", name, "route", "add", "default", "via", "10.78.0.1")
        yield name
    finally:
        ip("netns", "delete", name)


@contextlib.asynccontextmanager
async def turn_server(namespace: str, folder: Path) -> AsyncIterator[IceServer]:
    """coturn, in the namespace, with time-limited credentials."""
    coturn = shutil.which("turnserver")
    if coturn is None:
        pytest.skip("no turnserver: apt-get install coturn")
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, coturn, "-n", "--simple-log", "--log-file=stdout"),
        *("--listening-ip=10.78.0.2", "--relay-ip=10.78.0.2", "--listening-port=3478"),
        *("--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=test", "--pidfile="),
        *("--no-tls", "--no-dtls", "--no-cli", f"--userdb={folder / 'turndb'}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield IceServer("turn:10.78.0.2:3478?transport=udp", SECRET)
    finally:
        process.terminate()
        print((await process.communicate())[0].decode())


async def test_the_page_plays_through_a_turn_server_and_by_no_other_way(
    cable, gateway, served_at, chromium, token, tmp_path
):
    async with (
        turn_server(cable, tmp_path) as server,
        served_at(gateway, ice_servers=[server]) as url,
    ):
        page = await chromium.open_page(f"{url}/?barcode=1&relay=1#token={token}")
        await page.until(SHOWS)
        assert (await page.evaluate("framemesh.way()"))["relayed"]
        await page.until("document.querySelector('#codec').textContent.includes('relayed')")
        assert page.errors == []
        await page.close()


async def test_the_page_plays_over_ipv6(cable, gateway, served_at, chromium, token):
    async with served_at(gateway, host="::1") as url:
        page = await chromium.open_page("about:blank")
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=ONLY_IPV6)
        await page.goto(f"{url}/?barcode=1#token={token}")
        await page.until(SHOWS)
        assert ":" in (await page.evaluate("framemesh.way()"))["address"]
        assert page.errors == []
        await page.close()
