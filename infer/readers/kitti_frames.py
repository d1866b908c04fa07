"""KITTI recordings as sensor frames: raw drives, the object benchmark, tracking sequences.

Which of them a folder holds is told by what lies in it. Raw: velodyne_points/data, image_0N/data,
oxts/data with their timestamps.txt, and the day's calibration in the folder above; or, cut down to
a clip, velodyne, image_0N and one calib*.txt. Object: velodyne, image_N, calib, with one file for
each frame. Tracking: velodyne/SSSS, image_0N/SSSS, calib/SSSS.txt and oxts/SSSS.txt for each
sequence SSSS; sequences follow one another, ten seconds apart. Without stamps, sweeps are 100 ms
apart.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration
from infer.frames.measurements import MAX_IMAGE_BYTES, CameraImage, EgoPose, ImuSample, LidarScan
from infer.readers import oxts
from infer.readers.files import read_bytes
from infer.readers.kitti import PERIOD_US, check_size, list_sweeps, read_points
from infer.readers.kitti_calibration import USUAL_SIZE, read_calibration, read_raw_calibration
from infer.readers.refusal import read_from, unreadable

LIDAR = "velodyne"
CAMERAS = ("image_00", "image_01", "image_02", "image_03")
PAUSE_US = 10_000_000  # between tracking sequences
MAX_STAMPS_BYTES = 16 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Moment:
    """Where the files of one frame lie."""

    stamp_us: int
    sweep: Path
    calibration: Calibration
    pictures: dict[str, tuple[int, Path]] = field(default_factory=dict)  # with their stamps
    oxts: tuple[Sequence[float], Sequence[float]] | None = None  # its line, and the first


def read_frames(folder: Path, *, cameras: bool = True) -> Iterator[SensorFrame]:
    """The frames of a folder in order, each read when its turn comes; pictures if they are wanted.

    Raises ContentRefused, at once for what can be known without reading sweeps and pictures.
    """
    moments = list(_moments(folder))
    for moment in moments:
        check_size(moment.sweep)
    return (_read(moment, cameras) for moment in moments)


def _read(moment: _Moment, cameras: bool) -> SensorFrame:
    us, shown = moment.stamp_us, []
    for name, (stamp_us, path) in moment.pictures.items() if cameras else ():
        data = read_bytes(path, MAX_IMAGE_BYTES)
        shown.append(CameraImage.encoded(name, "rect", stamp_us, data))
    ego: EgoPose | None = None
    imu: tuple[ImuSample, ...] = ()
    if moment.oxts is not None:
        line, first = moment.oxts
        ego, imu = oxts.pose(line, first, us), (oxts.imu(line, us),)
    scan = LidarScan(LIDAR, "lidar", us, read_points(moment.sweep))
    return SensorFrame(us, moment.calibration, (scan,), tuple(shown), imu=imu, ego=ego)


def _moments(folder: Path) -> Iterator[_Moment]:
    if (folder / "velodyne_points" / "data").is_dir():
        return _raw(folder)
    sequences = sorted(place for place in folder.glob("velodyne/*") if place.is_dir())
    if sequences:
        return _tracking(folder, sequences)
    return _object(folder) if (folder / "calib").is_dir() else _clip(folder)


def _raw(folder: Path) -> Iterator[_Moment]:
    sweeps = list_sweeps(folder)
    calibration = read_raw_calibration(folder.parent)
    stamp_us = _clock(folder / "velodyne_points")
    pictures = {name: _pictures(folder / name / "data") for name in CAMERAS}
    taken_us = {name: _clock(folder / name) for name, found in pictures.items() if found}
    lines = sorted((folder / "oxts" / "data").glob("*.txt"))
    measured = {path.stem: _line(path) for path in lines}
    for path in sweeps:
        number = _number(path)
        yield _Moment(
            stamp_us(number),
            path,
            calibration,
            {
                name: (taken_us[name](number), found[path.stem])
                for name, found in pictures.items()
                if path.stem in found
            },
            (measured[path.stem], measured[lines[0].stem]) if path.stem in measured else None,
        )


def _clip(folder: Path) -> Iterator[_Moment]:
    sweeps, files = list_sweeps(folder), sorted(folder.glob("calib*.txt"))
    pictures = {name: _pictures(folder / name) for name in CAMERAS}
    size = _size([path for found in pictures.values() for path in found.values()])
    calibration = read_calibration(files[0], size) if files else Calibration(())
    for index, path in enumerate(sweeps):
        us = index * PERIOD_US
        yield _Moment(us, path, calibration, _at(us, path.stem, pictures))


def _object(folder: Path) -> Iterator[_Moment]:
    pictures = {name: _pictures(folder / name.replace("_0", "_")) for name in CAMERAS}
    for index, path in enumerate(list_sweeps(folder)):
        here = _at(index * PERIOD_US, path.stem, pictures)
        size = _size([picture for _, picture in here.values()])
        calibration = read_calibration(folder / "calib" / f"{path.stem}.txt", size)
        yield _Moment(index * PERIOD_US, path, calibration, here)


def _tracking(folder: Path, sequences: Sequence[Path]) -> Iterator[_Moment]:
    us = 0
    for sequence in sequences:
        pictures = {name: _pictures(folder / name / sequence.name) for name in CAMERAS}
        size = _size([path for found in pictures.values() for path in found.values()])
        calibration = read_calibration(folder / "calib" / f"{sequence.name}.txt", size)
        file = folder / "oxts" / f"{sequence.name}.txt"
        lines = _lines(file) if file.exists() else []
        for path in list_sweeps(sequence):
            index = _number(path)
            line = (lines[index], lines[0]) if index < len(lines) else None
            at = us + index * PERIOD_US
            yield _Moment(at, path, calibration, _at(at, path.stem, pictures), line)
        us = at + PAUSE_US


def _at(
    stamp_us: int, stem: str, pictures: dict[str, dict[str, Path]]
) -> dict[str, tuple[int, Path]]:
    return {name: (stamp_us, found[stem]) for name, found in pictures.items() if stem in found}


def _pictures(place: Path) -> dict[str, Path]:
    """A camera's pictures by their names, which are numbers."""
    return {path.stem: path for path in place.glob("*.png") if path.stem.isdecimal()}


def _size(pictures: Sequence[Path]) -> tuple[int, int]:
    """Width and height of the first (rectified pictures of one day have one size), or the usual."""
    if not pictures:
        return USUAL_SIZE
    try:
        with pictures[0].open("rb") as file:
            head = file.read(24)  # its signature, and the first chunk's width and height
    except OSError as problem:
        raise unreadable(pictures[0], str(problem)) from problem
    width, height = struct.unpack(">16x2I", head) if len(head) == 24 else (0, 0)
    if not 1 <= min(width, height) <= max(width, height) <= 1 << 14:
        raise unreadable(pictures[0], "it is no picture, or too large a one")
    return width, height


def _clock(place: Path) -> Callable[[int], int]:
    """The stamps of a raw sensor's measurements in microseconds, by their numbers."""
    file = place / "timestamps.txt"
    if not file.exists():
        return lambda number: number * PERIOD_US
    lines = read_bytes(file, MAX_STAMPS_BYTES).decode("ascii", "replace").splitlines()

    def stamp_us(number: int) -> int:
        if number >= len(lines):
            raise unreadable(file, f"it has {len(lines)} stamps, and none for number {number}")
        return _stamp_us(file, lines[number])

    return stamp_us


def _stamp_us(file: Path, line: str) -> int:
    """Of "2011-09-26 13:02:25.951199337", UTC; nanoseconds are cut off."""
    try:
        moment = datetime.strptime(line.strip()[:26], "%Y-%m-%d %H:%M:%S.%f")
    except ValueError as problem:
        raise unreadable(file, f"{line[:40]!r} is no time") from problem
    return (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def _line(path: Path) -> Sequence[float]:
    return _lines(path)[0]


def _lines(path: Path) -> list[tuple[float, ...]]:
    text = read_bytes(path, MAX_STAMPS_BYTES).decode("ascii", "replace")
    with read_from(path):
        return [oxts.parse_line(line) for line in text.splitlines() if line.strip()] or [
            oxts.parse_line("")
        ]


def _number(path: Path) -> int:
    if not path.stem.isdecimal() or len(path.stem) > 10:
        raise unreadable(path, "its name is no number")
    return int(path.stem)
