"""Argoverse 2 logs: LiDAR sweeps in Feather files, ego poses, calibration, cameras, annotations.

Format: B. Wilson et al., "Argoverse 2: Next generation datasets for self-driving perception and
forecasting", NeurIPS 2021; layout as of github.com/argoverse/av2-api. Frames of reference: "world"
is the city's; "ego" stands on the rear axle, x forward, y left, z up; cameras' by their names.
Points are in the ego frame of the sweep's stamp, and the vehicle's motion within the sweep is
already compensated. Both LiDARs (32 lasers each) are in one scan, "lidar", rings 0..63.

The files of a log lie in their folders (sensors/lidar, calibration), or all in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration, Camera
from infer.frames.measurements import MAX_IMAGE_BYTES, CameraImage, EgoPose, LidarScan
from infer.frames.pose import Pose
from infer.readers.columns import Columns, read_columns
from infer.readers.files import read_bytes
from infer.readers.refusal import read_from, unreadable
from infer.sweep import MAX_POINTS

LIDAR = "lidar"
MAX_ROWS = 4_000_000  # of poses or annotations
MAX_SWEEPS = 100_000
NEAR_US = 50_000  # a picture farther than this from a sweep belongs to another

_POSE = dict.fromkeys(("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"), "f")


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The annotations of one sweep, ego frame: n boxes, each about its centre.

    tracks, categories: str (n,). sizes: float64 (n, 3), length, width, height. poses: ego_from_box.
    points: int64 (n,), how many lie inside.
    """

    stamp_us: int
    tracks: NDArray[np.str_]
    categories: NDArray[np.str_]
    sizes: NDArray[np.float64]
    poses: Sequence[Pose]
    points: NDArray[np.int64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """(n, 3), metres, ego frame."""
        return np.array([pose.translation for pose in self.poses]).reshape(-1, 3)

    @property
    def yaws(self) -> NDArray[np.float64]:
        """(n,), radians about z, of each box's length from x."""
        forward = np.array([pose.rotation[:, 0] for pose in self.poses]).reshape(-1, 3)
        yaws: NDArray[np.float64] = np.arctan2(forward[:, 1], forward[:, 0])
        return yaws


def read_sweep(path: Path) -> LidarScan:
    """One sweep; its name is its stamp in nanoseconds. Raises ContentRefused."""
    kinds = {"x": "f", "y": "f", "z": "f", "intensity": "u", "laser_number": "u", "offset_ns": "i"}
    columns = read_columns(path, kinds, MAX_POINTS)
    points = np.column_stack([columns[name].astype(np.float32) for name in ("x", "y", "z")])
    intensity = columns["intensity"].astype(np.float32) / 255
    return LidarScan(
        LIDAR,
        "ego",
        _stamp_ns(path) // 1000,
        np.column_stack((points, intensity)),
        (columns["offset_ns"] // 1000).astype(np.int32),
        columns["laser_number"].astype(np.uint16),
    )


class Log:
    """One log's folder. Raises ContentRefused, at once for what can be known at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        places = (folder / "sensors" / "lidar", folder)
        found = [p for place in places for p in place.glob("*.feather") if p.stem.isdecimal()]
        if not 0 < len(found) <= MAX_SWEEPS:
            raise unreadable(folder, f"it holds {len(found)} LiDAR sweeps", "Name a log's folder.")
        self.sweeps: Sequence[Path] = sorted(found, key=_stamp_ns)
        with read_from(folder):
            self.calibration = self._calibration()
        self._poses, self._stamps = self._ego_poses()
        self._pictures = self._list_pictures()

    def frames(self, *, cameras: bool = True) -> Iterator[SensorFrame]:
        """One for each sweep, in order; each is read when its turn comes. Raises ContentRefused.

        cameras: whether pictures are wanted.
        """
        for path in self.sweeps:
            stamp_us = _stamp_ns(path) // 1000
            yield SensorFrame(
                stamp_us,
                self.calibration,
                lidars=(read_sweep(path),),
                cameras=tuple(self._cameras(stamp_us)) if cameras else (),
                ego=self.ego(stamp_us),
            )

    def ego(self, stamp_us: int) -> EgoPose | None:
        """world_from_ego at a time, interpolated; None outside of what was recorded."""
        at = int(np.searchsorted(self._stamps, stamp_us))
        if at < len(self._stamps) and self._stamps[at] == stamp_us:
            return EgoPose("ego", stamp_us, self._poses(at))
        if not 0 < at < len(self._stamps):
            return None
        before, after = self._stamps[at - 1], self._stamps[at]
        share = float(stamp_us - before) / float(after - before)
        return EgoPose("ego", stamp_us, self._poses(at - 1).between(self._poses(at), share))

    def annotations(self) -> dict[int, Boxes]:
        """The boxes of each annotated sweep, by its stamp. Raises ContentRefused."""
        kinds = {"timestamp_ns": "i", "track_uuid": "U", "category": "U", "num_interior_pts": "i"}
        sizes = {f"{name}_m": "f" for name in ("length", "width", "height")}
        path = self.folder / "annotations.feather"
        columns = read_columns(path, kinds | sizes | _POSE, MAX_ROWS)
        size = np.column_stack([columns[name].astype(np.float64) for name in sizes])
        stamps = columns["timestamp_ns"] // 1000
        order = np.argsort(stamps, kind="stable")
        starts = np.flatnonzero(np.diff(stamps[order], prepend=-1))
        found = {}
        for rows in np.split(order, starts[1:]) if len(order) else []:
            with read_from(path):
                poses = [_pose("ego", "box", columns, row) for row in rows]
            found[int(stamps[rows[0]])] = Boxes(
                int(stamps[rows[0]]),
                columns["track_uuid"][rows],
                columns["category"][rows],
                size[rows],
                poses,
                columns["num_interior_pts"][rows],
            )
        return found

    def _calibration(self) -> Calibration:
        mounts = read_columns(
            self._find("egovehicle_SE3_sensor"), {"sensor_name": "U", **_POSE}, 64
        )
        names = mounts["sensor_name"].tolist()
        poses = tuple(_pose("ego", name, mounts, row) for row, name in enumerate(names))
        floats = dict.fromkeys(("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3"), "f")
        kinds = {"sensor_name": "U", "width_px": "iu", "height_px": "iu", **floats}
        seen = read_columns(self._find("intrinsics"), kinds, 64)
        cameras = {
            str(name): Camera.pinhole(
                (seen["fx_px"][i], seen["fy_px"][i]),
                (seen["cx_px"][i], seen["cy_px"][i]),
                (int(seen["width_px"][i]), int(seen["height_px"][i])),
                (float(seen["k1"][i]), float(seen["k2"][i]), float(seen["k3"][i])),
            )
            for i, name in enumerate(seen["sensor_name"])
        }
        return Calibration(poses, cameras)

    def _find(self, name: str) -> Path:
        inside = self.folder / "calibration" / f"{name}.feather"
        return inside if inside.exists() else self.folder / f"{name}.feather"

    def _ego_poses(self) -> tuple[_Poses, NDArray[np.int64]]:
        path = self.folder / "city_SE3_egovehicle.feather"
        columns = read_columns(path, {"timestamp_ns": "i", **_POSE}, MAX_ROWS)
        stamps = columns["timestamp_ns"] // 1000
        if (np.diff(stamps) < 0).any():
            raise unreadable(path, "its stamps go back in time")
        return _Poses(path, columns), stamps

    def _list_pictures(self) -> dict[str, tuple[NDArray[np.int64], list[Path]]]:
        """By camera, where the log has pictures: their stamps in microseconds, and their files."""
        found = {}
        for name in self.calibration.cameras:
            place = self.folder / "sensors" / "cameras" / name
            paths = sorted((p for p in place.glob("*.jpg") if p.stem.isdecimal()), key=_stamp_ns)
            if paths:
                stamps = np.array([_stamp_ns(path) // 1000 for path in paths], np.int64)
                found[name] = stamps, paths
        return found

    def _cameras(self, stamp_us: int) -> Iterator[CameraImage]:
        """Each camera's picture that is nearest in time, if it is near."""
        for name, (stamps, paths) in self._pictures.items():
            nearest = int(np.argmin(np.abs(stamps - stamp_us)))
            if abs(int(stamps[nearest]) - stamp_us) <= NEAR_US:
                data = read_bytes(paths[nearest], MAX_IMAGE_BYTES)
                yield CameraImage.encoded(name, name, int(stamps[nearest]), data)


@dataclass(frozen=True, slots=True, eq=False)
class _Poses:
    """world_from_ego by row, made when asked for."""

    path: Path
    columns: Columns

    def __call__(self, row: int) -> Pose:
        with read_from(self.path):
            return _pose("world", "ego", self.columns, row)


def _pose(target: str, source: str, columns: Columns, row: int) -> Pose:
    quaternion = [columns[name][row] for name in ("qw", "qx", "qy", "qz")]
    place = [columns[name][row] for name in ("tx_m", "ty_m", "tz_m")]
    return Pose.from_quaternion(target, source, quaternion, place)


def _stamp_ns(path: Path) -> int:
    if not path.stem.isdecimal() or len(path.stem) > 19:
        raise unreadable(path, "its name is no stamp in nanoseconds")
    return int(path.stem)
