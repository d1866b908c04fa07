"""What a vehicle knows of the objects around it, made of answers that come in any order. Pure.

Known kinds are tracked, one tracker for each. Of the other things (poles, walls, what no class
fits) there are many and few move, so they are kept as they were seen last, with an uncertainty that
grows as that of anything that was seen once.

Where the vehicle says where it was, all this is kept in the world, where things move by themselves
alone; otherwise in the sensor's frame of reference, where a vehicle's turn looks like theirs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infer.codec import CLASSES, Boxes
from infer.frames.pose import Pose
from infer.track.overlap import YAW
from infer.track.tracker import Rules, Tracker
from infer.track.tracks import PLACE, Beliefs, Tracks, born, nothing

UNKNOWN = 0  # the class "other"
NO_ID = 0  # of what is not tracked; trackers count from 1
KEPT = 4  # sweeps that an answer may come after and still be put in its place
_S = 1e-6
HERE = Pose.identity("world", "sensor")  # of a vehicle that does not say where it is


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Objects at an instant, in the sensor's frame of reference at that instant.

    tracks: as of `tracks.time_s`, seconds of the sensor's clock; ids are 0 for what is not tracked.
    Velocities are over the ground where poses are known, otherwise as the sensor sees them.
    classes: uint8 (n,), indices into `infer.codec.CLASSES`. seen_us: when the newest sweep was
    taken that this is made from, on the sensor's clock; None if nothing was ever seen.
    """

    tracks: Tracks
    classes: NDArray[np.uint8]
    seen_us: int | None

    def __len__(self) -> int:
        return len(self.classes)

    def at(self, stamp_us: int, beliefs: Beliefs) -> Objects:
        """The same at another time of the sensor's clock, less certain; in the same frame."""
        return Objects(self.tracks.at(stamp_us * _S, beliefs), self.classes, self.seen_us)

    def carried(self, motion: Pose) -> Objects:
        """The same in another frame of reference."""
        return replace(self, tracks=carried(self.tracks, motion))


def carried(tracks: Tracks, motion: Pose) -> Tracks:
    """Tracks in another frame whose z points the same way, as roads go.

    Covariances stay: those of x and y are always equal.
    """
    boxes = tracks.boxes.copy()
    boxes[:, PLACE] = motion.apply(boxes[:, PLACE])
    boxes[:, YAW] += np.arctan2(motion.rotation[1, 0], motion.rotation[0, 0])
    return replace(tracks, boxes=boxes, velocity=tracks.velocity @ motion.rotation.T)


@dataclass(slots=True)
class _Seen:
    """One sweep's boxes, and what is known after them."""

    stamp_us: int
    rank: int
    boxes: Boxes
    pose: Pose
    trackers: dict[int, Tracker]
    objects: Objects


class Situation:
    """Learns from one answer after another, also from those that come late.

    An answer that comes after those to a few newer sweeps is put in its place, and what followed is
    worked out again; one that comes later still is left out.
    """

    def __init__(self, rules: Rules | None = None, beliefs: Beliefs | None = None) -> None:
        self.beliefs = beliefs or Beliefs()
        self._first = {
            kind: Tracker(rules, self.beliefs)
            for kind, name in enumerate(CLASSES)
            if kind != UNKNOWN and name
        }
        self._seen: list[_Seen] = []  # by stamp; what is older than the first is settled

    def learn(self, stamp_us: int, boxes: Boxes, rank: int, pose: Pose = HERE) -> bool:
        """Take an answer to the sweep of that stamp; returns whether it was of use.

        rank: of two answers to one sweep the higher counts, of equals the first. pose:
        world_from_sensor of that sweep; all of one world.
        """
        newer = [seen for seen in self._seen if seen.stamp_us > stamp_us]
        older = self._seen[: len(self._seen) - len(newer)]
        if older and older[-1].stamp_us == stamp_us:
            if older[-1].rank >= rank:
                return False
            older.pop()
        if not older and len(newer) >= KEPT:
            return False  # what came before those is not known any more
        trackers = older[-1].trackers if older else self._first
        for at_us, how, of, where in [
            (stamp_us, rank, boxes, pose),
            *((seen.stamp_us, seen.rank, seen.boxes, seen.pose) for seen in newer),
        ]:
            older.append(self._after(trackers, at_us, how, of, where))
            trackers = older[-1].trackers
        while len(older) > KEPT:
            self._first = older.pop(0).trackers
        self._seen = older
        return True

    def at(self, stamp_us: int, pose: Pose = HERE) -> Objects:
        """What should be there at a time of the sensor's clock, and seen from where it is then."""
        return self._known(stamp_us).carried(pose.inverse())

    def _known(self, stamp_us: int) -> Objects:
        if not self._seen:
            return Objects(nothing(stamp_us * _S), np.zeros(0, np.uint8), None)
        newest = self._seen[-1]
        if newest.stamp_us == stamp_us:
            return newest.objects
        return newest.objects.at(stamp_us, self.beliefs)

    def _after(
        self, trackers: dict[int, Tracker], stamp_us: int, rank: int, boxes: Boxes, pose: Pose
    ) -> _Seen:
        """Trackers replace what they hold and never change it, so shallow copies are enough."""
        time_s = stamp_us * _S
        rows = np.column_stack((boxes.centres, boxes.sizes, boxes.yaws)).astype(np.float64)
        rows[:, PLACE] = pose.apply(rows[:, PLACE])
        rows[:, YAW] += np.arctan2(pose.rotation[1, 0], pose.rotation[0, 0])
        scores = boxes.scores.astype(np.float64)
        after, told = {}, []
        for kind, tracker in trackers.items():
            after[kind] = copy.copy(tracker)
            of = boxes.classes == kind
            told.append((kind, after[kind].step(time_s, rows[of], scores[of])))
        of = boxes.classes == UNKNOWN
        ids = np.full(int(of.sum()), NO_ID)
        told.append((UNKNOWN, born(time_s, ids, rows[of], scores[of], self.beliefs)))
        tracks = nothing(time_s)
        for _, some in told:
            tracks = tracks + some
        classes = np.concatenate([np.full(len(some), kind, np.uint8) for kind, some in told])
        return _Seen(stamp_us, rank, boxes, pose, after, Objects(tracks, classes, stamp_us))


def warm_up() -> None:
    """Load, or compile, what tracking needs: seconds, the first time."""
    one = np.ones(1, np.float32)
    boxes = Boxes(
        centres=np.zeros((1, 3), np.float32),
        sizes=np.ones((1, 3), np.float32),
        yaws=0 * one,
        scores=one,
        points=one.astype(np.uint32),
        classes=np.full(1, CLASSES.index("car"), np.uint8),
        flags=np.zeros(1, np.uint8),
    )
    situation = Situation()
    for stamp_us in range(3):
        situation.learn(stamp_us, boxes, 0)
