"""How messages share one byte stream: frames of at most one chunk, so that an urgent one overtakes.

A frame is a 16-byte prefix, little-endian::

    kind u8 | zero u8 | slot u16 | chunk u32 | header u32 | body u32

An OPEN frame starts a message: `header` bytes of MessagePack (`mesh.core.wire`) and the first
`chunk` bytes of a `body`-byte raw body follow. MORE frames bring the rest, `chunk` bytes each,
for the message that last opened in `slot`; frames of up to `SLOTS` messages may be interleaved.
A message that is whole in its OPEN frame takes no slot (0 is written).

Pure: bytes in, messages out; no socket, no clock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from mesh.core.errors import Misuse, ProtocolViolation
from mesh.core.wire import (
    MALFORMED,
    MAX_BODY,
    MAX_HEADER,
    AssetData,
    ClientInput,
    ClientResult,
    Message,
    PieceDone,
    PieceRun,
    decode_message,
    is_of_unknown_type,
)

CHUNK = 64 * 1024  # most body bytes in one frame
SLOTS = 16  # most messages under way at once in one direction
MAX_PARTIAL = 2 * MAX_BODY  # most body bytes announced by the messages under way

OPEN, MORE = 1, 2
PREFIX = struct.Struct("<BBHIII")
# All other messages are header only.
WITH_BODY = (AssetData, PieceRun, PieceDone, ClientInput, ClientResult)

# Bytes asked for while the next frame's kind is unknown: enough for a burst of small messages,
# little enough that what arrives of a large body here, and must be copied, costs nothing.
_PEEK = 2048

Allocate: TypeAlias = Callable[[Message, int], memoryview | None]


def open_prefix(slot: int, chunk: int, header: int, body: int) -> bytes:
    """The prefix of a message's first frame."""
    return PREFIX.pack(OPEN, 0, slot, chunk, header, body)


def more_prefix(slot: int, chunk: int) -> bytes:
    """The prefix of a later frame."""
    return PREFIX.pack(MORE, 0, slot, chunk, 0, 0)


@dataclass(slots=True)
class _Partial:
    """A message whose body is not complete. `target` None: the body is discarded.

    message: None for one of a type that a later version added.
    """

    message: Message | None
    size: int
    target: memoryview | None
    filled: int = 0


class FrameReader:
    """Takes the stream apart in place: `buffer()` says where the next bytes go, `advance` reads.

    Bodies land directly in the memory that `allocate(message, size)` returns: a writable view of
    exactly `size` bytes, or None to have the body dropped (the message then arrives with an empty
    one). `allocate` may raise; that ends the reader's usefulness, like a ProtocolViolation.
    Bytes of a target beyond what was received are undefined until its message arrives.
    """

    def __init__(self, allocate: Allocate, *, max_body: int = MAX_BODY) -> None:
        self.max_body = max_body  # may be raised at any time
        self._allocate = allocate
        self._stage = bytearray(PREFIX.size + _PEEK)  # prefixes, headers, small bodies
        self._start = self._end = 0  # the unread part of the stage
        self._partial: dict[int, _Partial] = {}
        self._partial_bytes = 0
        self._current: _Partial | None = None  # whose chunk is being received
        self._current_slot = 0
        self._chunk_left = 0
        self._scratch: memoryview | None = None  # where discarded bodies go

    def buffer(self) -> memoryview:
        """Writable, never empty: receive into its beginning, then call `advance`."""
        if self._current is not None:  # the stage is empty: everything there was moved
            return self._direct(self._current)
        room = self._room()
        return memoryview(self._stage)[self._end : self._end + room]

    def advance(self, count: int) -> Iterator[tuple[Message, memoryview]]:
        """Note that `count` bytes were received into `buffer()`; yields the messages completed.

        Must be exhausted (or the reader given up) before the next `buffer()`.
        Raises ProtocolViolation, and what `allocate` raises.
        """
        if self._current is not None:
            self._take_direct(self._current, count)
        else:
            self._end += count
        while True:
            if self._current is None and not self._next_frame():
                return
            assert self._current is not None
            self._move_staged(self._current)
            if self._chunk_left:
                return
            done, self._current = self._current, None
            if done.filled == done.size:
                self._release(self._current_slot, done)
                if done.message is None:
                    continue
                yield done.message, done.target if done.target is not None else memoryview(b"")

    # Receiving a chunk into its place. A body goes on behind this chunk unless it is the last, so
    # the next prefix may be received there too: one read per chunk instead of two.

    def _direct(self, partial: _Partial) -> memoryview:
        behind = min(PREFIX.size, partial.size - partial.filled - self._chunk_left)
        if partial.target is not None:
            return partial.target[partial.filled : partial.filled + self._chunk_left + behind]
        if self._scratch is None:
            self._scratch = memoryview(bytearray(CHUNK + PREFIX.size))
        return self._scratch[: self._chunk_left + behind]

    def _take_direct(self, partial: _Partial, count: int) -> None:
        own = min(count, self._chunk_left)
        if own < count:
            self._stage[: count - own] = self._direct(partial)[own:count]
        self._start, self._end = 0, count - own
        partial.filled += own
        self._chunk_left -= own

    def _move_staged(self, partial: _Partial) -> None:
        own = min(self._end - self._start, self._chunk_left)
        if partial.target is not None and own:
            staged = memoryview(self._stage)[self._start : self._start + own]
            partial.target[partial.filled : partial.filled + own] = staged
        self._start += own
        partial.filled += own
        self._chunk_left -= own

    # Frames.

    def _next_frame(self) -> bool:
        """Begin the frame at the head of the stage; False if it is not all there."""
        if self._end - self._start < PREFIX.size:
            return False
        kind, zero, slot, chunk, header, body = PREFIX.unpack_from(self._stage, self._start)
        if zero:
            _violated("a frame's reserved byte is not zero")
        if kind == MORE:
            self._go_on(slot, chunk, header, body)
            self._start += PREFIX.size
            return True
        if kind != OPEN:
            _violated(f"a frame is of the unknown kind {kind}")
        self._check_open(slot, chunk, header, body)
        begin = self._start + PREFIX.size
        if self._end < begin + header:
            return False
        self._open(slot, chunk, body, bytes(memoryview(self._stage)[begin : begin + header]))
        self._start = begin + header
        return True

    def _check_open(self, slot: int, chunk: int, header: int, body: int) -> None:
        """All bounds of a message, before anything is kept for it."""
        if not 0 < header <= MAX_HEADER:
            _violated(f"a header has {header} bytes; 1 to {MAX_HEADER} are allowed")
        if body > self.max_body:
            _violated(f"a body has {body} bytes; {self.max_body} are allowed")
        if chunk > min(body, CHUNK) or (chunk == 0 and body > 0):
            _violated(f"the first chunk of a {body}-byte body has {chunk} bytes")
        if chunk < body:
            if slot >= SLOTS or slot in self._partial:
                _violated(f"a message opens in slot {slot}, which is taken or out of range")
            if self._partial_bytes + body > MAX_PARTIAL:
                _violated(f"the messages under way have more than {MAX_PARTIAL} bytes")
        elif slot:
            _violated("a message that is whole in one frame names a slot")

    def _open(self, slot: int, chunk: int, body: int, header: bytes) -> None:
        message: Message | None
        try:
            message = decode_message(header)
        except MALFORMED as problem:
            if not is_of_unknown_type(header):
                _violated(f"a header cannot be read: {problem}")
            message = None
        if body and message is not None and not isinstance(message, WITH_BODY):
            _violated(f"a {type(message).__name__} has a body of {body} bytes")
        target: memoryview | None = None
        if body and message is not None:
            target = self._allocate(message, body)
            if target is not None and (target.nbytes != body or target.readonly):
                raise Misuse(
                    what=f"the body of a {type(message).__name__} cannot be received",
                    why="the buffer given for it is read-only or not of its size",
                    fix="Return a writable memoryview of exactly the size asked for.",
                )
        partial = _Partial(message, body, target.cast("B") if target is not None else None)
        if chunk < body:
            self._partial[slot] = partial
            self._partial_bytes += body
        self._current, self._current_slot, self._chunk_left = partial, slot, chunk

    def _go_on(self, slot: int, chunk: int, header: int, body: int) -> None:
        partial = self._partial.get(slot)
        if partial is None:
            _violated(f"a chunk came for slot {slot}, where no message is under way")
        if header or body or not 0 < chunk <= min(CHUNK, partial.size - partial.filled):
            _violated(f"a chunk of {chunk} bytes does not fit its message")
        self._current, self._current_slot, self._chunk_left = partial, slot, chunk

    def _release(self, slot: int, done: _Partial) -> None:
        if self._partial.get(slot) is done:
            del self._partial[slot]
            self._partial_bytes -= done.size

    def _room(self) -> int:
        """Make room in the stage for what the frame at its head still lacks; how much to ask for.

        Called with an incomplete frame at the head, whose prefix, if it is there, was checked.
        """
        have = self._end - self._start
        if self._start:
            self._stage[:have] = self._stage[self._start : self._end]
            self._start, self._end = 0, have
        wanted = PREFIX.size
        if have >= PREFIX.size:
            wanted += PREFIX.unpack_from(self._stage, 0)[4]
        wanted = max(wanted, _PEEK)
        if len(self._stage) < wanted:  # anew: the transport may still hold a view of the old one
            self._stage = self._stage[:have] + bytes(wanted - have)
        return wanted - have


def _violated(why: str) -> NoReturn:
    raise ProtocolViolation(
        what="the link's protocol was violated",
        why=why,
        fix="Update framemesh on the older side; if both are up to date, report this.",
    )
