"""Pictures cut into packets: their order, their bounds, what goes again."""

import asyncio

import pytest
from aiortc import rtp

from mesh.stream.congestion import PathControl
from mesh.stream.fec import ParityPolicy, Protection
from mesh.stream.packets import PacketWriter
from mesh.stream.repair import RetransmitGate
from mesh.stream.sending import (
    BURST_PACKETS,
    MAX_WAITING_PACKETS,
    Extensions,
    PictureSender,
    Resending,
)

TIME, NUMBER = 3, 7


class Sent:
    """Keeps what leaves, call by call."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []

    def __call__(self, packets) -> None:
        self.calls.append(list(packets))

    @property
    def packets(self) -> list[rtp.RtpPacket]:
        return [rtp.RtpPacket.parse(packet) for call in self.calls for packet in call]

    def values(self, extension: int) -> list[int]:
        found = []
        for packet in [packet for call in self.calls for packet in call]:
            length = 4 * int.from_bytes(packet[14:16])
            read = dict(rtp.unpack_header_extensions(0xBEDE, packet[16 : 16 + length]))
            found.append(int.from_bytes(read[extension]))
        return found


def sender(sent: Sent, **how) -> PictureSender:
    writer = PacketWriter(96, 1, {TIME: bytes(3), NUMBER: bytes(2)}, 65_530)
    return PictureSender(writer, sent, RetransmitGate(), **how)


async def turns(count: int) -> None:
    """Of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_picture_leaves_in_the_call_that_brings_it():
    sent = Sent()
    assert sender(sent).picture([b"one", b"two", b"three"], 90)
    assert len(sent.calls) == 1
    assert [packet.payload for packet in sent.packets] == [b"one", b"two", b"three"]
    assert [packet.marker for packet in sent.packets] == [0, 0, 1]
    assert len({packet.timestamp for packet in sent.packets}) == 1


async def test_large_pictures_take_turns_with_the_loop_and_keep_their_order():
    sent = Sent()
    pictures = sender(sent)
    large = [b"%d" % n for n in range(2 * BURST_PACKETS + 1)]
    pictures.picture(large, 0)
    pictures.picture([b"next"], 1)
    assert len(sent.calls) == 1
    await turns(3)
    assert [packet.payload for packet in sent.packets] == [*large, b"next"]
    assert all(len(call) <= BURST_PACKETS for call in sent.calls)
    assert (pictures.packets, pictures.octets) == (len(large) + 1, len(b"".join(large)) + 4)


async def test_too_much_at_once_is_dropped_whole():
    sent = Sent()
    pictures = sender(sent)
    assert pictures.picture([b"x"] * MAX_WAITING_PACKETS, 0)
    assert not pictures.picture([b"y"] * MAX_WAITING_PACKETS, 1)
    await turns(MAX_WAITING_PACKETS // BURST_PACKETS)
    assert {packet.payload for packet in sent.packets} == {b"x"}
    assert pictures.picture([b"z"], 2)
    assert sent.packets[-1].payload == b"z"


@pytest.mark.parametrize("resending", [None, Resending(97, 2)])
async def test_a_packet_goes_again_with_a_number_of_its_own(resending):
    sent = Sent()
    path = PathControl(10_000_000)
    pictures = sender(sent, path=path, extensions=Extensions(number=NUMBER), resending=resending)
    pictures.picture([b"one", b"two"], 0)
    pictures.again(65_531)
    pictures.again(9)  # never sent
    *_, again = sent.packets
    assert sent.values(NUMBER) == [0, 1, 2]
    if resending is None:
        assert (again.ssrc, again.sequence_number, again.payload) == (1, 65_531, b"two")
    else:
        lost = rtp.unwrap_rtx(again, 96, 1)
        assert again.ssrc == 2
        assert (lost.sequence_number, lost.payload) == (65_531, b"two")


async def test_parity_follows_its_picture_and_is_numbered_too():
    sent = Sent()
    policy = ParityPolicy()
    policy.lost(0.1, 0)
    policy.round_trip(50_000)
    protection = Protection(policy, payload_type=49, ssrc=5, mutable={TIME, NUMBER})
    pictures = sender(
        sent,
        path=PathControl(10_000_000),
        extensions=Extensions(send_time=TIME, number=NUMBER),
        protection=protection,
    )
    pictures.picture([b"a" * 100] * 10, 0)
    streams = [packet.ssrc for packet in sent.packets]
    assert streams == [1] * 10 + [5] * protection.sent
    assert protection.sent > 0
    assert sent.values(NUMBER) == list(range(len(streams)))
    assert all(sent.values(TIME))
