"""What a fuzzing process leaves behind however it ends: its counts, and the input it was at."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Self

_COUNTS = struct.Struct("<6Q")
_MOST_INPUT = 8 << 20  # longer ones are kept cut off


class Record:
    """A file, mapped by the process that writes and read by the one that watches.

    taken: inputs done. let_in: of these, read and not refused. slowest_us: CPU time of one input.
    peak_bytes: most memory over one, beyond what was held before it. done: 1 at an orderly end.
    """

    FIELDS = ("taken", "let_in", "slowest_us", "peak_bytes", "done")

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(_COUNTS.size + _MOST_INPUT)
            self._map = mmap.mmap(file.fileno(), 0)
        *counts, _ = _COUNTS.unpack_from(self._map)
        self.taken, self.let_in, self.slowest_us, self.peak_bytes, self.done = counts

    def begin(self, data: bytes) -> None:
        """An input is at hand."""
        self._map[_COUNTS.size : _COUNTS.size + min(len(data), _MOST_INPUT)] = data[:_MOST_INPUT]
        self._write(len(data) + 1)

    def end(self) -> None:
        """It is done with; the counts are as they are now."""
        self._write(0)

    @property
    def at_hand(self) -> bytes | None:
        """The input that was begun and not ended; None between two."""
        size = _COUNTS.unpack_from(self._map)[-1] - 1
        return (
            self._map[_COUNTS.size : _COUNTS.size + min(size, _MOST_INPUT)] if size >= 0 else None
        )

    def _write(self, size: int) -> None:
        counts = (getattr(self, name) for name in self.FIELDS)
        _COUNTS.pack_into(self._map, 0, *counts, size)

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
