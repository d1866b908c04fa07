"""What is tracked: the boxes of the mesh, or objects that this program makes of the whole sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from infer import codec
from infer.codec import Boxes
from infer.frames.measurements import REACH_M, LidarScan
from infer.fusion import objects
from infer.fusion.fuser import fuse
from infer.fusion.lidar_objects import LidarDetector
from infer.fusion.tracked import BELIEVED
from infer.perception.ground import Ground, GroundFinder, PlaneSearch
from infer.sweep import MAX_POINTS
from mesh.core.errors import ContentRefused, Misuse

Floats = NDArray[np.float64]

MOST_TURN = 2 * np.pi  # of a box's yaw
MOST_TRACKED = 1024  # of a sweep: matching takes the square of that


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """boxes: float64 (n, 7), see `infer.track.overlap`; scores: float64 (n,), 0 to 1; kinds: uint8
    (n,), into the detection's names. At most MOST_TRACKED. labels: uint8 of each of the points, see
    `infer.kernels.bodies.plane`. ground: None where none is seen. All in the sensor's frame.
    """

    boxes: Floats
    scores: Floats
    kinds: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ground: Ground | None


class Detection(Protocol):
    """One way to what is tracked. Not for two threads at once."""

    @property
    def stage(self) -> str:
        """As its time is told."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of what it finds."""
        ...

    def detect(self, scan: LidarScan, boxes: Boxes) -> Detected:
        """Of a sweep and the mesh's boxes in it. Raises ContentRefused."""
        ...


class MeshBoxes:
    """The mesh's boxes as they come, whatever they are of; and the ground."""

    stage, names = "ground", codec.CLASSES

    def __init__(self, threads: int = 1) -> None:
        self._ground = GroundFinder(PlaneSearch(), MAX_POINTS, threads)

    def detect(self, scan: LidarScan, boxes: Boxes) -> Detected:
        """See Detection."""
        check(boxes)
        which = _surest(boxes.scores)
        rows = np.column_stack((boxes.centres, boxes.sizes, boxes.yaws))[which].astype(np.float64)
        scores, kinds = boxes.scores[which].astype(np.float64), boxes.classes[which]
        ground = self._ground.find(scan.points)
        return Detected(rows, scores, kinds, _labels(scan, ground), ground)


class FusedObjects:
    """Vehicles, pedestrians and cyclists of the LiDAR (infer.fusion): completed where hidden, told
    from walls and trees. The mesh's boxes are of no account.
    """

    stage, names = "objects", objects.CLASSES

    def __init__(self, threads: int = 1) -> None:
        self._lidar = LidarDetector(MAX_POINTS, threads=threads)

    def detect(self, scan: LidarScan, boxes: Boxes) -> Detected:
        """See Detection."""
        check(boxes)
        seen = self._lidar.detect(scan.points)
        found = fuse(scan.points, seen)
        found = found.taken(found.scores >= BELIEVED)
        found = found.taken(_surest(found.scores))
        labels = _labels(scan, seen.ground)
        return Detected(
            found.boxes, found.scores, found.kinds.astype(np.uint8), labels, seen.ground
        )


WAYS: dict[str, type[MeshBoxes] | type[FusedObjects]] = {
    "boxes": MeshBoxes,
    "objects": FusedObjects,
}


def open_detection(way: str, threads: int = 1) -> Detection:
    """The way of that name; "" is the mesh's boxes. Raises Misuse."""
    if (found := WAYS.get(way or "boxes")) is None:
        raise Misuse(
            what=f"nothing is tracked by '{way}'",
            why="there is no such way",
            fix=f"Choose one of {', '.join(WAYS)}.",
        )
    return found(threads)


def check(boxes: Boxes) -> None:
    """Raises ContentRefused for what is no box near a sensor: results come from outside."""
    placed = (np.abs(boxes.centres) < REACH_M).all() and (np.abs(boxes.yaws) <= MOST_TURN).all()
    sized = ((boxes.sizes >= 0) & (boxes.sizes < REACH_M)).all()
    if not (placed and sized and ((boxes.scores >= 0) & (boxes.scores <= 1)).all()):
        raise ContentRefused(
            what="a result's boxes are refused",
            why=f"one is not finite, over {REACH_M} m away or large, or its score is not 0 to 1",
            fix="Update framemesh on the gateway.",
        )


def _surest(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Which are tracked, in their order."""
    if len(scores) <= MOST_TRACKED:
        return np.arange(len(scores))
    best: NDArray[np.int64] = np.sort(np.argsort(-scores, kind="stable")[:MOST_TRACKED])
    return best


def _labels(scan: LidarScan, ground: Ground | None) -> NDArray[np.uint8]:
    """Of the points; a copy, as the ground's are valid until the next sweep."""
    return np.zeros(len(scan.points), np.uint8) if ground is None else ground.labels.copy()
