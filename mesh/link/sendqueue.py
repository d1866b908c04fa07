"""What waits to be sent on one link: earliest deadline first, in frames of at most one chunk.

Earliest deadline first is optimal on one preemptible resource (Liu and Layland, 1973); a link is
preemptible between frames. Messages of equal `due_us` keep the order they were pushed in.
Pure: decides which bytes come next, and writes none.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from mesh.core.errors import Misuse
from mesh.core.wire import MAX_BODY, MAX_HEADER
from mesh.core.workload import Buffer
from mesh.link.framing import CHUNK, MAX_PARTIAL, SLOTS, more_prefix, open_prefix

_COMPACT_AT = 64  # cancelled entries tolerated in the heaps before they are rebuilt
_EMPTY = memoryview(b"")


class Sending:
    """One message on its way out. Callers use `cancel` and `active`, the queue the rest."""

    __slots__ = ("body", "framed", "header", "key", "queue", "sent", "slot")

    def __init__(
        self,
        queue: SendQueue | None,
        key: tuple[int, int],
        header: bytes,
        body: memoryview,
        sent: Callable[[], None] | None,
    ) -> None:
        self.queue = queue  # None once it is sent, cancelled or dropped
        self.key = key  # (due_us, order of pushing): the smaller goes first
        self.header, self.body = header, body
        self.sent = sent
        self.framed = -1  # bytes of the body in frames; -1: not even the header is
        self.slot = 0

    @property
    def active(self) -> bool:
        """Whether some of it still waits."""
        return self.queue is not None

    @property
    def size(self) -> int:
        """Bytes that still wait."""
        if self.framed >= 0:
            return len(self.body) - self.framed
        return len(self.header) + len(self.body)

    def cancel(self) -> bool:
        """Take it back if nothing of it was sent yet; says whether. Calls `sent` if so."""
        if self.queue is None or self.framed >= 0:
            return False
        queue, self.queue = self.queue, None
        queue.withdrawn(self)
        self.finish()
        return True

    def finish(self) -> None:
        """Let go of the body and call `sent`, the first time."""
        self.queue, self.header, self.body = None, b"", _EMPTY
        sent, self.sent = self.sent, None
        if sent is not None:
            sent()


_Heap: TypeAlias = list[tuple[tuple[int, int], Sending]]


class Frame(NamedTuple):
    """Bytes to write next: `head`, then `chunk`; after the `last`, call `sending.finish()`."""

    head: bytes
    chunk: memoryview
    sending: Sending
    last: bool


class SendQueue:
    """The messages of one direction of a link that are not yet handed to the transport."""

    def __init__(self) -> None:
        self.queued_bytes = 0  # of headers and bodies not in frames yet
        self._pushed = 0
        self._whole: _Heap = []  # messages that fit one frame
        self._large: _Heap = []  # messages that need a slot
        self._started: list[Sending] = []  # those that have one
        self._started_bytes = 0
        self._free_slots = list(range(SLOTS))
        self._cancelled = 0

    def push(
        self, header: bytes, body: Buffer, due_us: int, sent: Callable[[], None] | None
    ) -> Sending:
        """Queue an encoded message; `sent` is called once `body` may be written to again.

        Raises Misuse if it is over a bound of `mesh.core.wire`, or `body` is not contiguous.
        """
        sending = Sending(self, (due_us, self._pushed), header, _flat(body), sent)
        if not 0 < len(header) <= MAX_HEADER or len(sending.body) > MAX_BODY:
            raise _unsendable(
                f"its header has {len(header)} bytes ({MAX_HEADER} allowed), its body"
                f" {len(sending.body)} ({MAX_BODY} allowed)",
                fix="Send less in one message.",
            )
        self._pushed += 1
        self.queued_bytes += sending.size
        heapq.heappush(
            self._whole if len(sending.body) <= CHUNK else self._large, (sending.key, sending)
        )
        return sending

    def next_frame(self) -> Frame | None:
        """The most urgent frame that may be sent now; None when nothing waits."""
        chosen = self._choose()
        if chosen is None:
            return None
        chunk = chosen.body[max(chosen.framed, 0) :][:CHUNK]
        if chosen.framed >= 0:
            head = more_prefix(chosen.slot, len(chunk))
            size = len(chunk)
        else:
            self._start(chosen)
            header = chosen.header
            head = open_prefix(chosen.slot, len(chunk), len(header), len(chosen.body)) + header
            size = len(header) + len(chunk)
        chosen.framed += len(chunk)
        self.queued_bytes -= size
        last = chosen.framed == len(chosen.body)
        if last:
            self._end(chosen)
        return Frame(head, chunk, chosen, last)

    def withdrawn(self, sending: Sending) -> None:
        """Note that a waiting message was cancelled; its entry goes when it is met."""
        self.queued_bytes -= sending.size
        self._cancelled += 1
        if self._cancelled > max(_COMPACT_AT, (len(self._whole) + len(self._large)) // 2):
            for heap in (self._whole, self._large):
                heap[:] = [entry for entry in heap if entry[1].active]
                heapq.heapify(heap)
            self._cancelled = 0

    def clear(self) -> list[Sending]:
        """Empty it; returns what was dropped, each still to be finished."""
        dropped = [*self._started, *(sending for _, sending in self._whole + self._large)]
        self._started.clear()
        self._whole.clear()
        self._large.clear()
        self._free_slots = list(range(SLOTS))
        self._started_bytes = self._cancelled = self.queued_bytes = 0
        return [sending for sending in dropped if sending.active]

    def _choose(self) -> Sending | None:
        """Most urgent of: whole messages, those started, and, if one more may start, the large."""
        candidates = [sending for _, sending in self._head(self._whole)]
        candidates += self._started
        for _, sending in self._head(self._large):
            if self._free_slots and self._started_bytes + len(sending.body) <= MAX_PARTIAL:
                candidates.append(sending)
        return min(candidates, key=lambda sending: sending.key, default=None)

    def _head(self, heap: _Heap) -> _Heap:
        while heap and not heap[0][1].active:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[:1]

    def _start(self, sending: Sending) -> None:
        sending.framed = 0
        if len(sending.body) <= CHUNK:
            heapq.heappop(self._whole)
        else:
            heapq.heappop(self._large)
            sending.slot = self._free_slots.pop()
            self._started.append(sending)
            self._started_bytes += len(sending.body)

    def _end(self, sending: Sending) -> None:
        sending.queue = None
        if len(sending.body) > CHUNK:
            self._started.remove(sending)
            self._started_bytes -= len(sending.body)
            self._free_slots.append(sending.slot)


def _flat(body: Buffer) -> memoryview:
    try:
        return memoryview(body).cast("B")
    except TypeError as problem:
        raise _unsendable(
            f"its body is not one contiguous block: {problem}", fix="Copy it into one first."
        ) from problem


def _unsendable(why: str, fix: str) -> Misuse:
    return Misuse(what="a message cannot be sent", why=why, fix=fix)
