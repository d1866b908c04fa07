"""What mesh.stream.rtc hands to aiortc: a track of encoded pictures, and header extensions."""

from __future__ import annotations

import asyncio

import av
from aiortc import MediaStreamTrack, rtp
from aiortc.mediastreams import MediaStreamError
from av.video.stream import VideoStream

MAX_WAITING_PICTURES = 4


class EncodedTrack(MediaStreamTrack):
    """A track of pictures that are encoded already: aiortc only packetises them."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._pictures: asyncio.Queue[av.Packet[VideoStream] | None] = asyncio.Queue()

    def offer(self, packet: av.Packet[VideoStream]) -> bool:
        """Queue a picture; False if too many wait already (all of them are then dropped)."""
        if self._pictures.qsize() < MAX_WAITING_PICTURES:
            self._pictures.put_nowait(packet)
            return True
        while not self._pictures.empty():
            self._pictures.get_nowait()
        return False

    async def recv(self) -> av.Packet[VideoStream]:
        """The next picture. Raises MediaStreamError when the track has ended."""
        packet = await self._pictures.get() if self.readyState == "live" else None
        if packet is None:
            raise MediaStreamError
        return packet

    def stop(self) -> None:
        """End the track, and whoever waits for a picture."""
        super().stop()
        self._pictures.put_nowait(None)


class ConstantExtensions(rtp.HeaderExtensionsMap):
    """Adds extensions of constant value to whatever aiortc writes (RFC 8285, one-byte form)."""

    def __init__(self, constant: list[tuple[int, bytes]]) -> None:
        super().__init__()
        self._constant = constant

    def set(self, values: rtp.HeaderExtensions) -> tuple[int, bytes]:
        """aiortc's and ours, as profile and bytes."""
        profile, written = super().set(values)
        extensions = rtp.unpack_header_extensions(profile, written)
        return rtp.pack_header_extensions(extensions + self._constant)
