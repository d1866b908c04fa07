"""What a frame says beside its picture, gathered while its tiles come. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from render.camera import Matrix
from render.depth import DepthArray, paste, unknown_map
from render.headpose import HeadPose
from render.tiles import Rect
from render.viewresult import ViewResult, encode_result


class Beside:
    """The pose that a frame is drawn from, its views, and their depth as far as it has come."""

    def __init__(
        self,
        pose: HeadPose,
        posed: bool,
        size: tuple[int, int],
        views: Sequence[Matrix],
        block: int,
    ) -> None:
        """size: of one view in the picture, pixels. Else as of `ViewResult`."""
        self._pose, self._posed, self._size = pose, posed, size
        self._views, self._block = views, block
        self.depth: list[DepthArray] = [unknown_map(*size, block) for _ in views if block]

    def accept(self, rect: Rect, data: memoryview) -> None:
        """A tile's depth. rect: where the tile lies in the picture."""
        if not self._block:
            return
        view, left = divmod(rect.x, self._size[0])
        paste(self.depth[view], rect._replace(x=left), self._block, data)

    def message(self) -> bytes:
        """The frame's result."""
        return encode_result(
            ViewResult(self._pose, self._posed, self._size, self._views, self._block, self.depth)
        )
