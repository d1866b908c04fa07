"""KITTI's object benchmark: labels as truth, in space and in the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.detection.measure import LEAST_PIXELS, WITHIN_M, Truth
from infer.frames.calibration import Calibration
from infer.frames.measurements import CameraImage
from infer.frames.pose import Pose
from infer.fusion.objects import CYCLIST, OTHER, PEDESTRIAN, VEHICLE, Floats
from infer.readers.kitti import read_points
from infer.readers.kitti_calibration import read_calibration
from infer.readers.kitti_labels import DONT_CARE, Label, read_labels

CAMERA = "image_02"
# What KITTI's "hard" level still asks for (A. Geiger et al., CVPR 2012).
MOST_OCCLUDED, MOST_TRUNCATED = 2, 0.5
COVERED = 0.5  # of a detection that lies where nothing was labelled

KINDS = {
    "Car": VEHICLE, "Van": VEHICLE, "Truck": VEHICLE, "Tram": VEHICLE,
    "Pedestrian": PEDESTRIAN, "Person_sitting": PEDESTRIAN, "Cyclist": CYCLIST,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame: what its sensors saw and what is there.

    space: boxes (n, 7) in the LiDAR's frame of reference. picture: (n, 4), pixels. regions: (k, 4),
    pixels, where nothing was labelled.
    """

    name: str
    points: NDArray[np.float32]
    calibration: Calibration
    image: CameraImage
    space: Truth
    picture: Truth
    regions: Floats

    def excused(self, boxes: Floats) -> NDArray[np.bool_]:
        """Which boxes (n, 4) in the picture are no errors if nobody's: small, or not labelled."""
        low = np.maximum(boxes[:, None, :2], self.regions[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], self.regions[None, :, 2:])
        covered = np.clip(high - low, 0, None).prod(axis=2).max(axis=1, initial=0.0)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        small = boxes[:, 3] - boxes[:, 1] < LEAST_PIXELS
        excused: NDArray[np.bool_] = small | (covered > COVERED * area)
        return excused


def frames(folder: Path) -> Iterator[Frame]:
    """All that have labels, in order."""
    for path in sorted((folder / "label_2").glob("*.txt")):
        data = (folder / "image_2" / f"{path.stem}.png").read_bytes()
        image = CameraImage.encoded(CAMERA, "rect", 0, data)
        calibration = read_calibration(folder / "calib" / f"{path.stem}.txt", image.size)
        whole = folder / "velodyne" / f"{path.stem}.bin"
        sweep = whole if whole.exists() else folder / "velodyne_reduced" / whole.name
        labels = read_labels(path)
        things = [label for label in labels if label.category != DONT_CARE]
        regions = [label.box for label in labels if label.category == DONT_CARE]
        kinds = np.array([KINDS.get(label.category, OTHER) for label in things], np.int64)
        counted = np.array([must_be_found(label) for label in things], np.bool_)
        yield Frame(
            path.stem,
            read_points(sweep),
            calibration,
            image,
            Truth(in_space(things, calibration.pose("lidar", "rect")), kinds, counted),
            Truth(np.array([x.box for x in things]).reshape(-1, 4), kinds, counted),
            np.array(regions).reshape(-1, 4),
        )


def must_be_found(label: Label) -> bool:
    """Whether not to find it is a miss."""
    x, _, z = label.place
    return (
        label.occluded <= MOST_OCCLUDED
        and label.truncated <= MOST_TRUNCATED
        and label.box[3] - label.box[1] >= LEAST_PIXELS
        and float(np.hypot(x, z)) <= WITHIN_M
    )


def in_space(labels: Sequence[Label], lidar_from_rect: Pose) -> Floats:
    """Labels as boxes (n, 7), LiDAR's frame of reference."""
    boxes = np.zeros((len(labels), 7))
    for box, label in zip(boxes, labels, strict=True):
        middle = np.array(label.place) - (0, label.size[2] / 2, 0)
        ahead = lidar_from_rect.rotation @ (np.cos(label.turn), 0, -np.sin(label.turn))
        box[:3], box[3:6] = lidar_from_rect.apply(middle), label.size
        box[6] = np.arctan2(ahead[1], ahead[0])
    return boxes
