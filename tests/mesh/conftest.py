"""A viewer made of stock aiortc."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

from mesh.stream import barcode
from mesh.stream.offer import PLAYOUT_DELAY


class Viewer:
    """A stock aiortc peer that asks to receive, as a browser would."""

    def __init__(self, codec: str | None = None, video: bool = True, data: bool = True) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.messages: asyncio.Queue[str | bytes] = asyncio.Queue()
        if video:
            transceiver = self.connection.addTransceiver("video", direction="recvonly")
            if codec is not None:
                offered = RTCRtpReceiver.getCapabilities("video").codecs
                wanted = [c for c in offered if c.name.lower() in (codec, "rtx")]
                transceiver.setCodecPreferences(wanted)
        if data:
            options = {"ordered": False, "maxRetransmits": 0, "negotiated": True}
            create = self.connection.createDataChannel
            self.frames = create("frames", id=1, **options)
            self.input = create("input", id=2, **options)
            self.frames.on("message", self.messages.put_nowait)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        # aiortc offers no playout-delay; a browser does.
        return self.connection.localDescription.sdp.replace(
            "a=extmap:3 ", f"a=extmap:6 {PLAYOUT_DELAY}\r\na=extmap:3 "
        )

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def next_picture_id(self) -> int | None:
        """The barcode of the next decoded picture."""
        [receiver] = self.connection.getReceivers()
        frame = await receiver.track.recv()
        return barcode.read(frame.to_ndarray(format="gray"))

    async def input_open(self) -> None:
        if self.input.readyState != "open":
            opened = asyncio.Event()
            self.input.on("open", opened.set)
            await opened.wait()

    async def close(self) -> None:
        await self.connection.close()


@pytest.fixture
async def viewers():
    """Make viewers that are closed at the end of the test."""
    made: list[Viewer] = []

    def make(**how) -> Viewer:
        made.append(Viewer(**how))
        return made[-1]

    yield make
    await asyncio.gather(*(viewer.close() for viewer in made))
