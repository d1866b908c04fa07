"""`python -m bench.streaming.aiortc_stock OPTIONS`: the moving picture by aiortc as it comes.

Its own H.264 encoder, its own sender, its own rate control, no extension of ours; a track that
hands it frames when they are due. OPTIONS as JSON: width, height, fps.
"""

from __future__ import annotations

import asyncio
import json
import sys
from fractions import Fraction
from typing import Any

import av
import numpy as np
import uvloop
from aiortc import (
    MediaStreamTrack,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from bench.childprocess import answer_calls
from bench.streaming.picture import MovingPicture
from bench.streaming.source import Beat, Made, now_us

CLOCK_HZ = 90_000


class PictureTrack(MediaStreamTrack):
    """Frames at even instants, as the sender asks for them."""

    kind = "video"

    def __init__(self, width: int, height: int, fps: float) -> None:
        super().__init__()
        self._picture, self._fps = MovingPicture(width, height), fps
        self._beat: Beat | None = None
        self.made = Made()

    async def recv(self) -> av.VideoFrame:
        if self._beat is None:
            self._beat = Beat(self._fps)
        due_us = self._beat.next_us()
        await asyncio.sleep(max(0, due_us - now_us()) / 1e6)
        number = self._beat.number
        pixels = np.empty((self._picture.height * 3 // 2, self._picture.width), np.uint8)
        self._picture.draw(pixels, number)
        frame = av.VideoFrame.from_numpy_buffer(pixels, format="yuv420p")
        frame.pts, frame.time_base = round(number * CLOCK_HZ / self._fps), Fraction(1, CLOCK_HZ)
        self.made.note(number)
        return frame


class Stock:
    """One connection."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._connection = RTCPeerConnection()
        self._track = PictureTrack(**options)

    async def handle(self, asked: dict[str, Any]) -> dict[str, Any]:
        match asked["call"]:
            case "answer":
                return {"sdp": await self._answer(asked["sdp"])}
            case "report":
                return {"made_us": list(self._track.made.at_us.items())}
        raise ValueError(asked["call"])

    async def _answer(self, offer: str) -> str:
        connection = self._connection
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        connection.addTrack(self._track)
        (transceiver,) = connection.getTransceivers()
        codecs = RTCRtpSender.getCapabilities("video").codecs
        wanted = ("video/H264", "video/rtx")  # as ours, so that the browser decodes the same
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType in wanted])
        await connection.setLocalDescription(await connection.createAnswer())
        return str(connection.localDescription.sdp)


async def serve(options: dict[str, Any]) -> None:
    await answer_calls(Stock(options).handle)


if __name__ == "__main__":
    uvloop.run(serve(json.loads(sys.argv[1])))
