"""Shared memory between the node and a device process: arenas, leased slots, sealed assets, and
words that say what to stop.

An arena is one memfd, sealed against resizing (so that no process can make the other fault with
SIGBUS) and mapped by both sides. It is sparse: pages exist only once touched, and the first-fit
allocator touches low offsets first. Slots are leased one by one and carry a generation stamp that
no other lease ever had. When a process is lost its arena is retired: nothing new is leased from
it, and it is unmapped once the process has been reaped and the last lease came back.

Source of the sealing rules: memfd_create(2), fcntl(2) F_ADD_SEALS.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import insort
from itertools import count, pairwise

from mesh.core.errors import Misuse
from mesh.core.workload import Buffer

SLOT_ALIGN = 4096  # pages: what drivers can import as host memory
STOP_WORDS = 2
STOP_BYTES = 8 * STOP_WORDS

_F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h; Linux 5.1, and Python's fcntl from 3.13

_generations = count(1)


def sealed_asset(name: str, data: Buffer) -> int:
    """A memfd that holds `data` and that nobody can change any more. Blocking: run in a thread.

    Raises OSError when memory or descriptors run out.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with memoryview(data).cast("B") as rest:
            written = 0
            while written < len(rest):
                written += os.write(fd, rest[written : written + (1 << 20)])
        fcntl.fcntl(
            fd,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL,
        )
    except BaseException:
        os.close(fd)
        raise
    return fd


class StopWords:
    """The numbers of requests that nobody wants any more, for the process that is at them to read.

    Numbers rise and none comes twice, so a stale one means nothing. Two requests may be with the
    process, mostly neighbours: even numbers have the first word, odd ones the second. One that is
    overwritten costs a run to its end, and nothing else. Only the node writes (later mappings are
    sealed against it) and it never reads: the process can do nothing through them.
    """

    def __init__(self) -> None:
        """Raises OSError when memory or descriptors run out."""
        self.fd = os.memfd_create("framemesh-stop", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, STOP_BYTES)
            self._map = mmap.mmap(self.fd, STOP_BYTES, mmap.MAP_SHARED)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals | _F_SEAL_FUTURE_WRITE)
        except BaseException:
            os.close(self.fd)
            raise
        self._words = memoryview(self._map).cast("Q")

    def write(self, number: int) -> None:
        """Stop that request. One aligned store: a reader sees the old number or the new one."""
        self._words[number % STOP_WORDS] = number

    def close_fd(self) -> None:
        """Drop the descriptor once the process has it; the mapping stays."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """The process is gone."""
        self.close_fd()
        self._words.release()
        self._map.close()


class Lease:
    """The right to one slot, until `release`. `view` is writable and exactly as long as asked."""

    __slots__ = ("_arena", "generation", "nbytes", "offset", "view")

    def __init__(self, arena: Arena, offset: int, nbytes: int, view: memoryview) -> None:
        self._arena: Arena | None = arena
        self.offset, self.nbytes, self.view = offset, nbytes, view
        self.generation = next(_generations)

    @property
    def arena(self) -> Arena | None:
        """Where the slot lies; None once released."""
        return self._arena

    def shorten(self, nbytes: int) -> None:
        """Make `view` the first `nbytes` bytes; the slot stays as large as it was leased."""
        if not 0 <= nbytes <= self.nbytes:
            raise Misuse(
                what="cannot shorten a lease",
                why=f"{nbytes} bytes asked of a slot of {self.nbytes}",
                fix="Ask for at most what was leased.",
            )
        self.view = self.view[:nbytes]

    def take(self) -> Lease:
        """Move the slot to a new lease; this one becomes as if released."""
        arena = self._arena
        if arena is None:
            raise Misuse(
                what="a released lease was used",
                why="its slot may already belong to another piece",
                fix="Lease again, and release only when done.",
            )
        taken = Lease(arena, self.offset, self.nbytes, self.view)
        arena.restamp(self.offset, taken.generation)
        self._arena = None
        self.view = memoryview(b"")
        return taken

    def release(self) -> None:
        """Give the slot back; further calls do nothing. `view` must not be used afterwards."""
        arena, self._arena = self._arena, None
        if arena is not None:
            self.view = memoryview(b"")
            arena.give_back(self.offset, self.generation)


class Arena:
    """One shared mapping and who holds which part of it. Used from the event loop only."""

    def __init__(self, name: str, nbytes: int) -> None:
        self.nbytes = -(-nbytes // SLOT_ALIGN) * SLOT_ALIGN
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, self.nbytes)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
            self._map = mmap.mmap(self.fd, self.nbytes, mmap.MAP_SHARED)
        except BaseException:
            os.close(self.fd)
            raise
        self._view = memoryview(self._map)
        # Live slots as (offset, end), ordered, between two sentinels; and their stamps.
        self._slots: list[tuple[int, int]] = [(0, 0), (self.nbytes, self.nbytes)]
        self._stamps: dict[int, int] = {}
        self._retired = False
        self._reaped = False
        self.unmapped = False

    @property
    def leases(self) -> int:
        """How many slots are out."""
        return len(self._stamps)

    @property
    def leased_bytes(self) -> int:
        """What those slots occupy, page padding included."""
        return sum(end - offset for offset, end in self._slots)

    def lease(self, nbytes: int) -> Lease | None:
        """The lowest gap that fits (first fit), or None when there is none or the arena retired."""
        if self._retired or nbytes < 0:
            return None
        # An empty slot still takes a page: offsets must be unique.
        size = max(-(-nbytes // SLOT_ALIGN), 1) * SLOT_ALIGN
        for (_, start), (after, _) in pairwise(self._slots):
            if after - start >= size:
                lease = Lease(self, start, nbytes, self._view[start : start + nbytes])
                insort(self._slots, (start, start + size))
                self._stamps[start] = lease.generation
                return lease
        return None

    def restamp(self, offset: int, generation: int) -> None:
        """A live slot changed hands."""
        self._stamps[offset] = generation

    def give_back(self, offset: int, generation: int) -> None:
        """Free a slot. Raises Misuse if the stamp is not the slot's."""
        if self._stamps.get(offset) != generation:
            raise Misuse(
                what="a slot was given back twice",
                why=f"offset {offset} does not carry stamp {generation}",
                fix="Release each lease through the object that `lease` returned.",
            )
        del self._stamps[offset]
        self._slots = [slot for slot in self._slots if slot[0] != offset or slot[1] == offset]
        self._unmap_if_done()

    def close_fd(self) -> None:
        """Drop the descriptor once the child has it; the mapping stays."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def retire(self) -> None:
        """The process that maps this arena is lost: lease nothing more."""
        self._retired = True
        self._unmap_if_done()

    def reaped(self) -> None:
        """That process exists no more."""
        self._retired = self._reaped = True
        self._unmap_if_done()

    def _unmap_if_done(self) -> None:
        if self._reaped and not self._stamps and not self.unmapped:
            self.unmapped = True
            self.close_fd()
            self._view.release()
            try:
                self._map.close()
            except BufferError:
                # A consumer kept an array over a released view; the last reference unmaps.
                del self._map
