"""Argoverse 2's sweeps with their annotations as truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.detection.measure import WITHIN_M, Truth
from infer.fusion.objects import CYCLIST, OTHER, PEDESTRIAN, VEHICLE
from infer.readers.av2 import Log

KINDS = {
    VEHICLE: (
        "REGULAR_VEHICLE", "LARGE_VEHICLE", "BOX_TRUCK", "TRUCK", "TRUCK_CAB", "BUS",
        "SCHOOL_BUS", "ARTICULATED_BUS", "VEHICULAR_TRAILER",
    ),
    PEDESTRIAN: ("PEDESTRIAN", "OFFICIAL_SIGNALER"),
    CYCLIST: ("BICYCLE", "MOTORCYCLE", "BICYCLIST", "MOTORCYCLIST", "WHEELED_RIDER"),
}  # fmt: skip
_KIND = {name: kind for kind, names in KINDS.items() for name in names}


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One sweep, ego frame. origin: where the LiDARs stand in it, x y. truth: boxes (n, 7)."""

    name: str
    points: NDArray[np.float32]
    origin: tuple[float, float]
    truth: Truth


def sweeps(folder: Path) -> Iterator[Sweep]:
    """All that are annotated. Counted is what is near and has a point on it, as the devkit counts:
    one is enough.
    """
    log = Log(folder)
    annotations = log.annotations()
    x, y, _ = log.calibration.pose("ego", "up_lidar").translation.tolist()
    for frame in log.frames(cameras=False):
        boxes = annotations.get(frame.stamp_us)
        if boxes is None:
            continue
        kinds = np.array([_KIND.get(name, OTHER) for name in boxes.categories.tolist()])
        near = np.hypot(*boxes.centres[:, :2].T) <= WITHIN_M
        places = np.column_stack((boxes.centres, boxes.sizes, boxes.yaws))
        truth = Truth(places, kinds, near & (boxes.points > 0))
        yield Sweep(str(frame.stamp_us), frame.lidars[0].points, (x, y), truth)
