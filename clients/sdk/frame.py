"""A picture as a client gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

    from clients.sdk.framebook import FrameBook


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of a session.

    picture: as decoded, I420, BT.709, limited range.
    rtp: its RTP timestamp, 90 kHz, from the session's own start.
    received_us: when its last packet was here, on this machine's monotonic clock.
    """

    picture: av.VideoFrame = field(repr=False)
    rtp: int
    received_us: int
    _book: FrameBook = field(repr=False)

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """The facts of its frame, if they are here (docs/protocol-browser.md).

        They travel on their own, and may come a little later than the picture, or never.
        """
        return self._book.facts_of(self.rtp)

    @property
    def id(self) -> int | None:
        """The id of its frame, as far as its facts are here."""
        facts = self.facts
        return facts.get("frame") if facts is not None else None

    def rgb(self) -> NDArray[np.uint8]:
        """The picture as uint8 (height, width, 3), red first, full range."""
        converted = self.picture.reformat(
            format="rgb24",
            src_colorspace=Colorspace.ITU709,  # VP8 cannot say so itself
            src_color_range=ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        )
        return np.asarray(converted.to_ndarray(), np.uint8)

    def to_ndarray(self) -> NDArray[np.uint8]:
        """The picture as decoded: I420, uint8 (height * 3 / 2, width)."""
        return np.asarray(self.picture.to_ndarray(format="yuv420p"), np.uint8)
