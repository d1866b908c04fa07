"""What clients need to feed sweeps and to say what came back; loads no compiler.

With packed sweeps (`compress`) it does, as packing is compiled.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infer.codec import CLASSES, CUT, Boxes, decode_result
from infer.frames.bundle import SensorFrame
from infer.frames.merging import merged
from infer.readers import av2, kitti, kitti_frames, mcap_frames, nuscenes
from infer.sweep import encode_sweep
from infer.synthetic import drive
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

# Where a recording's sweeps are looked at from, and how high that is above the ground. Argoverse's
# are given about the rear axle; others come in their scanner's own frame of reference.
_PLACES = {"av2": ("up_lidar", 2.0)}


def options_for(recording: Recording, rate_hz: float | None) -> dict[str, int | float | str]:
    """What to ask a session for, beside what it does by itself. Raises ContentRefused."""
    options: dict[str, int | float | str] = {} if rate_hz is None else {"rate_hz": rate_hz}
    if recording.compress != "none":
        options["compress"] = recording.compress
    if recording.path is not None and (place := _PLACES.get(form_of(recording))):
        options["sensor_height_m"] = place[1]
    return options


def read_sweeps(recording: Recording) -> Iterator[tuple[int, bytes]]:
    """The sweeps of a recording, or a made-up drive without end; see Feedable.

    Raises ContentRefused, at once for what can be known without reading sweeps.
    """
    if recording.compress not in _COMPRESS:
        raise ContentRefused(
            what="the recording is not fed",
            why=f"sweeps are not compressed by '{recording.compress}'",
            fix=f"Choose one of {', '.join(_COMPRESS)}.",
        )
    packed = recording.compress == "delta"
    if recording.path is None:
        encode = pack_sweep if packed else encode_sweep
        return ((i * kitti.PERIOD_US, encode(drive(i))) for i in itertools.count())
    form = form_of(recording)
    frames = _READERS[form](recording.path)
    return _encoded(frames, _PLACES.get(form, ("", 0.0))[0], packed)


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


def _encoded(
    frames: Iterator[SensorFrame], place: str, packed: bool
) -> Iterator[tuple[int, bytes]]:
    for frame in frames:
        if not frame.lidars:
            continue  # a cycle whose LiDAR is missing has nothing to look at
        scan = merged(frame, place)
        if packed:
            yield frame.stamp_us, pack_sweep(scan.points, rings=scan.rings)
        else:
            yield frame.stamp_us, encode_sweep(scan.points)


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
