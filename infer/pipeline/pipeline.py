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

from infer.codec import Boxes, boxes_of
from infer.frames.measurements import LidarScan
from infer.frames.pose import Pose
from infer.fusion.tracked import in_world
from infer.layout import CLUSTER_FIELDS
from infer.perception.area import Area
from infer.perception.motion import Motion, deskew
from infer.perception.occupancy import Belief, OccupancyGrid
from infer.pipeline.detection import Detected, open_detection
from infer.pipeline.perceived import Occupancy, Perceived
from infer.pipeline.sighting import Sighting
from infer.sweep import MAX_POINTS
from infer.track.tracker import Rules, Tracker
from infer.track.tracks import Beliefs, Tracks
from mesh.core.loop import monotonic_us

T = TypeVar("T")

FADED_S = 1e-6  # of a belief that must not outlive its sweep, for the sensor has moved since


@dataclass(frozen=True, slots=True)
class Choices:
    """How the pipeline's stages work.

    way: to what is tracked (`infer.pipeline.detection`). area: of occupancy. threads: for each
    stage.
    """

    way: str = ""
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
        self._detection = open_detection(self._choices.way, threads)
        self._warm_up()
        self._place: str | None = None  # what was made up is forgotten with the first sweep

    def perceive(
        self, sighting: Sighting, stamp_us: int, boxes: Boxes, missing: tuple[int, ...] = ()
    ) -> Perceived:
        """Take in the next sweep and its boxes, sensor's frame of reference.

        stamp_us: when it was, on a clock that rises from sweep to sweep. Of very many boxes the
        surest MOST_TRACKED are tracked. Raises ContentRefused for boxes that are none or a world
        too far away, and Misuse for a sweep out of order.
        """
        scan, pose = sighting.scan, sighting.world_from_sensor
        place_from_sensor = Pose.identity(scan.frame, scan.frame) if pose is None else pose
        if place_from_sensor.target != self._place:
            fading = Belief(fade_s=FADED_S) if pose is None else self._choices.belief
            self._begin(place_from_sensor.target, fading)
        times = {"deskew": sighting.deskew_us} if sighting.deskewed else {}
        found = _timed(times, self._detection.stage, lambda: self._detection.detect(scan, boxes))
        tracks = _timed(times, "tracks", lambda: self._track(stamp_us, found, place_from_sensor))
        kinds = self._votes.add(tracks.ids, found.kinds[self._tracker.sources])
        occupancy = _timed(
            times,
            "occupancy",
            lambda: self._occupy(scan, found.labels, place_from_sensor, stamp_us),
        )
        return Perceived(
            stamp_us,
            scan,
            found.labels,
            found.ground,
            boxes,
            missing,
            place_from_sensor,
            tracks,
            tuple(self._detection.names[kind] for kind in kinds.tolist()),
            occupancy,
            times,
        )

    def _begin(self, place: str, believes: Belief) -> None:
        choices = self._choices
        self._place = place
        self._tracker = Tracker(choices.rules, choices.motion)
        self._votes = _Votes(choices.rules.missed, len(self._detection.names))
        self._grid = OccupancyGrid(choices.area, believes, MAX_POINTS, choices.threads)

    def _warm_up(self) -> None:
        self._begin("", self._choices.belief)
        points = np.zeros((8, 4), np.float32)
        points[:, :2] = 8 * np.indices((2, 4)).reshape(2, -1).T
        deskew(points, np.zeros(8, np.int32), Motion.constant(np.zeros(3), np.zeros(3)))
        scan = LidarScan("", "", 0, points)
        found = self._detection.detect(scan, boxes_of(np.zeros((0, CLUSTER_FIELDS), np.int64)))
        self._occupy(scan, found.labels, Pose.identity("", ""), 0)
        two = np.array([[0.0, 0, 0, 4, 2, 2, 0], [9.0, 0, 0, 4, 2, 2, 0]])
        for time_s in range(2):
            self._tracker.step(float(time_s), two, np.ones(2))

    def _track(self, stamp_us: int, found: Detected, place_from_sensor: Pose) -> Tracks:
        boxes = in_world(found.boxes, place_from_sensor)
        return self._tracker.step(stamp_us / 1e6, boxes, found.scores)

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


class _Votes:
    """The kind of each object: what it was taken for most often, and first among equals."""

    def __init__(self, kept: int, kinds: int) -> None:
        """kept: instants without a sighting after which an object's votes are forgotten."""
        self._kept, self._kinds, self._instant = kept, kinds, 0
        self._votes: dict[int, NDArray[np.int64]] = {}
        self._last: dict[int, int] = {}

    def add(self, ids: NDArray[np.int64], kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Count what objects were taken for this time; returns the kind of each."""
        self._instant += 1
        elected = np.zeros(len(ids), np.uint8)
        for i, (number, taken_for) in enumerate(zip(ids.tolist(), kinds.tolist(), strict=True)):
            votes = self._votes.setdefault(number, np.zeros(self._kinds, np.int64))
            votes[taken_for] += 1
            self._last[number] = self._instant
            elected[i] = votes.argmax()
        for number in [n for n, last in self._last.items() if last < self._instant - self._kept]:
            del self._votes[number], self._last[number]
        return elected


def _timed(times: dict[str, int], stage: str, run: Callable[[], T]) -> T:
    began_us = monotonic_us()
    result = run()
    times[stage] = monotonic_us() - began_us
    return result
