"""From an environment's bytes to half-precision pixels, whatever its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesh.core.workload import Asset, Buffer
from render.environment import exr, radiance
from render.environment.limits import MAX_ENVIRONMENT_BYTES
from render.environment.refusal import refused

_BRIGHTEST = 65_504.0  # the largest half
_BLOCK = 8  # texels a side of what lossy compressions (DWA) transform at once


def decode_environment(data: Buffer) -> NDArray[np.float16]:
    """Linear RGB radiance and 1: float16 (height, width, 4), finite, >= 0.

    What is brighter than a half can say is as bright as it can; where lossy compression rings
    below zero, the light of each block stays what it is. Raises ContentRefused if the bytes are of
    neither format, damaged, or over a limit.
    """
    view = memoryview(data).cast("B")
    check_head(view)
    read = radiance.read if bytes(view[:2]) == radiance.MAGIC else exr.read
    rgb = read(view)
    pixels = np.ones((*rgb.shape[:2], 4), np.float16)
    pixels[..., :3] = _settled(np.nan_to_num(rgb, nan=0.0).clip(-_BRIGHTEST, _BRIGHTEST))
    return pixels


def _settled(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without negative light: what a block has of it is taken from the block's positive light.

    Around a small sun it is much: cut off instead, it would make the picture brighter by a sixth.
    """
    if not (rgb < 0).any():
        return rgb
    height, width = rgb.shape[:2]
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    blocks = np.zeros((rows * _BLOCK, columns * _BLOCK, 3), np.float64)
    blocks[:height, :width] = rgb
    blocks = blocks.reshape(rows, _BLOCK, columns, _BLOCK, 3)
    positive = blocks.clip(0.0)
    total, bright = (each.sum(axis=(1, 3), keepdims=True) for each in (blocks, positive))
    positive *= (total / np.where(bright > 0, bright, 1.0)).clip(0.0)
    whole = positive.reshape(rows * _BLOCK, columns * _BLOCK, 3)
    return whole[:height, :width].astype(np.float32)


def pack_environment(path: Path) -> Asset:
    """The file as an asset; whether all of it is sound, only a device finds out.

    Blocks on the file: call in a thread. Raises ContentRefused if it cannot be read, is too large,
    or begins like neither format.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ENVIRONMENT_BYTES + 1)
    except OSError as problem:
        raise refused(
            f"it cannot be read ({problem})", "Check [workloads.render.environments]."
        ) from None
    check_head(memoryview(data))
    return Asset(path.stem, data)


def check_head(data: memoryview) -> None:
    """Raises ContentRefused if the bytes are too many, or of neither format."""
    if len(data) > MAX_ENVIRONMENT_BYTES:
        raise refused(
            f"it has {len(data)} bytes or more; the limit is {MAX_ENVIRONMENT_BYTES}",
            "Scale it down: light needs fewer pixels than a background.",
        )
    if bytes(data[:2]) != radiance.MAGIC and bytes(data[:4]) != exr.MAGIC:
        raise refused("it is neither Radiance (.hdr) nor OpenEXR (.exr)", "Convert it to one.")
