"""Fails, naming the place, when a release of aiortc or aioice moves what mesh.stream.rtc extends.

The first half looks for the names; the second shows that each extension still takes effect.
"""

import asyncio
import inspect
import re

import aioice.ice
import aiortc
import numpy as np
import pytest
from aiortc import rtcdtlstransport, rtcicetransport, rtcrtpsender, rtcsctptransport, rtp
from aiortc.codecs import h264, vpx

from mesh.stream.offer import TRANSPORT_CC
from mesh.stream.packets import HISTORY
from mesh.stream.payloads import PAYLOAD_BYTES
from mesh.stream.sending import BURST_PACKETS
from mesh.stream.session import StreamOptions

METHODS = [
    (rtcrtpsender.RTCRtpSender, "_handle_rtcp_packet", "self, packet"),
    (rtcdtlstransport.RTCDtlsTransport, "_send_rtp", "self, data"),
    (rtcdtlstransport.RTCDtlsTransport, "_handle_rtcp_data", "self, data"),
    (rtcrtpsender.RTCRtpSender, "_retransmit", "self, sequence_number"),
    (rtcsctptransport.RTCSctpTransport, "_handle_data", "self, data"),
    (aioice.ice.Connection, "get_component_candidates", "self, component, addresses, timeout"),
    (aioice.ice.Connection, "check_incoming", "self, message, addr, protocol"),
    (aioice.ice.Connection, "data_received", "self, data, component"),
    (aioice.ice.StunProtocol, "datagram_received", "self, data, addr"),
]


@pytest.mark.parametrize(("owner", "name", "parameters"), METHODS)
def test_a_method_we_wrap_is_where_it_was(owner, name, parameters):
    method = getattr(owner, name, None)
    assert method is not None, f"{owner.__name__}.{name} is gone"
    assert ", ".join(inspect.signature(method).parameters) == parameters


async def test_an_attribute_we_set_is_where_it_was():
    connection = aiortc.RTCPeerConnection()
    transceiver = connection.addTransceiver("video")
    connection.createDataChannel("x")
    ice = transceiver.sender.transport.transport
    for owner, name in [
        (connection, "_RTCPeerConnection__iceTransports"),
        (transceiver, "_codecs"),
        (transceiver, "_headerExtensions"),
        (transceiver.sender, "_RTCRtpSender__ntp_timestamp"),
        (transceiver.sender, "_RTCRtpSender__rtp_timestamp"),
        (transceiver.sender, "_RTCRtpSender__packet_count"),
        (transceiver.sender, "_RTCRtpSender__octet_count"),
        (transceiver.sender, "_ssrc"),
        (transceiver.sender, "_rtx_ssrc"),
        (connection.sctp, "_last_received_tsn"),
        (connection.sctp, "_advertised_rwnd"),
        (ice, "_connection"),
        (ice._connection, "local_username"),
        (ice._connection, "_protocols"),
        (ice._connection, "_queue"),
        (ice._connection, "_nominated"),
        (h264, "PACKET_MAX"),
        (vpx, "PACKET_MAX"),
    ]:
        assert hasattr(owner, name), f"{owner} has no {name}"
    assert isinstance(ice, rtcicetransport.RTCIceTransport)
    await connection.close()


class Tap:
    """Every RTP packet that reaches a viewer, decrypted, with its header extensions."""

    def __init__(self, viewer) -> None:
        self.packets: asyncio.Queue = asyncio.Queue()
        [receiver] = viewer.connection.getReceivers()
        transport = receiver.transport
        handle = transport._handle_rtp_data

        async def tapped(data: bytes, arrival_time_ms: int) -> None:
            self.packets.put_nowait((rtp.RtpPacket.parse(data), self.extensions(data)))
            await handle(data, arrival_time_ms=arrival_time_ms)

        transport._handle_rtp_data = tapped
        self.transport = transport

    @staticmethod
    def extensions(data: bytes) -> dict[int, bytes]:
        if not data[0] & 0x10:
            return {}
        profile = int.from_bytes(data[12:14], "big")
        length = int.from_bytes(data[14:16], "big") * 4
        return dict(rtp.unpack_header_extensions(profile, data[16 : 16 + length]))


def draw_noise(view, n) -> None:
    """A picture of many packets."""
    pixels = np.frombuffer(view, np.uint8)
    pixels[:] = np.random.default_rng(n % 8).integers(112, 144, len(pixels), dtype=np.uint8)


@pytest.fixture
async def tapped(streams, viewers):
    """A noisy stream with a connected viewer, and the tap on it."""
    harness = streams(draw=draw_noise, options=StreamOptions(bitrate=6_000_000))
    viewer = await harness.connect(viewers())
    tap = Tap(viewer)
    async with harness.running():
        yield harness, viewer, tap


async def test_the_playout_delay_rides_on_every_packet(tapped):
    _, _, tap = tapped
    for _ in range(50):
        _, extensions = await tap.packets.get()
        assert extensions[6] == b"\0\0\0"  # the id that the viewer's offer gave it


async def test_a_packet_is_as_small_as_libwebrtcs(tapped):
    _, _, tap = tapped
    sizes = [len((await tap.packets.get())[0].payload) for _ in range(50)]
    assert PAYLOAD_BYTES - 100 < max(sizes) <= PAYLOAD_BYTES


async def test_a_packet_from_far_back_is_retransmitted(tapped, monkeypatch):
    monkeypatch.setattr("mesh.stream.repair.LATE_US", 10**9)
    _, _, tap = tapped
    first, _ = await tap.packets.get()
    wanted = first.sequence_number
    assert HISTORY > 300 > 128  # 128: what aiortc keeps by itself
    while (packet := (await tap.packets.get())[0]).sequence_number != (wanted + 300) % 65536:
        pass
    nack = rtp.RtcpRtpfbPacket(fmt=rtp.RTCP_RTPFB_NACK, ssrc=1, media_ssrc=first.ssrc)
    nack.lost = [wanted]
    await tap.transport._send_rtp(bytes(nack))
    while packet.ssrc == first.ssrc:
        packet, _ = await tap.packets.get()
    assert int.from_bytes(packet.payload[:2], "big") == wanted  # RFC 4588's original number


async def test_parity_has_a_stream_of_its_own_in_the_answer(streams, viewers):
    harness, viewer = streams(), viewers()
    offer = await viewer.offer()
    types = re.search(r"m=video \d+ \S+ (.*)", offer)
    offer = offer.replace(types.group(1).strip(), types.group(1).strip() + " 49", 1)
    section = offer.index("a=rtpmap:")
    offer = f"{offer[:section]}a=rtpmap:49 flexfec-03/90000\r\n{offer[section:]}"
    answer = await harness.stream.answer(offer)
    [media, parity] = re.search(r"a=ssrc-group:FEC-FR (\d+) (\d+)\r\n", answer).groups()
    assert f"a=ssrc:{media} cname:" in answer
    assert f"a=ssrc:{parity} cname:" in answer
    assert "a=rtpmap:49 flexfec-03/90000\r\n" in answer


@pytest.fixture
async def numbering(streams, viewers):
    """A noisy stream with a viewer that offers transport-wide feedback, and the tap on it."""
    harness = streams(draw=draw_noise, options=StreamOptions(bitrate=6_000_000))
    viewer = viewers()
    offer = (await viewer.offer()).replace(
        "a=extmap:3 ", f"a=extmap:7 {TRANSPORT_CC}\r\na=extmap:3 "
    )
    offer = re.sub(r"a=rtcp-fb:(\d+) nack\r\n", r"\g<0>a=rtcp-fb:\1 transport-cc\r\n", offer)
    answer = await harness.stream.answer(offer)
    assert re.search(r"a=rtcp-fb:\d+ transport-cc\r\n", answer)
    assert f"a=extmap:7 {TRANSPORT_CC}\r\n" in answer
    await viewer.accept(answer)
    tap = Tap(viewer)
    async with harness.running():
        yield harness, tap


async def test_all_packets_of_the_connection_are_numbered_in_their_order(numbering):
    _, tap = numbering
    first, _ = await tap.packets.get()
    nack = rtp.RtcpRtpfbPacket(fmt=rtp.RTCP_RTPFB_NACK, ssrc=1, media_ssrc=first.ssrc)
    nack.lost = [first.sequence_number]
    await tap.transport._send_rtp(bytes(nack))
    streams, numbers = {first.ssrc}, []
    while len(streams) < 2 or len(numbers) < 50:
        packet, extensions = await tap.packets.get()
        streams.add(packet.ssrc)
        numbers.append(int.from_bytes(extensions[7]))
    assert numbers == [(numbers[0] + n) % 65536 for n in range(len(numbers))]


async def test_transport_wide_feedback_reaches_the_bitrate_and_the_rest_reaches_aiortc(numbering):
    harness, tap = numbering
    _, extensions = await tap.packets.get()
    [peer] = harness.stream._viewers
    report = rtp.pack_rtcp_packet(  # one packet, arrived in the first tick; padded, which aiortc
        rtp.RTCP_RTPFB,  # would not take
        15,
        bytes(8) + extensions[7] + bytes.fromhex("0001 000001 00 2001 01") + b"\x01",
    )
    padded = bytes([report[0] | 0x20]) + report[1:]
    remb = rtp.pack_remb_fci(1_000_000, [peer._transceiver.sender._ssrc])
    other = rtp.RtcpPsfbPacket(fmt=rtp.RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=remb)
    await tap.transport._send_rtp(padded + bytes(other))
    path = harness.stream._rate._paths[peer]
    while path.allowed_bps is None or path.estimate_bps is None:
        await tap.packets.get()
    assert path.estimate_bps == 1_000_000


async def test_no_turn_of_the_loop_sends_more_than_a_burst(tapped):
    harness, _, tap = tapped
    await tap.packets.get()
    [peer] = harness.stream._viewers
    outlet, runs = peer._outlet, []
    send = outlet.send

    def counted(packets) -> None:
        runs.append((turns, len(packets)))
        send(packets)

    peer._pictures._send = counted
    turns = 0
    while sum(count for _, count in runs) < 500:
        await asyncio.sleep(0)
        turns += 1
    assert max(count for _, count in runs) <= BURST_PACKETS
    assert len({turn for turn, _ in runs}) == len(runs)


async def test_loopback_is_among_our_candidates(tapped):
    _, viewer, _ = tapped
    assert " 127.0.0.1 " in viewer.connection.remoteDescription.sdp


async def test_what_the_viewer_sends_is_noted_as_life(tapped):
    harness, _, tap = tapped
    await tap.packets.get()
    [peer] = harness.stream._viewers
    before = peer.heard_us
    while peer.heard_us == before:  # it reports every second or so
        await tap.packets.get()
    assert peer.heard_us > before
