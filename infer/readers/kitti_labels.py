"""KITTI's labels and results: one object a line, of the object and the tracking benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from infer.readers.files import read_bytes
from infer.readers.refusal import unreadable

MAX_BYTES = 16 << 20
MAX_OBJECTS = 200_000
DONT_CARE = "DontCare"  # a region of the picture where nothing was labelled
_OBJECT, _TRACKING = 15, 17  # words of a line, without a score


@dataclass(frozen=True, slots=True)
class Label:
    """One object.

    frame, track: of the tracking benchmark, else 0 and -1. truncated: share of it outside of the
    picture (the tracking benchmark's: 0, 1, 2). occluded: 0 seen whole, to 3 unknown. alpha:
    viewing angle, radians. box: left, top, right, bottom, pixels. size: length, width, height,
    metres. place: middle of its underside, "rect" frame (x right, y down, z ahead). turn: about y,
    radians, of its length from x. score: of a result, else 1.
    """

    category: str
    box: tuple[float, float, float, float]
    size: tuple[float, float, float]
    place: tuple[float, float, float]
    turn: float
    truncated: float
    occluded: int
    alpha: float
    score: float = 1.0
    frame: int = 0
    track: int = -1


def read_labels(path: Path) -> list[Label]:
    """A file of either benchmark, told apart by the number of words. Raises ContentRefused."""
    lines = read_bytes(path, MAX_BYTES).decode("utf-8", "replace").splitlines()
    if len(lines) > MAX_OBJECTS:
        raise unreadable(path, f"it has {len(lines)} lines, and at most {MAX_OBJECTS} are read")
    found = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        try:
            if words:
                found.append(_label(words))
        except (ValueError, IndexError) as problem:
            raise unreadable(path, f"line {number} is no label ({problem})") from problem
    return found


def _label(words: list[str]) -> Label:
    frame, track = 0, -1
    if len(words) >= _TRACKING:
        frame, track = int(words[0]), int(words[1])
        words = words[2:]
    if not _OBJECT <= len(words) <= _OBJECT + 1:
        raise ValueError(f"it has {len(words)} words")
    numbers = [float(word) for word in words[1:]]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number is not finite")
    truncated, occluded, alpha, left, top, right, bottom, height, width, length, x, y, z, turn = (
        numbers[: _OBJECT - 1]
    )
    return Label(
        words[0],
        (left, top, right, bottom),
        (length, width, height),
        (x, y, z),
        turn,
        truncated,
        int(occluded),
        alpha,
        numbers[_OBJECT - 1] if len(words) > _OBJECT else 1.0,
        frame,
        track,
    )
