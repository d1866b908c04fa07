"""The result of a sweep as clients get it: fixed little-endian arrays, read with a DataView.

Offset 0, the header (all numbers unsigned unless said):

====== ======= ==================================================================================
offset type    what
====== ======= ==================================================================================
0      4 bytes "FMBX"
4      uint16  version: 1, or 2 if points to look at follow the boxes
6      uint16  sectors the sweep was cut into
8      int64   when the sweep was taken, microseconds, sensor's clock
16     uint32  boxes, n
20     uint32  bit s set: sector s never came, and nothing in it is known
24     uint32  points in the sweep
28     uint32  points masked (not finite, or over 1 km away)
32     uint32  points outside of the grid
36     uint32  points of ground
40     uint32  points of obstacles
44     uint32  ground cells (1 m) whose ground was seen
48     uint32  obstacle cells
52     uint32  microseconds to cut the sweep
56     uint32  microseconds of the slowest sector for ground and columns,
60     uint32  for clusters,
64     uint32  for boxes
68     uint32  microseconds to merge
====== ======= ==================================================================================

Offset 72, one array after the other: centres float32 (n, 3), metres, sensor frame; sizes float32
(n, 3), length >= width, height; yaws float32 (n), radians, of the length from x, -pi/2..pi/2;
scores float32 (n), 0..1; points uint32 (n); classes uint8 (n), see `CLASSES`; flags uint8 (n), bit
0: touches a sector that never came, so more of it may be there.

In version 2 there follow, at offset 72 + 38 n: uint32 m; positions int16 (m, 3), centimetres,
sensor frame; intensities uint8 (m), 255 for 1. They are a few of the sweep's points, for people to
look at (infer.thinning); the boxes are made from all of them.

A box stands on the lowest ground under its cluster. Its heading is not known, only its axis. A
score grows with the number of points (p / (p + 32)); it is no probability.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from infer.grid import UNITS_PER_M
from infer.kernels.turns import COSINES, SINES
from infer.layout import (
    ANGLE,
    FLOOR,
    HIGH_Z,
    OPEN,
    POINTS,
    SOUTH,
    TURN_SHIFT,
    U_HI,
    U_LO,
    V_HI,
    V_LO,
    WEST,
)
from mesh.core.errors import ContentRefused
from mesh.core.workload import Buffer

CLASSES = ("other", "car", "truck", "pedestrian", "cyclist")
MAX_BOXES = 100_000
MAX_CLOUD = 8192
CUT = 1  # flag

_MAGIC = b"FMBX"
_BOXES_ALONE, _WITH_CLOUD = 1, 2  # versions
_HEADER = struct.Struct("<4sHHqII12I")
_BOX_BYTES = 4 * (3 + 3 + 1 + 1 + 1) + 2
_CLOUD_HEADER = struct.Struct("<I")
_CLOUD_BYTES = 3 * 2 + 1

# Least and greatest length, width, height in metres. What is seen of a thing is often less than
# the thing, so the ranges reach below its true size. The first that fits is taken.
_SIZES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "pedestrian": ((0.2, 1.2), (0.1, 0.95), (1.1, 2.1)),
    "cyclist": ((1.2, 2.3), (0.2, 1.0), (1.2, 2.1)),
    "car": ((2.0, 5.6), (0.8, 2.4), (1.0, 2.3)),
    "truck": ((3.0, 16.0), (1.2, 3.3), (2.0, 5.0)),
}


@dataclass(frozen=True, slots=True)
class Boxes:
    """n boxes: centres (n, 3), sizes (n, 3), yaws (n,), scores (n,), points, classes, flags (n,).

    Units and frames of reference as in this file's description.
    """

    centres: NDArray[np.float32]
    sizes: NDArray[np.float32]
    yaws: NDArray[np.float32]
    scores: NDArray[np.float32]
    points: NDArray[np.uint32]
    classes: NDArray[np.uint8]
    flags: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cloud:
    """m points to look at: positions int16 (m, 3), centimetres; intensities uint8 (m,)."""

    positions: NDArray[np.int16]
    intensities: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many points and cells of each kind, in the order of the message."""

    points: int = 0
    masked: int = 0
    outside: int = 0
    ground_points: int = 0
    obstacle_points: int = 0
    ground_cells: int = 0
    obstacle_cells: int = 0


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Microseconds: the gateway's cut and merge, the slowest sector's stages between them."""

    cut: int = 0
    columns: int = 0
    clusters: int = 0
    boxes: int = 0
    merge: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of one sweep.

    missing: bit s set if sector s never came. cloud: None where no points were asked for.
    """

    stamp_us: int
    sectors: int
    missing: int
    counts: Counts
    times: StageTimes
    boxes: Boxes
    cloud: Cloud | None = None


def boxes_of(clusters: NDArray[np.int64]) -> Boxes:
    """Fitted clusters (see `infer.layout`) as boxes, in the same order."""
    angle = clusters[:, ANGLE]
    cosine, sine = COSINES[angle].astype(np.float64), SINES[angle].astype(np.float64)
    one = float(1 << TURN_SHIFT)
    u = (clusters[:, U_LO] + clusters[:, U_HI]) / (2 * one)
    v = (clusters[:, V_LO] + clusters[:, V_HI]) / (2 * one)
    centres = np.stack(
        (
            clusters[:, WEST] + (u * cosine - v * sine) / one,
            clusters[:, SOUTH] + (u * sine + v * cosine) / one,
            (clusters[:, FLOOR] + clusters[:, HIGH_Z]) / 2,
        ),
        axis=1,
    )
    along = (clusters[:, U_HI] - clusters[:, U_LO]) / one
    across = (clusters[:, V_HI] - clusters[:, V_LO]) / one
    turned = across > along
    sizes = np.stack(
        (
            np.maximum(along, across),
            np.minimum(along, across),
            (clusters[:, HIGH_Z] - clusters[:, FLOOR]).astype(np.float64),
        ),
        axis=1,
    )
    metres = (sizes / UNITS_PER_M).astype(np.float32)
    points = clusters[:, POINTS]
    return Boxes(
        centres=(centres / UNITS_PER_M).astype(np.float32),
        sizes=metres,
        yaws=np.radians(angle - 90 * turned).astype(np.float32),
        scores=(points / (points + 32)).astype(np.float32),
        points=points.astype(np.uint32),
        classes=classify(metres),
        flags=np.where(clusters[:, OPEN] != 0, CUT, 0).astype(np.uint8),
    )


def classify(sizes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The class (index into CLASSES) of each size (n, 3), by simple rules; 0 if none fits."""
    classes = np.zeros(len(sizes), np.uint8)
    for name, ranges in reversed(_SIZES.items()):
        low, high = np.array(ranges, np.float32).T
        fits = ((sizes >= low) & (sizes <= high)).all(axis=1)
        classes[fits] = CLASSES.index(name)
    return classes


def encode_result(result: Result) -> bytes:
    """The message."""
    boxes = result.boxes
    head = _HEADER.pack(
        _MAGIC,
        _BOXES_ALONE if result.cloud is None else _WITH_CLOUD,
        result.sectors,
        result.stamp_us,
        len(boxes.yaws),
        result.missing,
        *astuple(result.counts),
        *(min(us, 0xFFFF_FFFF) for us in astuple(result.times)),
    )
    arrays = (getattr(boxes, name) for name in Boxes.__dataclass_fields__)
    return b"".join((head, *(array.tobytes() for array in arrays), *_encode_cloud(result.cloud)))


def _encode_cloud(cloud: Cloud | None) -> tuple[bytes, ...]:
    if cloud is None:
        return ()
    points = len(cloud.intensities)
    return _CLOUD_HEADER.pack(points), cloud.positions.tobytes(), cloud.intensities.tobytes()


def decode_result(data: Buffer) -> Result:
    """Read and check a message; arrays are read-only views of `data`. Raises ContentRefused."""
    view = memoryview(data).cast("B").toreadonly()
    if len(view) < _HEADER.size:
        raise _refused(f"{len(view)} bytes do not hold its header")
    magic, version, sectors, stamp_us, n, missing, *numbers = _HEADER.unpack_from(view)
    if magic != _MAGIC or version not in {_BOXES_ALONE, _WITH_CLOUD}:
        raise _refused("it does not begin as a result of version 1 or 2 does")
    end = _HEADER.size + _BOX_BYTES * n
    if n > MAX_BOXES or len(view) < end or (version == _BOXES_ALONE and len(view) > end):
        raise _refused(f"{n} boxes do not fit its {len(view)} bytes")
    shapes: dict[str, tuple[str, int]] = {
        "centres": ("<f4", 3),
        "sizes": ("<f4", 3),
        "yaws": ("<f4", 1),
        "scores": ("<f4", 1),
        "points": ("<u4", 1),
        "classes": ("u1", 1),
        "flags": ("u1", 1),
    }
    arrays, at = {}, _HEADER.size
    for name, (dtype, width) in shapes.items():
        array = np.frombuffer(view, dtype, n * width, at)
        at += array.nbytes
        arrays[name] = array.reshape(-1, 3) if width == 3 else array
    if n and arrays["classes"].max() >= len(CLASSES):
        raise _refused("it has a class that is not known")
    counted = len(Counts.__dataclass_fields__)
    return Result(
        stamp_us,
        sectors,
        missing,
        Counts(*numbers[:counted]),
        StageTimes(*numbers[counted:]),
        Boxes(**arrays),
        _decode_cloud(view[end:]) if version == _WITH_CLOUD else None,
    )


def _decode_cloud(view: memoryview) -> Cloud:
    if len(view) < _CLOUD_HEADER.size:
        raise _refused(f"{len(view)} bytes after its boxes do not say how many points follow")
    (m,) = _CLOUD_HEADER.unpack_from(view)
    at = _CLOUD_HEADER.size
    if m > MAX_CLOUD or len(view) != at + _CLOUD_BYTES * m:
        raise _refused(f"{m} points do not fit the {len(view)} bytes after its boxes")
    positions = np.frombuffer(view, "<i2", 3 * m, at)
    intensities = np.frombuffer(view, np.uint8, m, at + positions.nbytes)
    return Cloud(positions.reshape(-1, 3), intensities)


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="a result is refused", why=why, fix="Update the older of client and gateway."
    )
