"""KITTI's tracking labels, and the PointRCNN detections that AB3DMOT publishes with its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FRAME_S = 0.1
# Columns: of detections, "frame, type, box of the picture, score, h w l, x y z, turn, alpha".
_DETECTED = 15


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Of one frame. boxes: float64 (n, 7), see `infer.track.overlap`, in a frame of the camera's
    place with x forward, y left, z up. pictures: float64 (n, 4), left, top, right, bottom, pixels.
    ids: of labels; scores: of detections, and of tracks.
    """

    boxes: Floats
    pictures: Floats
    ids: NDArray[np.int64]
    scores: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Labels of one frame. counted: which objects must be found; the others may be.

    regions: float64 (k, 4), of the picture, where nothing was labelled.
    """

    objects: Objects
    counted: NDArray[np.bool_]
    regions: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """One drive: by frame what is there and what a detector found."""

    name: str
    truth: list[Truth]
    found: list[Objects]


def drives(folder: Path) -> list[Drive]:
    """All that have labels and detections, in order of name."""
    names = sorted(path.stem for path in (folder / "label_02").glob("*.txt"))
    return [_drive(folder, name) for name in names]


def _drive(folder: Path, name: str) -> Drive:
    rows = [line.split() for line in (folder / "label_02" / f"{name}.txt").open()]
    found = np.loadtxt(folder / "det_pointrcnn_car" / f"{name}.txt", delimiter=",", ndmin=2)
    if found.shape[1] != _DETECTED:
        raise ValueError(f"{name}: detections have {found.shape[1]} columns, not {_DETECTED}")
    frames = 1 + max(*(int(row[0]) for row in rows), int(found[:, 0].max()))
    by_frame: list[list[list[str]]] = [[] for _ in range(frames)]
    for row in rows:
        by_frame[int(row[0])].append(row)
    return Drive(
        name,
        [_truth(rows) for rows in by_frame],
        [_found(found[found[:, 0] == frame]) for frame in range(frames)],
    )


def _truth(rows: list[list[str]]) -> Truth:
    """Cars, and vans, which may pass for cars; too far occluded or cut off they need not be found.

    KITTI's own rules: not truncated at all, occluded to at most "largely" (2).
    """
    kept = [row for row in rows if row[2] in {"Car", "Van"}]
    numbers = np.array([[float(value) for value in row[3:17]] for row in kept]).reshape(-1, 14)
    counted = (
        np.array([row[2] == "Car" for row in kept], bool)
        & (numbers[:, 0] <= 0)
        & (numbers[:, 1] <= 2)
    )
    ids = np.array([int(row[1]) for row in kept], np.int64)
    regions = [[float(value) for value in row[6:10]] for row in rows if row[2] == "DontCare"]
    objects = Objects(_upright(numbers[:, 7:14]), numbers[:, 3:7], ids, np.zeros(len(ids)))
    return Truth(objects, counted, np.array(regions).reshape(-1, 4))


def _found(rows: Floats) -> Objects:
    ids = np.zeros(len(rows), np.int64)
    return Objects(_upright(rows[:, 7:14]), rows[:, 2:6], ids, rows[:, 6])


def _upright(camera: Floats) -> Floats:
    """From (h, w, l, x, y, z, turn) of the camera, y downwards and at a box's foot."""
    height, width, length, x, y, z, turn = camera.T
    yaw = np.arctan2(-np.cos(turn), -np.sin(turn))
    return np.stack([z, -x, height / 2 - y, length, width, height, yaw], axis=1)
