"""OpenEXR pictures (.exr), decoded by OpenEXR's own library (the extra `scenes`).

The header is read here first: the library sees only plain RGB pictures of a bounded size.
Format: https://openexr.com/en/latest/OpenEXRFileLayout.html.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
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
_DECISIVE = (b"dataWindow", b"channels", b"tiles")
_BOX = struct.Struct("<iiii")  # x and y of the first and the last pixel
_TILES = struct.Struct("<IIB")  # their width, height and levels
_LARGEST_TILE = 4096
_CHANNEL_BYTES = 16  # behind a channel's name: type, linearity, sampling
_MOST_CHANNELS = 8  # the library decodes all of them
_RGB = ("R", "G", "B")


def read(data: memoryview) -> NDArray[np.float32]:
    """Linear RGB radiance, float32 (height, width, 3), top row first. Raises ContentRefused."""
    width, height = _check_header(data)
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


def _check_header(data: memoryview) -> tuple[int, int]:
    """Width and height; raises ContentRefused if the library would take more than they say.

    What decides about memory must be there once: of several the library takes the last.
    """
    decisive: dict[bytes, bytes] = {}
    for name, value in _attributes(data):
        if name in decisive:
            raise refused(f"its header has two attributes {name.decode()}")
        if name in _DECISIVE:
            decisive[name] = value
    if len(decisive.get(b"dataWindow", b"")) != _BOX.size:
        raise refused("its header has no dataWindow")
    left, top, right, bottom = _BOX.unpack(decisive[b"dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    check_size(width, height)
    channels = _count_channels(decisive.get(b"channels", b""))
    if channels > _MOST_CHANNELS:
        raise refused(f"it has over {_MOST_CHANNELS} channels", "Save it as RGB.")
    tile = decisive.get(b"tiles", b"")
    if tile and (len(tile) != _TILES.size or max(_TILES.unpack(tile)[:2]) > _LARGEST_TILE):
        raise refused(f"its tiles are over {_LARGEST_TILE} pixels a side", "Save it in scanlines.")
    return width, height


def _attributes(data: memoryview) -> Iterator[tuple[bytes, bytes]]:
    """(name, value) of each, in the file's order."""
    if len(data) < 8:
        raise refused("it is cut off")
    version = int.from_bytes(data[4:8], "little")
    if version & 0xFF != _VERSION or version & _DEEP_OR_SEVERAL:
        raise refused("it is deep or has several parts", "Save it as one flat picture.")
    at = 8
    for _ in range(_MOST_ATTRIBUTES):
        name, at = _text(data, at)
        if not name:
            return
        _, at = _text(data, at)  # its type
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + size > len(data):
            break
        yield name, bytes(data[at : at + size])
        at += size
    raise refused("its header does not end")


def _count_channels(listed: bytes) -> int:
    """How many a `chlist` names, counted no further than one more than may be."""
    count, at = 0, 0
    while at < len(listed) and listed[at] and count <= _MOST_CHANNELS:
        _, at = _text(memoryview(listed), at)
        at += _CHANNEL_BYTES
        count += 1
    return count


def _text(data: memoryview, at: int) -> tuple[bytes, int]:
    """A text that ends in a zero byte, and where it ends."""
    text, zero, _ = bytes(data[at : at + _LONGEST_NAME]).partition(b"\0")
    if not zero:
        raise refused("its header does not end")
    return text, at + len(text) + 1
