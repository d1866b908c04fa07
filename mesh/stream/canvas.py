"""The pictures a session composes into: owned by the encoder, lent to one frame at a time.

A frame's tiles are written straight into the slot that the encoder reads: the one copy between
device and encoder. A slot is free, lent, being encoded, or the last finished picture; the last
one stays as it is for as long as any frame that was opened beside it may still fill from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import Misuse
from mesh.core.workload import PictureFormat

SLOTS = 5  # two frames being composed, each beside its own predecessor, and one in the encoder
_BLACK_LUMA, _GREY_CHROMA = 16, 128  # BT.709 limited range


class Canvas:
    """One lent slot. Give it back once: to `finish` when composed, or to `release`."""

    __slots__ = ("_beside", "_slot", "picture", "previous", "view")

    def __init__(
        self, picture: NDArray[np.uint8], slot: int, beside: int | None, previous: memoryview
    ) -> None:
        self.picture = picture  # uint8 (height * 3 / 2, width), I420
        self.view = picture.data.cast("B")  # writable, PictureFormat.nbytes long
        self.previous = previous  # the picture finished before; read-only; empty before the first
        self._slot = slot
        self._beside = beside  # slot of `previous`, held for as long as this one is lent


class CanvasPool:
    """A fixed number of canvases of one format. Belongs to the event loop; not thread-safe."""

    def __init__(self, picture: PictureFormat, slots: int = SLOTS) -> None:
        rows = picture.height * 3 // 2
        self._pictures = [np.empty((rows, picture.width), np.uint8) for _ in range(slots)]
        for pixels in self._pictures:
            pixels[: picture.height] = _BLACK_LUMA
            pixels[picture.height :] = _GREY_CHROMA
        self._holds = [0] * slots  # who still needs the slot's content
        self._lent: dict[int, Canvas] = {}
        self._last: int | None = None

    @property
    def previous(self) -> memoryview:
        """The last finished picture, read-only; empty before the first.

        Valid until the next `finish`; a canvas's own `previous` lasts as long as its lease.
        """
        if self._last is None:
            return memoryview(b"")
        return self._pictures[self._last].data.cast("B").toreadonly()

    def lease(self) -> Canvas | None:
        """A canvas with undefined contents, or None while all are in use."""
        slot = next((slot for slot, holds in enumerate(self._holds) if holds == 0), None)
        if slot is None:
            return None
        self._hold(slot)
        if self._last is not None:
            self._hold(self._last)
        canvas = Canvas(self._pictures[slot], slot, self._last, self.previous)
        self._lent[slot] = canvas
        return canvas

    def finish(self, canvas: Canvas) -> None:
        """Take back a composed canvas; it is the next leases' `previous`."""
        self._take_back(canvas)
        if self._last is not None:
            self._drop(self._last)
        self._last = canvas._slot  # the lease's hold goes on as this one

    def release(self, canvas: Canvas) -> None:
        """Take back a canvas whose frame was given up."""
        self._take_back(canvas)
        self._drop(canvas._slot)

    def _take_back(self, canvas: Canvas) -> None:
        if self._lent.pop(canvas._slot, None) is not canvas:
            raise Misuse(
                what="a canvas was given back twice",
                why="it is not lent out by this pool",
                fix="Call send() or release_canvas() once for each lease_canvas().",
            )
        if canvas._beside is not None:
            self._drop(canvas._beside)

    def _hold(self, slot: int) -> None:
        self._holds[slot] += 1

    def _drop(self, slot: int) -> None:
        self._holds[slot] -= 1
