"""Which quantiser each picture is encoded with, so that a bitrate is kept. Pure.

Frame-level rate control for one-pass encoding without look-ahead. It learns what a picture costs
at each quantiser, for whole pictures (I) and for differences (P): a picture that was encoded moves
its curve to what it cost, and the rest of the curve half-way along. How much a picture differs
from the one before is seen ahead of time, from a few of its rows, so that a change of scene is
quantised as one; no other picture's size is known before it is encoded.

Costs are the logarithm of bits, to base 2: a quantiser up six halves H.264's steps (ITU-T H.264,
section 8.5), and about halves what a picture costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 16, 51  # below 16 nothing is gained that anyone sees
STEP_DOWN, STEP_UP, CUT_STEP_UP = 2, 4, 12  # between two pictures; where the scene changes
FAR = 2.0  # a quarter of what a picture may cost
CUT = 4.0  # a picture that differs so many times as much as the one before is another scene
WHOLE_SHARE = 4.0  # of a mean picture's bits may be spent on a whole one
WHOLE_FINER = 3  # than the picture before it, at most
FLATTEST, STEEPEST = 1 / 12, 0.8  # what one quantiser step can change the cost by
OWED, SAVED = 8, 2  # pictures over which what was sent too much, or too little, is made up for
MOST_OWED, MOST_SAVED = 60.0, 1.0  # mean pictures; no path keeps more waiting
EVERY_ROW = 32
FOLLOW = 0.5  # of an error that is taken for a change of the whole curve
_STILL = 0.05  # of a level: a difference that costs nothing
_LEAST_BITS = 256.0
_QUANTISERS = np.arange(MOST + 1, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a picture ahead of time, in levels of 255.

    change: mean difference to the picture before. detail: between neighbouring pixels.
    """

    change: float
    detail: float


class Eye:
    """Looks at a stream's pictures in their order. height: of the luma rows, which come first."""

    def __init__(self, height: int) -> None:
        self._height = height
        self._last: NDArray[np.uint8] | None = None

    def look(self, picture: NDArray[np.uint8], *, closely: bool) -> Look:
        """closely: tell the detail too, which is 0 else."""
        rows = picture[: self._height : EVERY_ROW].copy()
        last, self._last = self._last, rows
        change = 255.0 if last is None else _mean_difference(rows, last)
        return Look(change, _mean_difference(rows[:, 1:], rows[:, :-1]) if closely else 0.0)


def _mean_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return (
        float(np.add.reduce(np.maximum(a, b) - np.minimum(a, b), axis=None, dtype=np.uint32))
        / a.size
    )


class Curve:
    """What a picture costs at each quantiser."""

    def __init__(self, cost: float, at: int) -> None:
        self._costs = cost - (_QUANTISERS - at) / 6

    def cost(self, quantiser: int) -> float:
        """To base 2."""
        return float(self._costs[quantiser])

    def learn(self, quantiser: int, cost: float) -> None:
        """That is what it cost."""
        steps = _QUANTISERS - quantiser
        flat, steep = cost - FLATTEST * steps, cost - STEEPEST * steps
        moved = self._costs + FOLLOW * (cost - self._costs[quantiser])
        self._costs = np.clip(moved, np.minimum(flat, steep), np.maximum(flat, steep))

    def finest(self, cost: float, least: int, most: int) -> int:
        """The least quantiser from `least` to `most` that costs no more; `most` if none does."""
        affordable = self._costs[least:most] <= cost
        return least + int(affordable.argmax()) if affordable.any() else most


def _cost(bits: float) -> float:
    return math.log2(max(bits, _LEAST_BITS))


class Quantiser:
    """One stream's rate control: `choose`, encode, `encoded`, picture by picture.

    pixels: of a picture. bps: bits per second at `fps` pictures per second.
    """

    def __init__(self, pixels: int, fps: float, bps: int) -> None:
        self._fps = fps
        self._mean_bits = bps / fps
        self._whole = Curve(math.log2(max(pixels, 1)) - 3.0, 26)  # for one level of detail
        self._difference: Curve | None = None  # for one level of change
        self._owed_bits = 0.0  # sent above the bitrate
        self._last: int | None = None
        self._chosen = (False, LEAST, 0.0)  # whole, quantiser, what was added to the curve's cost
        self._change = math.inf  # of the last picture that was a difference

    def set_bitrate(self, bps: int) -> None:
        """From the next picture on."""
        self._mean_bits = bps / self._fps

    def choose(self, whole: bool, look: Look) -> int:
        """A quantiser for the next picture, LEAST to MOST."""
        whole = whole or self._last is None
        choose = self._for_whole if whole else self._for_difference
        quantiser, added = choose(look)
        self._chosen = (whole, quantiser, added)
        return quantiser

    def _for_whole(self, look: Look) -> tuple[int, float]:
        added = math.log2(max(look.detail, _STILL))
        bits = WHOLE_SHARE * self._mean_bits - max(self._owed_bits, 0.0)
        wanted = _cost(max(bits, self._mean_bits)) - added
        least = LEAST if self._last is None else max(LEAST, self._last - WHOLE_FINER)
        return self._whole.finest(wanted, least, MOST), added

    def _for_difference(self, look: Look) -> tuple[int, float]:
        assert self._last is not None
        last, before = self._last, self._change
        self._change = max(look.change, _STILL)
        added = math.log2(self._change)
        curve = self._difference = self._difference or self._first_guess()
        bits = self._mean_bits - self._owed_bits / (OWED if self._owed_bits > 0 else SAVED)
        wanted = _cost(max(bits, self._mean_bits / 2)) - added
        down = STEP_DOWN if wanted - curve.cost(last) > FAR else 1
        up = CUT_STEP_UP if self._change > CUT * before else STEP_UP
        return curve.finest(wanted, max(LEAST, last - down), min(MOST, last + up)), added

    def encoded(self, nbytes: int) -> None:
        """What the picture came to."""
        whole, quantiser, added = self._chosen
        bits = nbytes * 8
        curve = self._whole if whole else self._difference
        assert curve is not None
        curve.learn(quantiser, _cost(bits) - added)
        owed = self._owed_bits + bits - self._mean_bits
        most, least = MOST_OWED * self._mean_bits, -MOST_SAVED * self._mean_bits
        self._owed_bits = min(max(owed, least), most)
        self._last = quantiser

    def _first_guess(self) -> Curve:
        """A level of change costs what a level of detail does in a whole picture."""
        return Curve(self._whole.cost(26), 26)
