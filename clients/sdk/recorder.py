"""Writes a session's H.264 pictures to a file as they came: nothing is encoded again."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from pathlib import Path

import av

from mesh.core.errors import ConfigError, MeshError

CODEC = "h264"
CLOCK_HZ = 90_000  # RTP's for video
SUFFIXES = (".mp4", ".mkv", ".mov")

_NAL = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)  # ITU-T H.264, Annex B
_NAL_IDR, _NAL_SPS = 5, 7
_RTP_MODULUS = 2**32


class NotRecorded(MeshError):
    """The file cannot be written."""

    code = "not_recorded"


class Recorder:
    """One file. From the first keyframe on every picture is added, then `close`.

    Raises ConfigError if `path` has a suffix that says nothing, NotRecorded if it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in SUFFIXES:
            raise ConfigError(
                what=f"nothing can be recorded to {path}",
                why=f"its name ends in none of {', '.join(SUFFIXES)}",
                fix="Give it one of these endings.",
            )
        self.pictures = 0
        self._path = path
        self._problem: OSError | None = None
        try:
            path.open("wb").close()  # FFmpeg would try no sooner than at the first picture
            self._output = av.open(str(path), "w")
        except OSError as problem:
            raise self._failed(problem) from problem
        self._stream: av.VideoStream | None = None
        self._ticks = 0
        self._last_rtp = 0

    def add(self, data: bytes, rtp: int) -> None:
        """One picture in Annex B form, whole, and its RTP timestamp. Never raises: see `close`."""
        whole = is_keyframe(data)
        if self._problem is not None or (self._stream is None and not whole):
            return
        try:
            self._add(data, rtp, whole)
        except OSError as problem:
            self._problem = problem

    def _add(self, data: bytes, rtp: int, whole: bool) -> None:
        if self._stream is None:
            self._stream = self._begin(data)
        else:
            self._ticks += (rtp - self._last_rtp) % _RTP_MODULUS
        self._last_rtp = rtp
        packet = av.Packet(data)
        packet.stream = self._stream
        packet.time_base = Fraction(1, CLOCK_HZ)
        packet.pts = packet.dts = self._ticks
        packet.is_keyframe = whole
        self._output.mux(packet)
        self.pictures += 1

    def close(self) -> None:
        """Finish the file; none is left if no picture came.

        Raises NotRecorded with the first thing that went wrong.
        """
        try:
            self._output.close()
        except OSError as problem:
            self._problem = self._problem or problem
        if not self.pictures:
            self._path.unlink(missing_ok=True)
        if self._problem is not None:
            raise self._failed(self._problem) from self._problem

    def _begin(self, data: bytes) -> av.VideoStream:
        """A stream of the size and parameters that a keyframe says."""
        with av.open(io.BytesIO(data), format=CODEC) as keyframe:
            return self._output.add_stream_from_template(keyframe.streams.video[0])

    def _failed(self, problem: OSError) -> NotRecorded:
        return NotRecorded(
            what=f"{self._path} is not recorded, or not all of it",
            why=problem.strerror or str(problem),
            fix="Choose a folder that can be written to and has room.",
        )


def is_keyframe(data: bytes) -> bool:
    """Whether decoding can begin with this H.264 picture (Annex B form)."""
    kinds = {unit[0] & 0x1F for unit in _NAL.findall(data)}
    return kinds >= {_NAL_IDR, _NAL_SPS}
