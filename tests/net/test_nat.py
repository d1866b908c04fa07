"""Nodes behind NATs come to a link: direct where NATs allow it, by a relay where they do not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.core.membership import Role
from mesh.netcheck import mapping_of

pytestmark = pytest.mark.net
RELAY_PORT = 7400
AT_PORT = f"port = {RELAY_PORT}"
SNIFF = Path(__file__).with_name("sniff.py")


async def linked_pair(lab, realm, kinds):
    """A worker and a gateway behind NATs of these kinds, linked by help of two relays."""
    places = [(name, *lab.public()) for name in ("relay", "second")]
    await asyncio.gather(
        *(realm.start(where, name, Role.RELAY, link=AT_PORT) for name, where, _ in places)
    )
    peers = f"peers = {[f'{address}:{RELAY_PORT}' for _, _, address in places]}"
    hosts = [lab.behind(kind)[0] for kind in kinds]
    worker, gateway = await asyncio.gather(
        realm.start(hosts[0], "worker", Role.WORKER, link=peers),
        realm.start(hosts[1], "gateway", Role.GATEWAY, link=peers),
    )
    await gateway.until("linked with worker")
    return worker, gateway


def path_to(report, name):
    return next(peer for peer in report.peers if peer.name == name)


@pytest.mark.parametrize(
    ("kinds", "path", "mapping"),
    [
        # Whichever is known first: where the other is seen, or the relay that sees it.
        (("full cone", "full cone"), "direct punched", "endpoint-independent"),
        (("address restricted", "port restricted"), "punched", "endpoint-independent"),
        (("port restricted", "port restricted"), "punched", "endpoint-independent"),
        (("symmetric", "full cone"), "direct punched", "endpoint-independent"),
        (("symmetric", "symmetric"), "relayed", "endpoint-dependent"),
    ],
)
async def test_two_nodes_behind_nats_are_linked_by_the_shortest_way(
    lab, realm, kinds, path, mapping
):
    worker, gateway = await linked_pair(lab, realm, kinds)
    report = await gateway.netcheck()
    assert path_to(report, "worker").path in path.split()
    assert report.mapping == mapping
    assert report.reachable == (kinds[1] == "full cone")
    assert (await worker.netcheck()).reachable == (kinds[0] in ("full cone", "address restricted"))


async def test_a_relay_sees_ciphertext_only(lab, realm, tmp_path):
    """Every packet at the relay is searched for what the two say to each other in clear inside."""
    capture = tmp_path / "capture"
    where, address = lab.public()
    sniffer = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", where, sys.executable, str(SNIFF), str(capture)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert await sniffer.stdout.readline() == b"up\n"
    relay = f"{address}:{RELAY_PORT}"
    await realm.start(where, "relay", Role.RELAY, link=AT_PORT)
    for name, role in (("secretive", Role.WORKER), ("discreet", Role.GATEWAY)):
        host, _ = lab.behind("symmetric")
        node = await realm.start(host, name, role, link=f'peers = ["{relay}"]')
    await node.until("linked with secretive")
    assert path_to(await node.netcheck(), "secretive").path == "relayed"
    await sniffer.communicate(b"")
    seen = capture.read_bytes()
    assert seen.count(b"\x17\x03\x03") > 50, "TLS records passed (RFC 8446, 5.2)"
    for word in (b"secretive", b"discreet", b"light device", b"membership"):
        assert word not in seen


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([], "unknown"),
        (["203.0.113.2:7000", "203.0.113.2:7000"], "endpoint-independent"),
        (["203.0.113.2:7000", "203.0.113.2:7001"], "endpoint-dependent"),
        (["203.0.113.2:7000"], "one view"),
        (["10.0.0.5:7000"], "none"),
        (["[2001:db8::5]:7000"], "none"),
    ],
)
def test_a_nat_is_told_by_how_others_see_one_port(seen, said):
    assert mapping_of(seen, {"10.0.0.5", "2001:db8::5"}) == said
