"""Video encoders that live as long as their session: x264, and libvpx through PyAV.

One encoder serves one session from one thread (the GIL is released inside `encode`). Pictures
are wrapped, not copied. A keyframe is made at the start and when asked for, never by a timer or
a change of scene: each costs many frames' worth of bits on a link with a deadline.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mesh.core.errors import DeviceUnavailable
from mesh.core.workload import PictureFormat
from mesh.stream.quantiser import Eye, Quantiser
from mesh.stream.x264 import X264, Refused, available

CLOCK_HZ = 90_000  # RTP's clock for video (RFC 6184, RFC 7741)
TIME_BASE = Fraction(1, CLOCK_HZ)
_NEVER = 1 << 30  # frames between keyframes; x264's own "infinite"
_BUFFER_S = 0.1  # how far the rate control may run ahead of the bitrate
_COLOURS = {  # as the canvas has them
    "fullrange": "off",
    "colorprim": "bt709",
    "transfer": "bt709",
    "colormatrix": "bt709",
}
_SLICE_PIXELS, _MOST_SLICES = 640 * 480, 4  # fewer pixels are not worth a thread's waking
_VP8_STEP = 0.25  # libvpx's wrapper has no live bitrate: reopening costs a keyframe


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One picture as the viewers get it; `packet` is None if the encoder dropped it."""

    packet: av.Packet[VideoStream] | None
    keyframe: bool

    @property
    def nbytes(self) -> int:
        """Size on the wire, before packet headers."""
        return self.packet.size if self.packet is not None else 0


class PictureEncoder(Protocol):
    """An open encoder. Used by one thread at a time."""

    @property
    def codec(self) -> str:
        """As sessions name it: "h264", "vp8"."""
        ...

    def set_bitrate(self, bps: int) -> None:
        """Aim at `bps` bits per second from the next picture on."""
        ...

    def encode(
        self, picture: NDArray[np.uint8], pts: int, force_keyframe: bool = False
    ) -> EncodedPicture:
        """Encode one I420 picture, uint8 (height * 3 / 2, width), not kept after the return.

        pts: in 1 / CLOCK_HZ seconds, strictly increasing.
        """
        ...


class H264Encoder:
    """libx264 itself (mesh.stream.x264), Constrained Baseline, one quantiser a picture.

    Raises DeviceUnavailable where libx264 is not as expected; `WrappedH264Encoder` serves then.
    """

    codec = "h264"

    def __init__(self, picture: PictureFormat, fps: float, bps: int) -> None:
        self._eye = Eye(picture.height)
        self._quantiser = Quantiser(picture.width * picture.height, fps, bps)
        self._whole = True  # the next one must be
        self._most_bps = bps
        try:
            self._x264 = X264(
                picture.width,
                picture.height,
                preset="ultrafast",
                tune="zerolatency",
                profile="baseline",
                options={
                    **_COLOURS,
                    "threads": str(_threads(picture)),
                    "fps": str(Fraction(fps).limit_denominator(1001)),
                    "keyint": "infinite",
                    "scenecut": "0",
                },
            )
        except Refused as problem:
            raise _unavailable("libx264", str(problem)) from problem

    def set_bitrate(self, bps: int) -> None:
        """At most the bitrate given at opening."""
        self._quantiser.set_bitrate(min(bps, self._most_bps))

    def encode(
        self, picture: NDArray[np.uint8], pts: int, force_keyframe: bool = False
    ) -> EncodedPicture:
        """See PictureEncoder."""
        whole = force_keyframe or self._whole
        quantiser = self._quantiser.choose(whole, self._eye.look(picture, closely=whole))
        encoded = self._x264.encode(picture, quantiser, whole)
        self._quantiser.encoded(len(encoded.data))
        self._whole = False
        packet = cast("av.Packet[VideoStream]", av.Packet(encoded.data))
        packet.pts, packet.time_base = pts, TIME_BASE
        return EncodedPicture(packet, encoded.keyframe)


class WrappedH264Encoder:
    """libx264 by FFmpeg, Constrained Baseline, sliced threads, x264's own rate control.

    Follows `set_bitrate` without a keyframe: FFmpeg reconfigures x264 in place when the
    context's bit_rate moves, provided rate control ran with a buffer from the start.
    """

    codec = "h264"

    def __init__(self, picture: PictureFormat, fps: float, bps: int) -> None:
        self._context = _context("libx264", picture, fps, bps)
        self._context.profile = "Baseline"
        self._context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "sc_threshold": "0",
            "maxrate": str(bps),
            "bufsize": str(int(bps * _BUFFER_S)),
        }
        self._most_bps = bps
        _open(self._context)

    def set_bitrate(self, bps: int) -> None:
        """At most the bitrate given at opening."""
        self._context.bit_rate = min(bps, self._most_bps)

    def encode(
        self, picture: NDArray[np.uint8], pts: int, force_keyframe: bool = False
    ) -> EncodedPicture:
        """See PictureEncoder."""
        return _encode(self._context, picture, pts, force_keyframe)


class Vp8Encoder:
    """libvpx, realtime, constant bitrate.

    FFmpeg's libvpx wrapper never re-reads the bitrate, so a move of more than a quarter reopens
    the encoder, with a keyframe; smaller ones are ignored.
    """

    codec = "vp8"

    def __init__(self, picture: PictureFormat, fps: float, bps: int) -> None:
        self._picture, self._fps, self._bps = picture, fps, bps
        self._context = self._opened()

    def set_bitrate(self, bps: int) -> None:
        """See the class: moves of up to a quarter have no effect."""
        if abs(bps - self._bps) > _VP8_STEP * self._bps:
            self._bps = bps
            self._context = self._opened()

    def encode(
        self, picture: NDArray[np.uint8], pts: int, force_keyframe: bool = False
    ) -> EncodedPicture:
        """See PictureEncoder."""
        return _encode(self._context, picture, pts, force_keyframe)

    def _opened(self) -> VideoCodecContext:
        context = _context("libvpx", self._picture, self._fps, self._bps)
        context.qmin, context.qmax = 2, 56
        context.options = {
            "deadline": "realtime",
            "cpu-used": "-8",
            "lag-in-frames": "0",
            "minrate": str(self._bps),  # with maxrate: constant bitrate
            "maxrate": str(self._bps),
            "bufsize": str(int(self._bps * _BUFFER_S)),
            "max-intra-rate": "300",  # percent of a mean frame, so that keyframes stay sendable
            "static-thresh": "1",
        }
        _open(context)
        return context


ENCODERS: dict[str, Callable[[PictureFormat, float, int], PictureEncoder]] = {
    "h264": H264Encoder if available() else WrappedH264Encoder,
    "vp8": Vp8Encoder,
}  # in order of preference


def open_encoder(codec: str, picture: PictureFormat, fps: float, bps: int) -> PictureEncoder:
    """The encoder of that name, and no other. `bps` is the most it will ever be asked for.

    Raises DeviceUnavailable if this machine's FFmpeg lacks it or will not open it.
    """
    return ENCODERS[codec](picture, fps, bps)


def _context(library: str, picture: PictureFormat, fps: float, bps: int) -> VideoCodecContext:
    try:
        context = av.CodecContext.create(library, "w")
    except av.codec.codec.UnknownCodecError as problem:
        raise _unavailable(library, "PyAV was built without it") from problem
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
    context.framerate = Fraction(fps).limit_denominator(1001)
    context.time_base = TIME_BASE
    context.bit_rate = bps
    context.gop_size = _NEVER
    context.max_b_frames = 0
    context.thread_count = _threads(picture)
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    return context


def _threads(picture: PictureFormat) -> int:
    """Slices that are encoded at once: up to x264's own one and a half for each core."""
    most = max(1, min(_MOST_SLICES, (os.cpu_count() or 1) * 3 // 2))
    return max(1, min(most, round(picture.width * picture.height / _SLICE_PIXELS)))


def _open(context: VideoCodecContext) -> None:
    try:
        context.open()
    except (av.FFmpegError, ValueError) as problem:
        size = f"{context.width}x{context.height}"
        raise _unavailable(context.codec.name, f"it refuses {size} ({problem})") from problem


def _unavailable(library: str, why: str) -> DeviceUnavailable:
    return DeviceUnavailable(
        what=f"the video encoder {library} does not open",
        why=why,
        fix="Install PyAV from its PyPI wheel, or ask for another codec.",
    )


def _encode(
    context: VideoCodecContext, picture: NDArray[np.uint8], pts: int, force_keyframe: bool
) -> EncodedPicture:
    # PyAV wraps heights that are a multiple of four; of others it would leave out two rows.
    wrap = av.VideoFrame.from_ndarray if context.height % 4 else av.VideoFrame.from_numpy_buffer
    frame = wrap(picture, format="yuv420p")
    frame.pts, frame.time_base = pts, TIME_BASE
    if force_keyframe:
        frame.pict_type = PictureType.I
    packets = context.encode(frame)
    if not packets:
        return EncodedPicture(None, False)
    packet = packets[0]
    if len(packets) > 1:
        packet = av.Packet(b"".join(bytes(part) for part in packets))
    packet.pts, packet.time_base = pts, TIME_BASE
    return EncodedPicture(packet, any(part.is_keyframe for part in packets))
