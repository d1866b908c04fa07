"""How a camera's pictures go up: as JPEG or H.264, how good, how large. Pure.

JPEG while its pictures fit: each stands alone, and its loss is one picture's. Where they do not,
H.264: half the bytes for the same error on a drive's pictures, for what did not change is not sent
again. Under what that needs, pictures are halved.

The figures are of KITTI's street (1242 by 375, ten a second). At 28.8 dB, JPEG of quality 50 takes
0.73 bits a pixel and H.264 0.38; at 0.05 H.264 errs no less than halved pictures do (23.7 dB).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mesh.core.errors import Misuse

# JPEG's quality, and the bits per pixel that it takes on a street's pictures.
QUALITIES = ((50, 0.73), (60, 0.82), (70, 0.98), (80, 1.23), (90, 1.87))
SHRINKS = (1, 2, 4)  # what a picture's sides are divided by
LEAST_VIDEO = 0.05  # bits per pixel that H.264 is still worth it at
SHARE = 0.8  # of what the link carries: sweeps go over it too, and pictures vary
MARGIN = 1.25  # JPEG must fit by so much to be gone back to: H.264 begins with a worse picture
_SLOWLY = 0.3  # weight of the newest picture in what pictures are known to take
_STRANGEST = 10.0  # times more, or less, than a street's


@dataclass(frozen=True, slots=True)
class Coding:
    """quality: JPEG's, 1 to 95; 0 for H.264. nbytes: what a picture is to take, or may.

    shrink: 1, 2 or 4, what both sides are divided by.
    """

    codec: Literal["jpeg", "h264"]
    quality: int
    nbytes: int
    shrink: int = 1


class PicturePolicy:
    """Chooses for one camera, from picture to picture."""

    def __init__(self, size: tuple[int, int], rate_hz: float) -> None:
        """size: width and height in pixels. Raises Misuse."""
        if min(size) < 1 or not rate_hz > 0:
            raise Misuse(
                what="there is no policy for such pictures",
                why=f"they are {size[0]} by {size[1]}, {rate_hz:g} a second",
                fix="Give a size in pixels and a rate above 0.",
            )
        self._pixels, self._rate_hz = size[0] * size[1], rate_hz
        self._richness = 1.0  # bytes of these pictures over a street's
        self._video = False

    def choose(self, link_bytes_per_s: float, spare_us: int) -> Coding:
        """For the next picture.

        spare_us: of the time to its deadline, what is left for its bytes to travel. On a link for
        which nothing is small enough it is the smallest there is: whether to send it at all is for
        the caller to say.
        """
        link = max(link_bytes_per_s, 0.0) * SHARE
        budget = min(link / self._rate_hz, link * max(spare_us, 0) / 1e6)
        found = self._fitting(budget)
        self._video = found.codec == "h264"
        return found

    def _fitting(self, budget: float) -> Coding:
        margin = MARGIN if self._video else 1.0
        for quality, bits in reversed(QUALITIES):
            nbytes = self._richness * bits * self._pixels / 8
            if nbytes * margin <= budget:
                return Coding("jpeg", quality, round(nbytes))
        least = LEAST_VIDEO * self._pixels / 8
        for shrink in SHRINKS:
            if least / shrink**2 <= budget:
                return Coding("h264", 0, int(budget), shrink)
        return Coding("h264", 0, max(1, int(least / SHRINKS[-1] ** 2)), SHRINKS[-1])

    def learn(self, coding: Coding, nbytes: int) -> None:
        """What a picture has taken that was coded so; of H.264 nothing is to be learnt."""
        if coding.codec == "jpeg" and coding.nbytes > 0:
            now = self._richness * nbytes / coding.nbytes
            self._richness += _SLOWLY * (now - self._richness)
            self._richness = min(max(self._richness, 1 / _STRANGEST), _STRANGEST)
