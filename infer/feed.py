"""What clients need to feed sweeps and to say what came back; loads no compiler.

With packed sweeps (`compress`) it does, as packing is compiled.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infer.codec import CLASSES, CUT, Boxes, decode_result
from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration
from infer.frames.measurements import EgoPose, LidarScan
from infer.frames.merging import merged
from infer.frames.pose import Pose
from infer.readers import av2, kitti, kitti_frames, mcap_frames, nuscenes
from infer.sweep import encode_sweep
from infer.synthetic import STEP_M, drive
from infer.uplink.packing import pack_sweep
from mesh.core.errors import ContentRefused
from mesh.core.workload import Buffer, Recording

_Reader = Callable[[Path], Iterator[SensorFrame]]
_READERS: Mapping[str, _Reader] = {
    "kitti": lambda path: kitti_frames.read_frames(path, cameras=False),
    "av2": lambda path: av2.Log(path).frames(cameras=False),
    "nuscenes": lambda path: nuscenes.read_frames(path, cameras=False),
    "mcap": lambda path: mcap_frames.read_frames(path, cameras=False),
}
_COMPRESS = ("none", "delta")


@dataclass(frozen=True, slots=True)
class View:
    """Where a format's sweeps are looked at from.

    place: the frame of reference, "" for the scanner's own. height_m: of it above the ground, where
    it is not what a session expects. compensated: whether the vehicle's motion within a sweep is
    taken out already.
    """

    place: str = ""
    height_m: float | None = None
    compensated: bool = False


_VIEWS = {"av2": View("up_lidar", 2.0, compensated=True)}  # given about the rear axle


def options_for(recording: Recording, rate_hz: float | None) -> dict[str, int | float | str]:
    """What to ask a session for, beside what it does by itself. Raises ContentRefused."""
    options: dict[str, int | float | str] = {} if rate_hz is None else {"rate_hz": rate_hz}
    if recording.compress != "none":
        options["compress"] = recording.compress
    if (height_m := view_of(recording).height_m) is not None:
        options["sensor_height_m"] = height_m
    return options


def read_sweeps(recording: Recording) -> Iterator[tuple[int, bytes]]:
    """The sweeps of a recording, or a made-up drive without end; see Feedable.

    Raises ContentRefused, at once for what can be known without reading sweeps.
    """
    encode, place = encoder_of(recording), view_of(recording).place
    scans = ((frame.stamp_us, merged(frame, place)) for frame in read_frames(recording))
    return ((stamp_us, encode(scan)) for stamp_us, scan in scans)


def read_frames(recording: Recording) -> Iterator[SensorFrame]:
    """The frames of a recording, or a made-up drive without end, that a LiDAR measured.

    A cycle whose LiDAR is missing has nothing to look at. Raises ContentRefused as `read_sweeps`.
    """
    if recording.path is None:
        return (_made_up(number) for number in itertools.count())
    frames = _READERS[form_of(recording)](recording.path)
    return (frame for frame in frames if frame.lidars)


def encoder_of(recording: Recording) -> Callable[[LidarScan], bytes]:
    """How its sweeps travel. Raises ContentRefused."""
    if recording.compress not in _COMPRESS:
        raise ContentRefused(
            what="the recording is not fed",
            why=f"sweeps are not compressed by '{recording.compress}'",
            fix=f"Choose one of {', '.join(_COMPRESS)}.",
        )
    if recording.compress == "delta":
        return lambda scan: pack_sweep(scan.points, rings=scan.rings)
    return lambda scan: encode_sweep(scan.points)


def view_of(recording: Recording) -> View:
    """From where its sweeps are looked at. Raises ContentRefused."""
    return _VIEWS.get(form_of(recording), View())


def form_of(recording: Recording) -> str:
    """The format's name: the recording's, or told from what lies there. Raises ContentRefused."""
    path, form = recording.path, recording.form
    if form and form not in _READERS:
        raise ContentRefused(
            what=f"{path} is not read",
            why=f"there is no format '{form}'",
            fix=f"Formats are {', '.join(_READERS)}.",
        )
    if form or path is None:
        return form
    if path.suffix == ".mcap":
        return "mcap"
    if next(itertools.chain(path.glob("*.feather"), path.glob("sensors/lidar/*.feather")), None):
        return "av2"
    nested = ("*.pcd.bin", "LIDAR_TOP/*.pcd.bin", "s*/LIDAR_TOP/*.pcd.bin")
    if next(itertools.chain.from_iterable(path.glob(pattern) for pattern in nested), None):
        return "nuscenes"
    return "kitti"


def _made_up(number: int) -> SensorFrame:
    scan = LidarScan("lidar", "lidar", number * kitti.PERIOD_US, drive(number))
    at = Pose("world", "lidar", np.eye(3), np.array([number * STEP_M, 0, 0]))
    ego = EgoPose("drive", scan.stamp_us, at)
    return SensorFrame(scan.stamp_us, Calibration(()), (scan,), ego=ego)


def explain(message: Buffer) -> dict[str, Any]:
    """A result (infer.codec) as JSON-ready facts. Raises ContentRefused."""
    result = decode_result(message)
    boxes = result.boxes
    found = Counter(CLASSES[c] for c in boxes.classes.tolist())
    counted = ", ".join(f"{found[name]} {name}" for name in CLASSES[1:] + CLASSES[:1])
    return {
        "summary": f"{len(boxes.yaws)} boxes: {counted}",
        "stamp_us": result.stamp_us,
        "sectors": result.sectors,
        "missing": [s for s in range(result.sectors) if result.missing >> s & 1],
        "counts": asdict(result.counts),
        "times_us": asdict(result.times),
        "boxes": [_box(boxes, i) for i in range(len(boxes.yaws))],
    }


def _box(boxes: Boxes, index: int) -> Mapping[str, Any]:
    """One box: metres and radians in the sensor's frame."""
    return {
        "class": CLASSES[boxes.classes[index]],
        "centre": [round(float(v), 3) for v in boxes.centres[index]],
        "size": [round(float(v), 3) for v in boxes.sizes[index]],
        "yaw": round(float(boxes.yaws[index]), 4),
        "score": round(float(boxes.scores[index]), 3),
        "points": int(boxes.points[index]),
        "cut": bool(boxes.flags[index] & CUT),
    }
