"""The receiver extends aiortc: each extension takes effect, and what it reaches into is there.

The canary: when a release of aiortc or aioice moves something, a test here fails naming it.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools

import aiortc
import numpy as np
import pytest
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from clients.sdk.receiver import PromptBuffer, open_receiver
from clients.sdk.recorder import is_keyframe
from mesh.core.loop import monotonic_us
from mesh.core.workload import PictureFormat
from mesh.stream import barcode
from mesh.stream.parts import Joiner
from mesh.stream.session import Stream, StreamOptions

FORMAT = PictureFormat(448, 256)


# --- the canary ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("__init__", "self, capacity, prefetch, is_video"),
        ("add", "self, packet"),
        ("_remove_frame", "self, sequence_number"),
        ("remove", "self, count"),
    ],
)
def test_a_method_of_the_jitter_buffer_is_as_it_was(name, parameters):
    method = getattr(JitterBuffer, name, None)
    assert method is not None, f"JitterBuffer.{name} is gone"
    assert ", ".join(inspect.signature(method).parameters) == parameters


async def test_an_attribute_we_use_is_where_it_was():
    connection = aiortc.RTCPeerConnection()
    receiver = connection.addTransceiver("video", direction="recvonly").receiver
    buffer = receiver._RTCRtpReceiver__jitter_buffer
    for owner, name in [
        (connection, "_RTCPeerConnection__iceTransports"),
        (receiver.transport.transport, "_connection"),
        (receiver, "_RTCRtpReceiver__codecs"),
        (receiver, "_RTCRtpReceiver__decoder_queue"),
        (receiver, "_RTCRtpReceiver__decoder_thread"),
        (receiver, "_RTCRtpReceiver__remote_streams"),
        (receiver, "_RTCRtpReceiver__timestamp_mapper"),
        (receiver, "_send_rtcp_pli"),
        (buffer, "_origin"),
        (buffer, "_packets"),
    ]:
        assert hasattr(owner, name), f"{owner} has no {name}"
    assert type(buffer) is JitterBuffer
    assert buffer.capacity == 512
    assert callable(receiver._RTCRtpReceiver__timestamp_mapper.map)
    await connection.close()


# --- the buffer ---------------------------------------------------------------------------------


def packets_of(sizes: list[int], first: int, markers: bool = True) -> list[RtpPacket]:
    """Pictures of so many packets each; a packet's data is (picture, packet)."""
    packets = []
    for picture, size in enumerate(sizes):
        for i in range(size):
            packet = RtpPacket(
                sequence_number=(first + len(packets)) % 65536,
                timestamp=picture * 3000,
                marker=int(markers and i == size - 1),
            )
            packet._data = bytes((picture, i))
            packets.append(packet)
    return packets


class Taken:
    """A PromptBuffer and what came out of it, in order."""

    def __init__(self) -> None:
        self.pictures: list[JitterFrame] = []
        self.complete: list[JitterFrame] = []
        self.buffer = PromptBuffer(
            lambda _, picture: self.pictures.append(picture), self.complete.append
        )

    def add(self, packet: RtpPacket) -> None:
        wants_keyframe, picture = self.buffer.add(packet)
        assert not wants_keyframe
        if picture is not None:
            self.pictures.append(picture)

    @property
    def data(self) -> list[bytes]:
        return [picture.data for picture in self.pictures]


def expected(sizes: list[int]) -> list[bytes]:
    return [b"".join(bytes((n, i)) for i in range(size)) for n, size in enumerate(sizes)]


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    first=st.integers(0, 65535),
    data=st.data(),
)
def test_each_picture_comes_out_with_the_packet_that_completes_it(sizes, first, data):
    packets = packets_of(sizes, first)
    order = [packets[0], *data.draw(st.permutations(packets[1:]))]
    taken, here = Taken(), set()
    for packet in order:
        taken.add(packet)
        here.add(packet._data)
        whole = 0
        while whole < len(sizes) and all((bytes((whole, i))) in here for i in range(sizes[whole])):
            whole += 1
        assert taken.data == expected(sizes)[:whole]
    assert taken.complete == taken.pictures
    assert [picture.timestamp for picture in taken.pictures] == [
        n * 3000 for n in range(len(sizes))
    ]


def test_a_sender_that_sets_no_marker_is_understood_one_picture_late():
    taken = Taken()
    for packet in packets_of([2, 3, 1], 0, markers=False):
        taken.add(packet)
    assert taken.data == expected([2, 3, 1])[:2]


# --- the connection -----------------------------------------------------------------------------


class Events:
    def __init__(self) -> None:
        self.pictures: asyncio.Queue = asyncio.Queue()
        self.encoded: asyncio.Queue = asyncio.Queue()
        self.messages: asyncio.Queue = asyncio.Queue()
        self.ended: asyncio.Future = asyncio.get_running_loop().create_future()

    def picture_came(self, picture, rtp, received_us):
        self.pictures.put_nowait((picture, rtp, received_us))

    def encoded_came(self, data, rtp):
        self.encoded.put_nowait(data)

    def message_came(self, message):
        self.messages.put_nowait(message)

    def receiver_ended(self, why):
        if not self.ended.done():
            self.ended.set_result(why)


@pytest.fixture
async def stream():
    inputs: asyncio.Queue = asyncio.Queue()
    stream = Stream(
        FORMAT,
        30.0,
        on_input=inputs.put_nowait,
        on_closed=lambda reason: None,
        options=StreamOptions(barcode=True),
    )
    stream.inputs = inputs
    yield stream
    await stream.close()


async def show(stream: Stream, frame_id: int) -> None:
    """Send one noisy picture, which takes many packets."""
    canvas = stream.lease_canvas()
    pixels = np.frombuffer(canvas.view, np.uint8)
    pixels[:] = np.random.default_rng(frame_id).integers(112, 144, len(pixels), dtype=np.uint8)
    await stream.send(canvas, frame_id, monotonic_us())


async def test_a_picture_is_here_without_any_packet_of_the_next(stream):
    events = Events()
    async with open_receiver(events, pictures=True, loopback=True) as receiver:
        offer = await receiver.offer()
        assert " 127.0.0.1 " in offer
        await receiver.accept(await stream.answer(offer))
        last_rtp = -1
        for frame_id in range(5):
            sent_us = monotonic_us()
            await show(stream, frame_id)  # and nothing after it
            picture, rtp, received_us = await events.pictures.get()
            luma = picture.to_ndarray(format="gray")
            assert barcode.read(luma) == frame_id
            assert sent_us < received_us <= monotonic_us()
            assert rtp > last_rtp
            last_rtp = rtp
        receiver.steer(b'{"id": 1, "x": 2}')
        assert (await stream.inputs.get())["x"] == 2
        await stream.close("enough")
        assert await events.messages.get() == '{"closed":"enough"}'
        await events.ended


async def test_a_whole_picture_comes_when_asked_for(stream):
    events = Events()
    async with open_receiver(events, pictures=True, loopback=True) as receiver:
        await receiver.accept(await stream.answer(await receiver.offer()))
        frame_id = itertools.count()
        await show(stream, next(frame_id))
        assert is_keyframe(await events.encoded.get())
        await show(stream, next(frame_id))
        assert not is_keyframe(await events.encoded.get())
        await receiver.want_keyframe()
        while True:
            await show(stream, next(frame_id))
            if is_keyframe(await events.encoded.get()):
                break


async def test_without_pictures_messages_come_all_the_same():
    stream = Stream(None, 30.0, on_input=lambda _: None, on_closed=lambda _: None)
    events = Events()
    async with open_receiver(events, pictures=False, loopback=True) as receiver:
        await receiver.accept(await stream.answer(await receiver.offer()))
        stream.publish_result(5, b"result")
        assert Joiner().add(await events.messages.get()) == (5, b"result")
    await stream.close()
