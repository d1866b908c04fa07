"""nuScenes-style recordings: .pcd.bin sweeps and JPEG pictures whose names end in their stamps.

Sweeps are float32 x y z intensity ring, no header, intensity 0..255, x to the right, y ahead, z up,
in the scanner's frame (H. Caesar et al., "nuScenes: A multimodal dataset for autonomous driving",
CVPR 2020). Files are named RECORDING__SENSOR__STAMP, stamps in microseconds, and lie in a folder of
the sensor's name; those of samples and of sweeps belong together. Where sensors are mounted is in
the dataset's tables, which are not read: the calibration is empty.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration
from infer.frames.measurements import MAX_IMAGE_BYTES, CameraImage, LidarScan
from infer.readers.files import read_bytes
from infer.readers.refusal import unreadable
from infer.sweep import MAX_POINTS

LIDAR = "LIDAR_TOP"
POINT_BYTES = 20
NEAR_US = 50_000  # a picture farther than this from a sweep belongs to another
_NAME = re.compile(r".*__(?P<sensor>\w{1,64})__(?P<stamp>\d{1,18})\.(?:pcd\.bin|jpg)")


def read_points(path: Path) -> LidarScan:
    """One sweep. Raises ContentRefused."""
    data = read_bytes(path, MAX_POINTS * POINT_BYTES)
    if len(data) % POINT_BYTES:
        raise unreadable(path, f"{len(data)} bytes are no whole number of points of {POINT_BYTES}")
    rows = np.frombuffer(data, "<f4").reshape(-1, 5)
    points = rows[:, :4] * np.array([1, 1, 1, 1 / 255], np.float32)
    rings = np.clip(np.nan_to_num(rows[:, 4]), 0, 65535).astype(np.uint16)
    return LidarScan(LIDAR, LIDAR, _stamp_us(path), points, rings=rings)


def read_frames(folder: Path, *, cameras: bool = True) -> Iterator[SensorFrame]:
    """One for each sweep, in order, with each camera's nearest picture; read as its turn comes.

    cameras: whether pictures are wanted. folder: holds samples and sweeps, or the sensors' folders,
    or is the scanner's itself.
    Raises ContentRefused, at once for what can be known at once.
    """
    places = [folder / "samples", folder / "sweeps", folder]
    sweeps = sorted(
        {p for place in (*places, folder.parent) for p in place.glob(f"{LIDAR}/*.pcd.bin")},
        key=_stamp_us,
    )
    if not sweeps:
        raise unreadable(folder, f"it holds no {LIDAR}/*.pcd.bin", "Name the folder above samples.")
    for path in sweeps:
        if (size := path.stat().st_size) > MAX_POINTS * POINT_BYTES or size % POINT_BYTES:
            raise unreadable(path, f"{size} bytes are no sweep")
    pictures: dict[str, list[Path]] = {}
    for place in places if cameras else ():
        for path in place.glob("CAM_*/*.jpg"):
            pictures.setdefault(path.parent.name, []).append(path)
    stamped = {name: sorted((_stamp_us(p), p) for p in pictures[name]) for name in sorted(pictures)}
    return (_read(path, stamped) for path in sweeps)


def _read(path: Path, pictures: dict[str, list[tuple[int, Path]]]) -> SensorFrame:
    scan, cameras = read_points(path), []
    for name, stamped in pictures.items():
        stamp_us, nearest = _nearest(stamped, scan.stamp_us)
        if abs(stamp_us - scan.stamp_us) <= NEAR_US:
            data = read_bytes(nearest, MAX_IMAGE_BYTES)
            cameras.append(CameraImage.encoded(name, name, stamp_us, data))
    return SensorFrame(scan.stamp_us, Calibration(()), (scan,), tuple(cameras))


def _nearest(stamped: Sequence[tuple[int, Path]], stamp_us: int) -> tuple[int, Path]:
    at = bisect_left(stamped, stamp_us, key=lambda entry: entry[0])
    return min(stamped[max(0, at - 1) : at + 1], key=lambda entry: abs(entry[0] - stamp_us))


def _stamp_us(path: Path) -> int:
    if (found := _NAME.fullmatch(path.name)) is None:
        raise unreadable(path, "its name does not end in a sensor and a stamp")
    return int(found["stamp"])
