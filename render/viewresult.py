"""FMVR/1: what a frame was drawn from, sent beside its picture. Pure.

A render session sends it as each frame's result (docs/protocol-browser.md says how results travel)
when its pictures are of a headset's views or come with depth. Little-endian:

====== =========== ==========================================================================
offset type        what
====== =========== ==========================================================================
0      4 bytes     "FMVR"
4      uint8       version, 1
5      uint8       views, 1 or 2: side by side in the picture, from the left
6      uint8       pixels along a block of the depth maps: 4, 8 or 16; 0 without depth
7      uint8       flags; 1: the pose below is a client's
8      uint32      pose: the client's id of it
12     uint16 x 2  width, height of one view in the picture, pixels
16     int64       display_us: when the client means to show it, on the client's clock
24     float64 x 3 position of the head, world frame, metres
48     float64 x 4 orientation of the head: x, y, z, w of a unit quaternion
80     float64 x 16 per view: clip_from_world, row by row (`render.camera`)
       float16     per view: its depth map, row by row (`render.depth`)
====== =========== ==========================================================================

The matrices are of the views as they are looked at, before edges are squeezed (`render.foveate`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mesh.core.errors import ContentRefused
from mesh.core.workload import Buffer
from render.camera import Matrix
from render.depth import BLOCKS, DepthArray, map_shape
from render.headpose import HeadPose

NAME = "FMVR/1"
MAX_VIEWS = 2
_HEADER = struct.Struct("<4s4BIHHq7d")
_MATRIX_BYTES = 128
_MAGIC = b"FMVR"
_VERSION = 1
_POSED = 1


@dataclass(frozen=True, slots=True, eq=False)
class ViewResult:
    """One frame's views.

    pose: that it was drawn from. posed: whether a client sent that pose, rather than the session
        beginning with it. size: width and height of one view in the picture, pixels.
    views: clip_from_world of each. block, depth: of the depth maps, one for each view; 0 and none
        without depth.
    """

    pose: HeadPose
    posed: bool
    size: tuple[int, int]
    views: Sequence[Matrix]
    block: int = 0
    depth: Sequence[DepthArray] = ()


def encode_result(result: ViewResult) -> bytes:
    """The result message."""
    pose = result.pose
    head = _HEADER.pack(
        _MAGIC,
        _VERSION,
        len(result.views),
        result.block,
        _POSED * result.posed,
        pose.id,
        *result.size,
        pose.display_us,
        *pose.position,
        *pose.orientation,
    )
    views = (view.astype("<f8").tobytes() for view in result.views)
    return b"".join([head, *views, *(depth.astype("<f2").tobytes() for depth in result.depth)])


def result_bytes(size: tuple[int, int], views: int, block: int) -> int:
    """How long such a message is."""
    cells = math.prod(map_shape(*size, block)) if block else 0
    return _HEADER.size + views * (_MATRIX_BYTES + 2 * cells)


def decode_result(data: Buffer) -> ViewResult:
    """Read a result message. Raises ContentRefused."""
    if len(data) < _HEADER.size:
        raise _refused(f"{len(data)} bytes do not hold its header")
    magic, version, views, block, flags, pose_id, width, height, display_us, *pose = (
        _HEADER.unpack_from(data)
    )
    if (magic, version) != (_MAGIC, _VERSION):
        raise _refused(f"it begins with {magic!r}, version {version}")
    if not 1 <= views <= MAX_VIEWS or block not in (0, *BLOCKS) or not (width and height):
        raise _refused(f"it has {views} views of {width}x{height}, depth in blocks of {block}")
    wanted = result_bytes((width, height), views, block)
    if len(data) != wanted:
        raise _refused(f"it has {len(data)} bytes and must have {wanted}")
    matrices = np.frombuffer(data, "<f8", 16 * views, _HEADER.size).reshape(views, 4, 4)
    depth: list[DepthArray] = []
    if block:
        after = _HEADER.size + views * _MATRIX_BYTES
        depth = list(
            np.frombuffer(data, "<f2", offset=after).reshape(
                views, *map_shape(width, height, block)
            )
        )
    return ViewResult(
        pose=HeadPose(
            id=pose_id,
            position=(pose[0], pose[1], pose[2]),
            orientation=(pose[3], pose[4], pose[5], pose[6]),
            display_us=display_us,
        ),
        posed=bool(flags & _POSED),
        size=(width, height),
        views=list(matrices),
        block=block,
        depth=depth,
    )


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="a frame's views cannot be read",
        why=why,
        fix=f"Read results of sessions whose description says {NAME}.",
    )
