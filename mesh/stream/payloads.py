"""Encoded pictures cut into what packets carry (RFC 6184, RFC 7741): aiortc's code, its pace ours.

No thread but the encoder's comes here: a picture is cut once, for however many viewers.
"""

from __future__ import annotations

from collections.abc import Callable

import av
from aiortc.codecs import h264, vpx
from av.video.stream import VideoStream

PAYLOAD_BYTES = 1200  # of a picture in a packet (libwebrtc's): parity and tunnels need the rest

h264.PACKET_MAX = vpx.PACKET_MAX = PAYLOAD_BYTES

Payloader = Callable[["av.Packet[VideoStream]"], list[bytes]]


def payloader(codec: str) -> Payloader:
    """Cuts one stream's pictures, in their order. codec: "h264", "vp8"."""
    pack = (h264.H264Encoder() if codec == "h264" else vpx.Vp8Encoder()).pack
    return lambda packet: pack(packet)[0]
