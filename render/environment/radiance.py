"""Radiance pictures (.hdr): shared exponents, run lengths per channel.

Format: Greg Ward, "Real Pixels", Graphics Gems II, 1991, and Radiance's `color.c`.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from render.environment.refusal import check_size, refused

MAGIC = b"#?"
_HEADER_BYTES = 4096
_RESOLUTION = re.compile(rb"-Y +(\d{1,6}) +\+X +(\d{1,6})")
_RUN_LENGTH_WIDTHS = range(8, 32768)  # narrower and wider lines are stored plain


def read(data: memoryview) -> NDArray[np.float32]:
    """Linear RGB radiance, float32 (height, width, 3), top row first. Raises ContentRefused."""
    (width, height), exposure, start = _header(bytes(data[:_HEADER_BYTES]))
    check_size(width, height)
    body = data[start:]
    if width in _RUN_LENGTH_WIDTHS and bytes(body[:2]) == b"\2\2":
        rgbe = _run_lengths(bytes(body), width, height)
    else:
        if len(body) < 4 * width * height:
            raise refused("it is cut off")
        rgbe = np.frombuffer(body, np.uint8, 4 * width * height).reshape(height, width, 4)
    mantissa, exponent = rgbe[..., :3], rgbe[..., 3:].astype(np.int32)
    # A mantissa stands for the middle of its step; an exponent of 0 is black.
    scale = np.where(exponent > 0, np.ldexp(1.0, exponent - (128 + 8)), 0.0) / exposure
    with np.errstate(over="ignore"):
        return ((mantissa + 0.5) * scale).astype(np.float32)


def _header(head: bytes) -> tuple[tuple[int, int], float, int]:
    """((width, height), exposure, where the pixels begin)."""
    lines, blank, rest = head.partition(b"\n\n")
    size, newline, _ = rest.partition(b"\n")
    shape = _RESOLUTION.fullmatch(size)
    if not blank or not newline or shape is None:
        raise refused(
            "its header does not end in '-Y height +X width'",
            "Save it upright, the first row on top.",
        )
    if b"FORMAT=32-bit_rle_rgbe" not in lines:
        raise refused("its FORMAT is not 32-bit_rle_rgbe", "Save it as RGB, not XYZ.")
    exposure = 1.0  # every EXPOSURE line has been multiplied in
    for line in lines.split(b"\n"):
        if line.startswith(b"EXPOSURE="):
            exposure *= _number(line[9:])
    if not 1e-12 < exposure < 1e12:
        raise refused(f"its exposure is {exposure:g}")
    return (int(shape[2]), int(shape[1])), exposure, len(lines) + 2 + len(size) + 1


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise refused(f"its exposure is {text[:40]!r}") from None


def _run_lengths(body: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """uint8 (height, width, 4): each line has a mark, then its four channels one by one.

    Every line takes at least a byte per 127 of its pixels, so a short file ends soon.
    """
    planes = np.empty((height, 4 * width), np.uint8)
    mark = bytes((2, 2, width >> 8, width & 255))
    at = 0
    for row in range(height):
        if body[at : at + 4] != mark:
            raise refused(f"row {row} is cut off or of another length")
        line, at = _line(body, at + 4, width)
        planes[row] = np.frombuffer(line, np.uint8)
    return planes.reshape(height, 4, width).transpose(0, 2, 1)


def _line(body: bytes, at: int, width: int) -> tuple[bytes, int]:
    """Four channels of `width` bytes each, and where they end."""
    parts = []
    for _ in range(4):
        left = width
        while left:
            if at + 1 >= len(body):
                raise refused("it is cut off")
            count = body[at]
            if count > 128:  # a run
                count -= 128
                parts.append(body[at + 1 : at + 2] * count)
                at += 2
            else:
                parts.append(body[at + 1 : at + 1 + count])
                at += 1 + count
            left -= count
            if left < 0 or not count or at > len(body):
                raise refused("its run lengths do not add up")
    return b"".join(parts), at
