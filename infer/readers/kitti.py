"""KITTI's velodyne files: float32 x y z reflectance, no header, in the sensor's frame.

Format: A. Geiger et al., "Vision meets Robotics: The KITTI Dataset", IJRR 2013. Raw recordings and
the object benchmark share it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infer.sweep import MAX_POINTS, POINT_BYTES
from mesh.core.errors import ContentRefused

PERIOD_US = 100_000  # the sensor turns at 10 Hz


def read_points(path: Path) -> NDArray[np.float32]:
    """The sweep in one file: (n, 4), metres, x forward, y left, z up, reflectance 0..1.

    Raises ContentRefused if it cannot be read, is no whole number of points or has too many.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POINTS * POINT_BYTES + 1)
    except OSError as problem:
        raise _refused(path, str(problem)) from problem
    _check_size(path, len(data))
    return np.frombuffer(data, "<f4").reshape(-1, 4)


def check_size(path: Path) -> None:
    """What can be told of a file without reading it. Raises ContentRefused as `read_points`."""
    try:
        size = path.stat().st_size
    except OSError as problem:
        raise _refused(path, str(problem)) from problem
    _check_size(path, size)


def list_sweeps(folder: Path) -> list[Path]:
    """The .bin files of a folder, or of its velodyne_points/data or velodyne, in order.

    Raises ContentRefused if there are none.
    """
    for place in (folder, folder / "velodyne_points" / "data", folder / "velodyne"):
        found = sorted(place.glob("*.bin"))
        if found:
            return found
    raise _refused(folder, "it holds no .bin files, nor do its usual folders")


def _check_size(path: Path, size: int) -> None:
    if size > MAX_POINTS * POINT_BYTES:
        raise _refused(path, f"it has more than {MAX_POINTS} points")
    if size % POINT_BYTES:
        raise _refused(path, f"{size} bytes are no whole number of points of {POINT_BYTES}")


def _refused(path: Path, why: str) -> ContentRefused:
    return ContentRefused(
        what=f"{path} cannot be read as KITTI sweeps",
        why=why,
        fix="Give a folder of velodyne .bin files: float32 x y z reflectance.",
    )
