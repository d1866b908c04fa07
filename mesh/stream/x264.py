"""libx264 itself: the one that PyAV brings, called past FFmpeg's wrapper.

FFmpeg lets x264 control the rate, and that takes a look-ahead at half the size, in one thread:
half of the time that a picture takes to encode. A constant quantiser needs none of it, and x264
takes another one with each picture; FFmpeg does not pass that on. mesh.stream.quantiser chooses it.

Only what stands at the beginning of x264's structures is touched, where it has been for years; the
rest goes by name. `available` compares defaults with what that layout should show.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

LEAST_QUANTISER, MOST_QUANTISER = 1, 51  # 0 is lossless, which baseline decoders cannot read
_I420, _BITS = 2, 8
_TYPE_AUTO, _TYPE_IDR = 0, 1
_PARAMETERS_BYTES, _PICTURE_BYTES = 8192, 2048  # ample: they are about 1,000 and 400 bytes long
# x264 confines a quantiser asked for to the range of what I, P and B pictures would have. These
# ratios make that range 0 to 51.
_ANY_QUANTISER: Final = {"qp": "20", "ipratio": "0.01", "pbratio": "0.01"}


class _Head(ctypes.Structure):
    """The beginning of x264_param_t."""

    _fields_ = [
        ("cpu", ctypes.c_uint32),
        ("threads", ctypes.c_int),
        ("lookahead_threads", ctypes.c_int),
        ("sliced_threads", ctypes.c_int),
        ("deterministic", ctypes.c_int),
        ("cpu_independent", ctypes.c_int),
        ("sync_lookahead", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("colour_space", ctypes.c_int),
        ("bit_depth", ctypes.c_int),
    ]


class _Parameters(ctypes.Union):
    _fields_ = [("head", _Head), ("room", ctypes.c_uint64 * (_PARAMETERS_BYTES // 8))]


class _PictureHead(ctypes.Structure):
    """The beginning of x264_picture_t, with its image."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("quantiser_plus_1", ctypes.c_int),
        ("structure", ctypes.c_int),
        ("keyframe", ctypes.c_int),
        ("pts", ctypes.c_int64),
        ("dts", ctypes.c_int64),
        ("parameters", ctypes.c_void_p),
        ("colour_space", ctypes.c_int),
        ("planes", ctypes.c_int),
        ("strides", ctypes.c_int * 4),
        ("plane", ctypes.c_void_p * 4),
    ]


class _Picture(ctypes.Union):
    _fields_ = [("head", _PictureHead), ("room", ctypes.c_uint64 * (_PICTURE_BYTES // 8))]


class _Nal(ctypes.Structure):
    """x264_nal_t."""

    _fields_ = [
        ("ref_idc", ctypes.c_int),
        ("type", ctypes.c_int),
        ("long_startcode", ctypes.c_int),
        ("first_mb", ctypes.c_int),
        ("last_mb", ctypes.c_int),
        ("payload_bytes", ctypes.c_int),
        ("payload", ctypes.c_void_p),
        ("padding", ctypes.c_int),
    ]


class Refused(RuntimeError):
    """x264 is not there, is not as expected, or does not open or encode."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One picture as an Annex B byte stream."""

    data: bytes
    keyframe: bool


class X264:
    """One open encoder, for one thread at a time.

    options: as on x264's command line, applied in order after `preset` and `tune`.
    Raises Refused.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        preset: str,
        tune: str,
        profile: str,
        options: Mapping[str, str],
    ) -> None:
        self._library = _library()
        parameters = _Parameters()
        _check(
            self._library.x264_param_default_preset(
                ctypes.byref(parameters), preset.encode(), tune.encode()
            ),
            f"the preset {preset} or the tune {tune}",
        )
        parameters.head.width, parameters.head.height = width, height
        for name, value in {"log": "-1", **options, **_ANY_QUANTISER}.items():
            said = self._library.x264_param_parse(
                ctypes.byref(parameters), name.encode(), value.encode()
            )
            _check(said, f"the option {name}={value}")
        _check(
            self._library.x264_param_apply_profile(ctypes.byref(parameters), profile.encode()),
            f"the profile {profile}",
        )
        self._encoder = ctypes.c_void_p(_opener(self._library)(ctypes.byref(parameters)))
        if not self._encoder:
            raise Refused(f"x264 does not open for {width}x{height}")
        self._size = width, height
        self._count = 0
        self._given, self._made = _Picture(), _Picture()
        head = self._given.head
        head.colour_space, head.planes = _I420, 3
        head.strides[:3] = (width, width // 2, width // 2)
        self._nals, self._nal_count = ctypes.POINTER(_Nal)(), ctypes.c_int()

    def encode(self, picture: NDArray[np.uint8], quantiser: int, keyframe: bool) -> Encoded:
        """One I420 picture, uint8 (height * 3 / 2, width), contiguous, not kept. Raises Refused."""
        self._show(picture)
        head = self._given.head
        head.type = _TYPE_IDR if keyframe else _TYPE_AUTO
        head.quantiser_plus_1 = quantiser + 1
        size = self._library.x264_encoder_encode(
            self._encoder,
            ctypes.byref(self._nals),
            ctypes.byref(self._nal_count),
            ctypes.byref(self._given),
            ctypes.byref(self._made),
        )
        _check(size, "a picture")
        # All units of a picture are in one place, one behind the other (x264.h).
        data = ctypes.string_at(self._nals[0].payload, size) if size else b""
        return Encoded(data, bool(data) and bool(self._made.head.keyframe))

    def close(self) -> None:
        """Free the encoder. Idempotent."""
        if self._encoder:
            self._library.x264_encoder_close(self._encoder)
            self._encoder = ctypes.c_void_p()

    def __del__(self) -> None:
        if getattr(self, "_encoder", None):
            self.close()

    def _show(self, picture: NDArray[np.uint8]) -> None:
        """Have the planes of x264's picture be those."""
        width, height = self._size
        if picture.shape != (height * 3 // 2, width) or not picture.flags.c_contiguous:
            raise Refused(f"a picture of shape {picture.shape} for an encoder of {width}x{height}")
        luma: int = picture.__array_interface__["data"][0]
        blue = luma + width * height
        head = self._given.head
        head.plane[:3] = (luma, blue, blue + width * height // 4)
        head.pts = self._count
        self._count += 1


def available() -> bool:
    """Whether x264 is there, and laid out as this file expects."""
    try:
        return _as_expected(_library())
    except Refused:
        return False


def _as_expected(library: ctypes.CDLL) -> bool:
    parameters = _Parameters()
    library.x264_param_default(ctypes.byref(parameters))
    head = parameters.head
    # x264_param_default_preset and x264_param_parse show where the rest is.
    library.x264_param_parse(ctypes.byref(parameters), b"threads", b"7")
    library.x264_param_parse(ctypes.byref(parameters), b"sliced-threads", b"1")
    shown = (head.width, head.height, head.colour_space, head.bit_depth)
    return shown == (0, 0, _I420, _BITS) and (head.threads, head.sliced_threads) == (7, 1)


@functools.cache
def _library() -> ctypes.CDLL:
    """PyAV's, or else the system's. Raises Refused."""
    brought = sorted((Path(av.__file__).parent.parent / "av.libs").glob("libx264-*.so*"))
    path = str(brought[0]) if brought else ctypes.util.find_library("x264")
    if path is None:
        raise Refused("libx264 is not there")
    try:
        library: Any = ctypes.CDLL(path)
        library.x264_param_default_preset.restype = ctypes.c_int
        library.x264_encoder_encode.restype = ctypes.c_int
        library.x264_encoder_close.restype = None
        library.build = int(re.findall(r"\.so\.(\d+)", path)[0])
        opener = getattr(library, f"x264_encoder_open_{library.build}")
    except (OSError, AttributeError, IndexError) as problem:
        raise Refused(f"libx264 is not as expected ({problem})") from problem
    opener.restype = ctypes.c_void_p
    return library  # type: ignore[no-any-return]


def _opener(library: Any) -> Any:
    return getattr(library, f"x264_encoder_open_{library.build}")


def _check(said: int, what: str) -> None:
    if said < 0:
        raise Refused(f"x264 refuses {what} ({said})")
