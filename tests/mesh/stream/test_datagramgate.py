"""Whose datagrams reach a connection."""

import asyncio
import random
import socket
from itertools import count

import aioice.stun as stun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.datagramgate import MAX_DATAGRAM, MAX_PATHS, DatagramGate, is_data
from mesh.stream.rtc import MAX_WAITING_DATAGRAMS
from mesh.stream.session import StreamOptions

HERE = (1, ("192.0.2.1", 4000))
ELSEWHERE = (1, ("192.0.2.1", 4001))
DTLS = bytes((22, 0xFE, 0xFD)) + bytes(40)
RTCP = bytes((0x81, 201)) + bytes(30)


def check(username: str = "ours:theirs", key: bytes = b"secret") -> bytes:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = username
    request.add_message_integrity(key)
    return bytes(request)


@pytest.mark.parametrize("attribute", [0x0006, 0x0024, 0x802A, 0x0020, 0x0009])
def test_a_check_that_the_parser_chokes_on_is_dropped(attribute):
    body = attribute.to_bytes(2) + (1).to_bytes(2) + b"\xff\0\0\0"
    body = b"\0\x06\0\x05ours:\0\0\0" + body
    request = b"\0\x01" + len(body).to_bytes(2) + b"\x21\x12\xa4\x42" + bytes(12) + body
    with pytest.raises(Exception):  # noqa: B017 - of whatever kind
        stun.parse_message(request)
    assert not DatagramGate("ours").admits(request, HERE)


@pytest.mark.parametrize("data", [DTLS, RTCP])
def test_data_is_believed_only_on_a_path_that_was_checked(data):
    gate = DatagramGate("ours")
    assert not gate.admits(data, HERE)
    gate.checked(HERE)
    assert gate.admits(data, HERE)
    assert not gate.admits(data, ELSEWHERE)
    assert not gate.admits(data, (2, HERE[1])), "another socket of ours"
    assert gate.dropped == 3


def test_checks_for_us_come_from_anywhere_and_those_for_others_do_not():
    gate = DatagramGate("ours")
    assert gate.admits(check(), ELSEWHERE)
    assert not gate.admits(check("others:theirs"), ELSEWHERE)
    answer = bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE))
    assert gate.admits(answer, ELSEWHERE), "matched with our question afterwards"
    indication = bytes(stun.Message(stun.Method.BINDING, stun.Class.INDICATION))
    assert not gate.admits(indication, ELSEWHERE)
    assert not gate.admits(check()[:-1], ELSEWHERE)
    assert not gate.admits(check() + b"\0", ELSEWHERE)


@given(st.binary(max_size=MAX_DATAGRAM + 100))
def test_a_stranger_is_never_heard_without_a_check_for_us(datagram):
    gate = DatagramGate("never in random bytes")
    believed = gate.admits(datagram, HERE)
    assert not believed or datagram[:2] in (b"\x01\x01", b"\x01\x11")
    gate.checked(HERE)
    if gate.admits(datagram, HERE) and not believed:
        assert is_data(datagram)
        assert len(datagram) <= MAX_DATAGRAM


def test_the_paths_remembered_are_bounded_and_the_newest_stay():
    gate = DatagramGate("ours")
    for port in range(MAX_PATHS + 1):
        gate.checked((1, port))
        gate.checked(HERE)
    assert gate.admits(DTLS, HERE)
    assert gate.admits(DTLS, (1, MAX_PATHS))
    assert not gate.admits(DTLS, (1, 0))


def port_of(viewer) -> tuple[str, int]:
    """Where the stream listens for this viewer, on loopback."""
    lines = viewer.connection.remoteDescription.sdp.splitlines()
    candidates = [line.split() for line in lines if line.startswith("a=candidate:")]
    return next((c[4], int(c[5])) for c in candidates if c[4] == "127.0.0.1")


def hostile(seed: int) -> list[bytes]:
    """What strangers send: nothing at all, alerts, hellos, media, checks for nobody, noise."""
    rng = random.Random(seed)
    alert = bytes((21, 0xFE, 0xFD)) + bytes(8) + bytes((0, 2, 1, 0))  # "it ends", unencrypted
    known = [b"", alert, DTLS, RTCP, check("others:theirs"), bytes(20), bytes(4000)]
    noise = [rng.randbytes(rng.randrange(200)) for _ in range(300)]
    cut = [check()[: rng.randrange(80)] for _ in range(50)]
    return known + noise + cut


async def test_strangers_end_no_connection_before_or_while_it_runs(streams, viewers):
    harness = streams(options=StreamOptions(barcode=True))
    viewer = viewers()
    answer = await harness.stream.answer(await viewer.offer())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        await viewer.accept(answer)
        address = port_of(viewer)
        for datagram in hostile(1):
            stranger.sendto(datagram, address)
        async with harness.running():
            before = await viewer.next_picture_id()
            for datagram in hostile(2):
                stranger.sendto(datagram, address)
            seen = [await viewer.next_picture_id() for _ in range(10)]
    assert seen == sorted(set(seen))
    assert seen[0] > before
    [peer] = harness.stream._viewers
    assert peer.connected


async def test_a_stranger_is_no_sign_of_life(streams, viewers):
    harness = streams(silence_us=2_500_000)
    viewer = await harness.connect(viewers())
    async with harness.running():
        await viewer.next_picture_id()
        address = port_of(viewer)
        [receiver] = viewer.connection.getReceivers()
        for protocol in receiver.transport.transport._connection._protocols:
            protocol.transport.abort()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for n in count():
                if harness.closed.done():
                    break
                assert n < 1000
                stranger.sendto(RTCP, address)
                await asyncio.sleep(0.02)
    assert "silent" in harness.closed.result()


async def test_what_waits_to_be_looked_at_is_bounded(streams, viewers):
    harness = streams()
    await harness.connect(viewers())
    [peer] = harness.stream._viewers
    [transport] = peer._connection._RTCPeerConnection__iceTransports
    ice = transport._connection
    for _ in range(2 * MAX_WAITING_DATAGRAMS):
        ice.data_received(RTCP, 1)
    assert ice._queue.qsize() <= MAX_WAITING_DATAGRAMS
