"""Sweeps and the boxes in them, in order of time: who is who, and where there is room.

Boxes are found by whoever has time for it, a piece here and a piece there; tracks and occupancy
need every sweep in order, so they are made in one place: where results arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from infer.codec import CLASSES, Boxes
from infer.frames.measurements import REACH_M, LidarScan
from infer.frames.pose import Pose
from infer.perception.area import Area
from infer.perception.ground import Ground, GroundFinder, PlaneSearch
from infer.perception.motion import Motion, deskew
from infer.perception.occupancy import Belief, OccupancyGrid
from infer.pipeline.perceived import Occupancy, Perceived
from infer.pipeline.sighting import Sighting
from infer.sweep import MAX_POINTS
from infer.track.overlap import YAW
from infer.track.tracker import Rules, Tracker
from infer.track.tracks import Beliefs, Tracks
from mesh.core.errors import ContentRefused
from mesh.core.loop import monotonic_us

T = TypeVar("T")
Floats = NDArray[np.float64]

MOST_TURN = 2 * np.pi  # of a box's yaw
MOST_TRACKED = 1024  # boxes of a sweep: matching takes the square of that
FADED_S = 1e-6  # of a belief that must not outlive its sweep, for the sensor has moved since


@dataclass(frozen=True, slots=True)
class Choices:
    """How the pipeline's stages work; area: of occupancy. threads: for each stage."""

    plane: PlaneSearch = field(default_factory=PlaneSearch)
    area: Area = field(default_factory=lambda: Area(48.0, 0.25))
    belief: Belief = field(default_factory=Belief)
    rules: Rules = field(default_factory=Rules)
    motion: Beliefs = field(default_factory=Beliefs)
    threads: int = 1


class Pipeline:
    """Keeps tracks and occupancy of one drive. Not for two threads at once.

    Both are kept in the world's frame of reference where sightings have poses. Else they are kept
    in the sensor's: tracks then move as the vehicle does, and occupancy is of the one sweep alone.
    Where a drive's frame of reference changes they begin anew.
    """

    def __init__(self, choices: Choices | None = None) -> None:
        """Compile the stages by running them, seconds where they are not cached."""
        self._choices = choices or Choices()
        threads = self._choices.threads
        self._ground = GroundFinder(self._choices.plane, MAX_POINTS, threads)
        self._warm_up()
        self._place: str | None = None  # what was made up is forgotten with the first sweep

    def perceive(
        self, sighting: Sighting, stamp_us: int, boxes: Boxes, missing: tuple[int, ...] = ()
    ) -> Perceived:
        """Take in the next sweep and its boxes, sensor's frame of reference.

        stamp_us: when it was, on a clock that rises from sweep to sweep. Of very
        many boxes the surest MOST_TRACKED are tracked. Raises ContentRefused for boxes that are
        none or a world too far away, and Misuse for a sweep out of order.
        """
        _check(boxes)
        scan, pose = sighting.scan, sighting.world_from_sensor
        place_from_sensor = Pose.identity(scan.frame, scan.frame) if pose is None else pose
        if place_from_sensor.target != self._place:
            fading = Belief(fade_s=FADED_S) if pose is None else self._choices.belief
            self._begin(place_from_sensor.target, fading)
        times = {"deskew": sighting.deskew_us} if sighting.deskewed else {}
        ground, labels = _timed(times, "ground", lambda: self._find_ground(scan))
        tracked = _surest(boxes)
        tracks = _timed(
            times, "tracks", lambda: self._track(stamp_us, boxes, tracked, place_from_sensor)
        )
        names = self._names.vote(tracks.ids, boxes.classes[tracked[self._tracker.sources]])
        occupancy = _timed(
            times, "occupancy", lambda: self._occupy(scan, labels, place_from_sensor, stamp_us)
        )
        return Perceived(
            stamp_us,
            scan,
            labels,
            ground,
            boxes,
            missing,
            place_from_sensor,
            tracks,
            names,
            occupancy,
            times,
        )

    def _begin(self, place: str, believes: Belief) -> None:
        choices = self._choices
        self._place = place
        self._tracker = Tracker(choices.rules, choices.motion)
        self._names = _Names(choices.rules.missed)
        self._grid = OccupancyGrid(choices.area, believes, MAX_POINTS, choices.threads)

    def _warm_up(self) -> None:
        self._begin("", self._choices.belief)
        points = np.zeros((8, 4), np.float32)
        points[:, :2] = 8 * np.indices((2, 4)).reshape(2, -1).T
        deskew(points, np.zeros(8, np.int32), Motion.constant(np.zeros(3), np.zeros(3)))
        scan = LidarScan("", "", 0, points)
        _, labels = self._find_ground(scan)
        self._occupy(scan, labels, Pose.identity("", ""), 0)
        two = np.array([[0.0, 0, 0, 4, 2, 2, 0], [9.0, 0, 0, 4, 2, 2, 0]])
        for time_s in range(2):
            self._tracker.step(float(time_s), two, np.ones(2))

    def _find_ground(self, scan: LidarScan) -> tuple[Ground | None, NDArray[np.uint8]]:
        ground = self._ground.find(scan.points)
        if ground is None:
            return None, np.zeros(len(scan.points), np.uint8)
        return ground, ground.labels.copy()  # they are valid until the next sweep's only

    def _track(
        self, stamp_us: int, boxes: Boxes, which: NDArray[np.int64], place_from_sensor: Pose
    ) -> Tracks:
        rows = np.column_stack((boxes.centres, boxes.sizes, boxes.yaws))[which].astype(np.float64)
        scores = boxes.scores[which].astype(np.float64)
        return self._tracker.step(stamp_us / 1e6, carried(rows, place_from_sensor), scores)

    def _occupy(
        self,
        scan: LidarScan,
        labels: NDArray[np.uint8],
        place_from_sensor: Pose,
        stamp_us: int,
    ) -> Occupancy:
        turned = scan.points
        if not np.array_equal(place_from_sensor.rotation, np.eye(3)):
            turned = turned.copy()
            turned[:, :3] = turned[:, :3] @ place_from_sensor.rotation.T.astype(np.float32)
        x, y, _ = place_from_sensor.translation.tolist()
        self._grid.update(turned, labels, (x, y), stamp_us)
        return Occupancy(self._grid.log_odds.copy(), self._grid.corner, self._grid.area.cell_m)


class _Names:
    """The class of each object: what it was taken for most often, and first among equals."""

    def __init__(self, kept: int) -> None:
        """kept: instants without a sighting after which an object's votes are forgotten."""
        self._kept, self._instant = kept, 0
        self._votes: dict[int, NDArray[np.int64]] = {}
        self._last: dict[int, int] = {}

    def vote(self, ids: NDArray[np.int64], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Add what objects were taken for this time; returns the class of each."""
        self._instant += 1
        names = np.zeros(len(ids), np.uint8)
        for i, (number, taken_for) in enumerate(zip(ids.tolist(), classes.tolist(), strict=True)):
            votes = self._votes.setdefault(number, np.zeros(len(CLASSES), np.int64))
            votes[taken_for] += 1
            self._last[number] = self._instant
            names[i] = votes.argmax()
        for number in [n for n, last in self._last.items() if last < self._instant - self._kept]:
            del self._votes[number], self._last[number]
        return names


def _check(boxes: Boxes) -> None:
    """Raises ContentRefused for what is no box near a sensor: results come from outside."""
    placed = (np.abs(boxes.centres) < REACH_M).all() and (np.abs(boxes.yaws) <= MOST_TURN).all()
    sized = ((boxes.sizes >= 0) & (boxes.sizes < REACH_M)).all()
    if not (placed and sized and ((boxes.scores >= 0) & (boxes.scores <= 1)).all()):
        raise ContentRefused(
            what="a result's boxes are refused",
            why=f"one is not finite, over {REACH_M} m away or large, or its score is not 0 to 1",
            fix="Update framemesh on the gateway.",
        )


def _surest(boxes: Boxes) -> NDArray[np.int64]:
    """Which boxes are tracked, in their order."""
    count = len(boxes.scores)
    if count <= MOST_TRACKED:
        return np.arange(count)
    best: NDArray[np.int64] = np.sort(np.argsort(-boxes.scores, kind="stable")[:MOST_TRACKED])
    return best


def carried(boxes: Floats, motion: Pose) -> Floats:
    """Boxes, float64 (n, 7), in another frame of reference; they stay upright there."""
    moved = boxes.copy()
    moved[:, :3] = motion.apply(boxes[:, :3])
    heading = np.stack((np.cos(boxes[:, YAW]), np.sin(boxes[:, YAW])), axis=1)
    turned = heading @ motion.rotation[:2, :2].T
    moved[:, YAW] = np.arctan2(turned[:, 1], turned[:, 0])
    return moved


def _timed(times: dict[str, int], stage: str, run: Callable[[], T]) -> T:
    began_us = monotonic_us()
    result = run()
    times[stage] = monotonic_us() - began_us
    return result
