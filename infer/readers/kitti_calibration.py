"""KITTI's calibration files: one for all sensors (object, tracking), or one for each pair (raw).

Frames of reference: "ego" is the inertial unit's (x forward, y left, z up), "lidar" the scanner's,
"camera" the first grey camera's, "rect" the rectified one's, in which all four cameras see. Keys as
of the benchmarks' development kits (A. Geiger et al., "Vision meets Robotics", IJRR 2013).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infer.frames.calibration import Calibration, Camera
from infer.frames.pose import Pose
from infer.readers.files import read_bytes
from infer.readers.refusal import read_from, unreadable

CAMERAS = 4
MAX_BYTES = 64 * 1024
USUAL_SIZE = (1242, 375)

Numbers = Mapping[str, NDArray[np.float64]]


def read_numbers(path: Path) -> Numbers:
    """The lines "KEY: numbers" of a file, or "KEY numbers"; others (dates) are left out.

    Raises ContentRefused.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for line in read_bytes(path, MAX_BYTES).decode("utf-8", "replace").splitlines():
        key, *words = line.replace(":", " ", 1).split()[:64] or [""]
        try:
            found[key] = np.array([float(word) for word in words])
        except ValueError:
            continue
    return found


def read_calibration(path: Path, size: tuple[int, int] = USUAL_SIZE) -> Calibration:
    """A single file's, as of the object and tracking benchmarks. size: of pictures.

    Cameras, and the inertial unit, are those that it knows of: files are passed around that were
    cut down to what one picture and one sweep need. Raises ContentRefused.
    """
    numbers = read_numbers(path)
    rect = numbers.get("R0_rect", numbers.get("R_rect"))
    known = numbers.keys() & {"Tr_imu_to_velo", "Tr_imu_velo"}
    cameras = [i for i in range(CAMERAS) if f"P{i}" in numbers]
    return _calibration(
        path,
        lidar=_matrix(path, numbers, "Tr_velo_to_cam", "Tr_velo_cam"),
        imu=_matrix(path, numbers, *known) if known else None,
        rect=np.eye(3).reshape(-1) if rect is None else rect,
        cameras={i: (_matrix(path, numbers, f"P{i}"), size) for i in cameras},
    )


def read_raw_calibration(folder: Path) -> Calibration:
    """A recording day's three files. Raises ContentRefused."""
    cameras = folder / "calib_cam_to_cam.txt"
    numbers = read_numbers(cameras)
    sizes = [numbers.get(f"S_rect_{i:02}", np.array(USUAL_SIZE)) for i in range(CAMERAS)]
    if any(len(size) != 2 or not 1 <= min(size) <= max(size) <= 1 << 14 for size in sizes):
        raise unreadable(cameras, "a picture's size (S_rect) is none")
    return _calibration(
        folder,
        lidar=_motion(folder / "calib_velo_to_cam.txt"),
        imu=_motion(folder / "calib_imu_to_velo.txt"),
        rect=numbers.get("R_rect_00", np.eye(3).reshape(-1)),
        cameras={
            i: (_matrix(cameras, numbers, f"P_rect_{i:02}"), (int(size[0]), int(size[1])))
            for i, size in enumerate(sizes)
        },
    )


def _calibration(
    path: Path,
    *,
    lidar: NDArray[np.float64],
    imu: NDArray[np.float64] | None,
    rect: NDArray[np.float64],
    cameras: Mapping[int, tuple[NDArray[np.float64], tuple[int, int]]],
) -> Calibration:
    """lidar: camera_from_lidar (12,); imu: lidar_from_ego (12,); rect: a rotation (9,).

    cameras: by number, projection (12,) and size of pictures.
    """
    if rect.shape != (9,):
        raise unreadable(path, f"its rectification has {rect.size} numbers, not 9")
    with read_from(path):
        poses = [
            Pose.from_matrix("camera", "lidar", lidar.reshape(3, 4)),
            Pose("rect", "camera", rect.reshape(3, 3), np.zeros(3)),
        ]
        if imu is not None:
            poses.append(Pose.from_matrix("lidar", "ego", imu.reshape(3, 4)))
        seen = {
            f"image_{i:02}": Camera(rows.reshape(3, 4), size) for i, (rows, size) in cameras.items()
        }
        return Calibration(tuple(poses), seen)


def _matrix(path: Path, numbers: Numbers, *keys: str) -> NDArray[np.float64]:
    for key in keys:
        if key in numbers and numbers[key].shape == (12,) and np.isfinite(numbers[key]).all():
            return numbers[key]
    raise unreadable(path, f"it has no line {keys[0]} of twelve numbers")


def _motion(path: Path) -> NDArray[np.float64]:
    """(12,), of a file with a rotation R and a translation T."""
    numbers = read_numbers(path)
    rotation, translation = numbers.get("R"), numbers.get("T")
    if rotation is None or translation is None or (rotation.size, translation.size) != (9, 3):
        raise unreadable(path, "it has no R of nine numbers and T of three")
    return np.column_stack((rotation.reshape(3, 3), translation)).reshape(-1)
