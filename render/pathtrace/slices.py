"""A tile's work in submissions that are each short enough. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from render.tiles import Rect

ROWS = 8  # of a workgroup: bands are multiples of it


class Slice(NamedTuple):
    """One submission: every pixel of a rectangle, until it has `until` samples."""

    rect: Rect
    until: int


class Slicer:
    """Cuts a tile into slices of about as many samples as a device takes in the time wanted."""

    def __init__(self, wanted_us: int, samples: int) -> None:
        """samples: of pixels, that the first slice may have."""
        self._wanted_us = wanted_us
        self._most = float(samples)

    def learn(self, made: Slice, before: int, took_us: int) -> None:
        """A slice took so long, from `before` samples a pixel on."""
        samples = made.rect.area * (made.until - before)
        best = samples * self._wanted_us / max(took_us, 1)
        self._most = min(max(best, self._most / 2), self._most * 2)

    def slices(self, rect: Rect, samples: int) -> Iterator[Slice]:
        """Every pixel of `rect` to `samples` samples; all of them to one count, then to the next.

        Each slice is as large as is known by then; the least is a row of workgroups, once.
        """
        done = 0
        while done < samples:
            if rect.area <= self._most:
                done = min(samples, done + int(self._most // rect.area))
                yield Slice(rect, done)
                continue
            done += 1
            top = 0
            while top < rect.height:
                rows = max(int(self._most // rect.width) // ROWS, 1) * ROWS
                rows = min(rows, rect.height - top)
                yield Slice(Rect(rect.x, rect.y + top, rect.width, rows), done)
                top += rows
