"""Pictures inside a scene: PNG and JPEG through Pillow, measured before they are decoded."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from mesh.core.errors import ContentRefused
from mesh.core.workload import Buffer
from render.gltf.limits import MAX_IMAGE_SIDE, MAX_PIXELS, MAX_SCANS
from render.gltf.refusal import refused
from render.scene import Image

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": ("PNG", "image/png"), b"\xff\xd8\xff": ("JPEG", "image/jpeg")}
_START_OF_SCAN = b"\xff\xda"  # within pixels it cannot be: there a zero follows 0xff
_LIMITS = f"the limits are {MAX_IMAGE_SIDE} a side and {MAX_PIXELS} in all"
_SMALLER = "Use smaller textures."
_CONVERT = "Store the texture as an 8-bit PNG or JPEG."


def sniff(data: Buffer) -> tuple[str, str] | None:
    """Pillow's format name and the media type, told from the first bytes; None if neither."""
    head = bytes(data[:8])
    for signature, names in _SIGNATURES.items():
        if head.startswith(signature):
            return names
    return None


class Images:
    """Decodes pictures, and keeps count of their pixels."""

    def __init__(self) -> None:
        self._pixels = 0

    def decode(self, data: memoryview, name: str, place: str) -> Image:
        """An image as RGBA8, colour as stored (profiles and orientation tags do not apply).

        Raises ContentRefused if it is not a PNG or JPEG, is damaged, or is over a limit; the
        limits are checked on the header, before anything is decompressed.
        """
        names = sniff(data)
        if names is None:
            raise refused(place, "it is neither PNG nor JPEG", _CONVERT)
        if names[0] == "JPEG" and bytes(data).count(_START_OF_SCAN) > MAX_SCANS:
            raise refused(place, f"it has over {MAX_SCANS} scans", _CONVERT)
        try:
            with Pillow.open(io.BytesIO(data), formats=(names[0],)) as picture:
                self._charge(picture.width, picture.height, place)
                rgba8 = _to_rgba8(picture)
        except ContentRefused:
            raise
        except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as bomb:
            raise refused(place, f"{bomb}; {_LIMITS}", _SMALLER) from None
        except Exception as damage:  # on damage Pillow's parsers raise whatever comes up
            raise refused(place, f"it is damaged: {damage}", _CONVERT) from damage
        rgba8.flags.writeable = False
        return Image(rgba8, name)

    def _charge(self, width: int, height: int, place: str) -> None:
        self._pixels += width * height
        if max(width, height) > MAX_IMAGE_SIDE or self._pixels > MAX_PIXELS:
            raise refused(
                place,
                f"{width}x{height} pixels make {self._pixels} in the scene; {_LIMITS}",
                _SMALLER,
            )


def _to_rgba8(picture: Pillow.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow's convert would clip to white
        grey = (np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8)
        opaque = np.full_like(grey, 255)
        return np.stack((grey, grey, grey, opaque), axis=-1)
    return np.array(picture.convert("RGBA"), dtype=np.uint8)
