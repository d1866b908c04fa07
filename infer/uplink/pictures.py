"""Camera pictures packed as a policy says, and unpacked within bounds.

Little-endian. Header: magic "FMPX", codec (uint8: 0 JPEG, 1 H.264), what its sides were divided by
(uint8), whether it stands alone (uint8), 0, then width and height before (uint16 each), 12 bytes;
then a JPEG file, or an H.264 access unit in Annex B form. H.264 pictures are unpacked in the order
they were packed, all of them from the last that stands alone.

Pictures come back at the size they had, whatever was sent: calibrations stay right.
"""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image

from infer.uplink.picture_policy import SHRINKS, Coding
from mesh.core.errors import ContentRefused
from mesh.core.workload import Buffer

MAX_SIDE = 8192
MAX_PIXELS = 16 << 20
MAX_BYTES = 16 << 20
LEAST_SIDE = 16  # of what is sent: encoders take no less
ROOM = 0.85  # of what pictures may take they are made for: a little less does not begin anew
KEPT = 1.6  # times what an encoder is for, before a better one begins

_MAGIC = b"FMPX"
_HEADER = struct.Struct("<4sBBBBHH")
_JPEG, _H264 = 0, 1


class PicturePacker:
    """Packs one camera's pictures. Not for two threads at once."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._opened: _Encoder | None = None

    def pack(self, pixels: NDArray[np.uint8], coding: Coding) -> bytes:
        """RGB (height, width, 3) as `coding` says. Raises ContentRefused.

        Where H.264 begins, or what is to be sent changes much, its picture stands alone and is
        somewhat worse.
        """
        height, width = _checked(pixels)
        sent = _shrunk(pixels, coding.shrink)
        if coding.codec == "jpeg":
            self._opened = None  # what was sent as video before is no start for what comes after
            file = io.BytesIO()
            Image.fromarray(sent).save(file, "JPEG", quality=coding.quality)
            return _HEADER.pack(_MAGIC, _JPEG, coding.shrink, 1, 0, width, height) + file.getvalue()
        data, alone = self._encode(sent, coding.nbytes)
        return _HEADER.pack(_MAGIC, _H264, coding.shrink, alone, 0, width, height) + data

    def _encode(self, sent: NDArray[np.uint8], nbytes: int) -> tuple[bytes, bool]:
        even = _padded_even(sent)
        height, width, _ = even.shape
        opened = self._opened
        if opened is None or not opened.takes(width, height, nbytes):
            self._opened = opened = _Encoder(width, height, self._rate_hz, int(ROOM * nbytes))
        return opened.encode(even)


class _Encoder:
    """x264 for pictures of one size, none of which is larger than so many bytes, but for the least
    that it can do: its buffer is of one picture, and none is coded ahead.
    """

    def __init__(self, width: int, height: int, rate_hz: float, nbytes: int) -> None:
        self._size, self._nbytes, self._count = (width, height), nbytes, 0
        bps = max(1000, round(8 * nbytes * rate_hz))
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate = Fraction(rate_hz).limit_denominator(1000)
        context.time_base = 1 / context.framerate
        context.bit_rate = bps
        context.gop_size, context.max_b_frames, context.thread_count = 1 << 30, 0, 1
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "sc_threshold": "0",
            "maxrate": str(bps),
            "bufsize": str(max(1000, 8 * nbytes)),
        }
        self._context = context

    def takes(self, width: int, height: int, nbytes: int) -> bool:
        """Whether it may go on: no larger than allowed, and not much smaller."""
        return self._size == (width, height) and self._nbytes <= nbytes <= KEPT * self._nbytes

    def encode(self, pixels: NDArray[np.uint8]) -> tuple[bytes, bool]:
        """The access unit of RGB pixels, and whether it stands alone. Raises ContentRefused."""
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, self._count = self._count, self._count + 1
        packets = self._context.encode(frame)
        if not packets:
            raise _refused("the encoder made nothing of it")
        return b"".join(map(bytes, packets)), any(packet.is_keyframe for packet in packets)


class PictureUnpacker:
    """Unpacks one camera's pictures, from wherever they come. Not for two threads at once."""

    def __init__(self) -> None:
        self._decoder: VideoCodecContext | None = None

    def unpack(self, data: Buffer) -> NDArray[np.uint8]:
        """RGB (height, width, 3), as large as it was before it was packed.

        Raises ContentRefused; after that, H.264 goes on with a picture that stands alone.
        """
        view = memoryview(data).cast("B")
        codec, shrink, alone, size = _read_header(view)
        body = view[_HEADER.size :]
        small = tuple(max(LEAST_SIDE, side // shrink) for side in size)
        if codec == _JPEG:
            picture = _read_jpeg(body, small)
        else:
            if alone:
                self._decoder = _decoder()
            picture = Image.fromarray(self._decode(body, small))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))

    def _decode(self, body: memoryview, small: tuple[int, ...]) -> NDArray[np.uint8]:
        decoder, self._decoder = self._decoder, None  # back when all went well
        if decoder is None:
            raise _refused("it builds on pictures that did not come")
        try:
            frames = decoder.decode(av.Packet(bytes(body)))
        except (av.FFmpegError, ValueError) as problem:
            raise _refused(str(problem)) from problem
        even = tuple(side + side % 2 for side in small)
        if len(frames) != 1 or (frames[0].width, frames[0].height) != even:
            raise _refused(f"it holds {len(frames)} pictures, or not one of {even[0]} by {even[1]}")
        if frames[0].is_corrupt:
            raise _refused("parts of it are missing")
        self._decoder = decoder
        pixels = np.asarray(frames[0].to_ndarray(format="rgb24"), np.uint8)
        return np.ascontiguousarray(pixels[: small[1], : small[0]])


def _checked(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width. Raises ContentRefused."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise _refused(f"it is {pixels.dtype} {pixels.shape}, not uint8 (height, width, 3)")
    height, width, _ = pixels.shape
    if not _fits(width, height):
        raise _refused(f"{width} by {height} pixels are not taken")
    return height, width


def _fits(width: int, height: int) -> bool:
    sides = min(width, height) >= LEAST_SIDE and max(width, height) <= MAX_SIDE
    return sides and width * height <= MAX_PIXELS


def _shrunk(pixels: NDArray[np.uint8], shrink: int) -> NDArray[np.uint8]:
    if shrink == 1:
        return np.ascontiguousarray(pixels)
    height, width, _ = pixels.shape
    size = max(LEAST_SIDE, width // shrink), max(LEAST_SIDE, height // shrink)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _padded_even(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Its last row and column once more where need be: chroma is of two by two pixels."""
    height, width, _ = pixels.shape
    if height % 2 or width % 2:
        return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return pixels


def _read_header(view: memoryview) -> tuple[int, int, bool, tuple[int, int]]:
    """Codec, shrink, whether it stands alone, width and height. Raises ContentRefused."""
    if not _HEADER.size < len(view) <= MAX_BYTES:
        raise _refused(f"it has {len(view)} bytes")
    magic, codec, shrink, alone, zero, width, height = _HEADER.unpack_from(view)
    if magic != _MAGIC or codec not in (_JPEG, _H264) or shrink not in SHRINKS or zero:
        raise _refused("it does not begin as a packed picture does")
    if not _fits(width, height):
        raise _refused(f"{width} by {height} pixels are not taken")
    return codec, shrink, bool(alone), (width, height)


def _read_jpeg(body: memoryview, size: tuple[int, ...]) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(body), formats=("JPEG",))
        if picture.size != size:
            raise _refused(f"its file is {picture.size[0]} by {picture.size[1]}, not as it says")
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise _refused(str(problem)) from problem


def _decoder() -> VideoCodecContext:
    """In one thread, so that each picture is out when it is in; it allocates no larger ones."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(MAX_PIXELS), "flags": "+low_delay"}
    return decoder


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="a packed picture is refused", why=why, fix="Pack it with infer.uplink.pictures."
    )
