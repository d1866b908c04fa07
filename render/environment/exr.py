"""OpenEXR pictures (.exr), decoded by OpenEXR's own library (the extra `scenes`).

The header is read here first: the library sees only plain RGB pictures of a bounded size.
Format: https://openexr.com/en/latest/OpenEXRFileLayout.html.
"""

from __future__ import annotations

import os
import struct
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from render.environment.refusal import check_size, refused

MAGIC = b"\x76\x2f\x31\x01"
INSTALL = "Install its decoder, `pip install 'framemesh[scenes]'`, or convert it to .hdr."
_VERSION = 2
_DEEP_OR_SEVERAL = 0x800 | 0x1000  # of the version field's flags
_MOST_ATTRIBUTES, _LONGEST_NAME = 256, 256
_BOX = struct.Struct("<iiii")  # x and y of the first and the last pixel
_RGB = ("R", "G", "B")


def read(data: memoryview) -> NDArray[np.float32]:
    """Linear RGB radiance, float32 (height, width, 3), top row first. Raises ContentRefused."""
    width, height = _size(data)
    check_size(width, height)
    try:
        library = import_module("OpenEXR")
    except ImportError:
        raise refused("OpenEXR, which decodes it, is not installed", INSTALL) from None
    # The library reads files only; this one is nobody else's, and gone when it is closed.
    descriptor = os.memfd_create("environment", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        channels = _decode(library, f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    if channels.shape != (height, width, 3):
        raise refused(f"it decodes to {channels.shape} instead of {height}x{width} RGB")
    return channels


def _decode(library: Any, path: str) -> NDArray[np.float32]:
    """(height, width, 3); the library's own exceptions are many."""
    try:
        with library.File(path, separate_channels=True) as file:
            found = file.channels()
            missing = [name for name in _RGB if name not in found]
            if missing:
                raise refused(f"it has no channel {missing[0]}", "Save it as RGB.")
            planes = [np.asarray(found[name].pixels, np.float32) for name in _RGB]
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as damage:
        raise refused(f"it is damaged: {str(damage)[:200]}") from damage
    if len({plane.shape for plane in planes}) != 1:
        raise refused("its channels differ in size")
    return np.stack(planes, axis=-1)


def _size(data: memoryview) -> tuple[int, int]:
    """Width and height, from the attribute `dataWindow`."""
    if len(data) < 8:
        raise refused("it is cut off")
    version = int.from_bytes(data[4:8], "little")
    if version & 0xFF != _VERSION or version & _DEEP_OR_SEVERAL:
        raise refused("it is deep or has several parts", "Save it as one flat picture.")
    at = 8
    for _ in range(_MOST_ATTRIBUTES):
        name, at = _text(data, at)
        if not name:
            break
        _, at = _text(data, at)  # its type
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if name == b"dataWindow" and size == _BOX.size and at + size <= len(data):
            left, top, right, bottom = _BOX.unpack_from(data, at)
            return right - left + 1, bottom - top + 1
        at += size
    raise refused("its header has no dataWindow")


def _text(data: memoryview, at: int) -> tuple[bytes, int]:
    """A text that ends in a zero byte, and where it ends."""
    text, zero, _ = bytes(data[at : at + _LONGEST_NAME]).partition(b"\0")
    if not zero:
        raise refused("its header does not end")
    return text, at + len(text) + 1
