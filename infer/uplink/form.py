"""The header of a packed sweep, and what may stand in it.

Little-endian, HEADER_BYTES long:

====== ======= ==================================================================================
offset type    what
====== ======= ==================================================================================
0      4 bytes "FMSZ"
4      uint16  version, 1
6      uint8   frame of reference, 0: the sensor's (x forward, y left, z up)
7      uint8   bit 0: intensities are differences; bit 1: points have times
8      uint32  points, n
12     uint32  points that are no measurement (not finite, or over 1 km away); they have no bytes
16     uint32  escapes, m
20     uint32  length of a step, micrometres
24     int32   turn from one point to the next about z, nanoradians
28     int32   the sensor's place along x, y and z, millimetres
40     uint32  bytes of each stream that follows, six of them
====== ======= ==================================================================================

Streams, each a zstd frame (RFC 8878) that states its content's size, or nothing for no content:
along, across, up (n bytes each: how points lie to those before them, see infer.kernels.uplink),
times (n bytes: differences of neighbours), intensities (n bytes, or their differences modulo 256),
escapes (3 m bytes: all low ones, all middle ones, all high ones; those along first, then across, up
and of times).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from infer.sweep import MAX_POINTS, SENSOR_FRAME
from mesh.core.errors import ContentRefused

STREAMS = 6
ALONG, ACROSS, UP, TIMES, SHADES, ESCAPES = range(STREAMS)
HEADER_BYTES = 40 + 4 * STREAMS
REACH_M = 1000  # along each axis; what lies farther is no measurement
MAX_TIME_US = 1_000_000  # either way from the sweep's stamp
LEAST_STEP_UM, MOST_STEP_UM = 1_000, 120_000
MOST_TURN_NRAD = 100_000_000
FARTHEST_ORIGIN_MM = 100_000

_MAGIC = b"FMSZ"
_VERSION = 1
_HEADER = struct.Struct(f"<4sHBB4I4i{STREAMS}I")
_DIFFERENCES, _TIMED = 1, 2  # flags


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the streams; sizes: of each as it travels. origin_mm: x, y, z."""

    points: int
    masked: int
    escapes: int
    step_um: int
    turn_nrad: int
    origin_mm: tuple[int, int, int]
    differences: bool
    timed: bool
    sizes: tuple[int, ...]

    @property
    def contents(self) -> tuple[int, ...]:
        """Bytes in each stream once it is unpacked."""
        n = self.points
        return (n, n, n, n * self.timed, n, 3 * self.escapes)

    def encode(self) -> bytes:
        """As it travels."""
        flags = _DIFFERENCES * self.differences | _TIMED * self.timed
        numbers = (self.points, self.masked, self.escapes, self.step_um, self.turn_nrad)
        head = (_MAGIC, _VERSION, SENSOR_FRAME, flags, *numbers, *self.origin_mm, *self.sizes)
        return _HEADER.pack(*head)


def decode_header(view: memoryview) -> Header:
    """Read it, and hold every number in it against what it can be. Raises ContentRefused."""
    if len(view) < HEADER_BYTES:
        raise refused(f"{len(view)} bytes do not hold its header")
    magic, version, frame, flags, *numbers = _HEADER.unpack_from(view)
    if (magic, version, frame) != (_MAGIC, _VERSION, SENSOR_FRAME) or flags > _DIFFERENCES | _TIMED:
        raise refused("it does not begin as a packed sweep of version 1 does")
    points, masked, escapes, step_um, turn_nrad, x, y, z, *sizes = numbers
    header = Header(
        points, masked, escapes, step_um, turn_nrad, (x, y, z),
        bool(flags & _DIFFERENCES), bool(flags & _TIMED), tuple(sizes),
    )  # fmt: skip
    if points + masked > MAX_POINTS:
        raise refused(f"it has {points + masked} points, and at most {MAX_POINTS} are taken")
    if escapes > (3 + header.timed) * points:
        raise refused(f"{points} points cannot have {escapes} escapes")
    if not LEAST_STEP_UM <= step_um <= MOST_STEP_UM:
        raise refused(f"steps of {step_um} micrometres are not taken")
    if abs(turn_nrad) > MOST_TURN_NRAD or max(map(abs, (x, y, z))) > FARTHEST_ORIGIN_MM:
        raise refused("its turn or its sensor's place are beyond all sense")
    if len(view) != HEADER_BYTES + sum(sizes):
        raise refused(f"it has {len(view)} bytes, and its streams {sum(sizes)}")
    return header


def refused(why: str) -> ContentRefused:
    """The error for a packed sweep from outside."""
    return ContentRefused(
        what="the packed sweep is refused", why=why, fix="Send what pack_sweep makes, whole."
    )
