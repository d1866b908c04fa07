"""Results on a data channel: split into messages that every peer takes, and joined again. Pure.

A data channel carries messages of bounded size (RFC 8841 lets a peer take as little as it says;
RFC 8831 6.6 asks for at most 16 KiB, so that one message does not keep all others waiting), loses
some and may turn their order round. So each message is one *part* of one result, and says which.

Every part begins with 16 bytes, little-endian, which leave what follows aligned:

====== ======= ==========================================================
offset type    what
====== ======= ==========================================================
0      uint64  frame: the id in the frame's facts, below 2**53
8      uint16  part, from 0
10     uint16  parts that the result has, 1 to 64
12     uint32  bytes that the result has
====== ======= ==========================================================

Part k holds the result's bytes from k * 16384 on: 16384 of them, the last part what is left.
docs/protocol-browser.md says the same to whoever writes a client; clients/web/parts.js is one.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

from mesh.core.errors import Misuse, ProtocolViolation
from mesh.core.workload import Buffer

PART_BYTES = 16 * 1024
MAX_PARTS = 64
MAX_RESULT = MAX_PARTS * PART_BYTES
MAX_UNDER_WAY = 4  # results that are being joined at a time; for an older one there is no room
HEADER = struct.Struct("<QHHI")

_MAX_FRAME = 2**53  # what a JavaScript number holds exactly
_REMEMBERED = 64  # results handed out, so that none comes twice


def count_parts(nbytes: int) -> int:
    """How many parts a result of that size has; 0 if it is too long for a data channel."""
    return max(1, -(-nbytes // PART_BYTES)) if nbytes <= MAX_RESULT else 0


def split(frame: int, result: Buffer) -> list[bytes]:
    """The messages that carry a frame's result. Raises Misuse if it is longer than MAX_RESULT."""
    view = memoryview(result).cast("B")
    parts = count_parts(len(view))
    if not parts:
        raise Misuse(
            what=f"the result of frame {frame} cannot be split",
            why=f"it has {len(view)} bytes, and {MAX_RESULT} go over a data channel",
            fix="Ask `count_parts` first, and send longer results over a link.",
        )
    return [
        HEADER.pack(frame, part, parts, len(view))
        + view[part * PART_BYTES : (part + 1) * PART_BYTES]
        for part in range(parts)
    ]


class Joiner:
    """Results out of parts that come in any order, some of them never.

    At most MAX_UNDER_WAY results are under way. When one more begins, the oldest is given up: a
    lost part is not sent again, and a viewer wants the newest.
    """

    def __init__(self) -> None:
        self.given_up = 0  # results of which only some parts came
        self._under_way: dict[int, _Joining] = {}
        self._done: deque[int] = deque(maxlen=_REMEMBERED)

    def add(self, message: Buffer) -> tuple[int, memoryview] | None:
        """One message: (frame, result) if it completes one, each frame once.

        Raises ProtocolViolation if it is no part, or contradicts the others of its frame.
        """
        view = memoryview(message).cast("B")
        frame, part, parts, nbytes = _read_header(view)
        if frame in self._done:
            return None
        joining = self._under_way.get(frame)
        if joining is None:
            joining = self._begin(frame, nbytes)
            if joining is None:
                return None
        if nbytes != len(joining.result):
            raise _violation(f"frame {frame} has {len(joining.result)} bytes, and {nbytes}")
        joining.result[part * PART_BYTES : (part + 1) * PART_BYTES] = view[HEADER.size :]
        joining.came.add(part)
        if len(joining.came) < parts:
            return None
        del self._under_way[frame]
        self._done.append(frame)
        return frame, memoryview(joining.result)

    def _begin(self, frame: int, nbytes: int) -> _Joining | None:
        """Make room for a frame; None if those under way are all newer."""
        if len(self._under_way) == MAX_UNDER_WAY:
            oldest = min(self._under_way)
            if frame < oldest:
                return None
            del self._under_way[oldest]
            self.given_up += 1
        self._under_way[frame] = joining = _Joining(bytearray(nbytes))
        return joining


@dataclass(slots=True)
class _Joining:
    """A result of which not all parts are here."""

    result: bytearray
    came: set[int] = field(default_factory=set)


def _read_header(view: memoryview) -> tuple[int, int, int, int]:
    if len(view) < HEADER.size:
        raise _violation(f"{len(view)} bytes do not hold its header")
    frame, part, parts, nbytes = HEADER.unpack_from(view)
    if frame >= _MAX_FRAME or part >= parts or not parts == count_parts(nbytes):
        raise _violation(f"part {part} of {parts} of {nbytes} bytes of frame {frame} cannot be")
    wanted = min(PART_BYTES, nbytes - part * PART_BYTES)
    if len(view) - HEADER.size != wanted:
        raise _violation(f"part {part} of {parts} has {len(view) - HEADER.size} bytes")
    return frame, part, parts, nbytes


def _violation(why: str) -> ProtocolViolation:
    return ProtocolViolation(
        what="a part of a result cannot be read",
        why=why,
        fix="Update the older of client and gateway.",
    )
