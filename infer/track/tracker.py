"""Boxes of one instant after another become objects: who is who, who came, who left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.track.assignment import assigned
from infer.track.overlap import BOX_FIELDS, overlaps
from infer.track.tracks import Beliefs, Floats, Tracks, born
from infer.track.turning import born_turning
from mesh.core.errors import Misuse


@dataclass(frozen=True, slots=True)
class Rules:
    """When boxes are one object, and when an object is believed.

    least_giou: of a box and where its object should be. sightings: before it is told of, but for
    the first instants. missed: from so many instants on without a box it is gone; told_missed: up
    to so many it is told of all the same. (Who wants to know where what is hidden went can ask
    what was told before: `Tracks.at`.) turning: objects go on along the turn that they are in
    (`infer.track.turning`) and not straight on.
    """

    least_giou: float = -0.2
    sightings: int = 2
    missed: int = 5
    told_missed: int = 0
    turning: bool = False


class Tracker:
    """Tracks objects of one class in one frame of reference.

    sources: of each object told of last, which of the boxes it was; -1 for none.

    Association by generalised overlap as AB3DMOT's (Weng et al., "3D Multi-Object Tracking: A
    Baseline and New Evaluation Metrics", IROS 2020), over filters of all objects at once.
    """

    def __init__(self, rules: Rules | None = None, beliefs: Beliefs | None = None) -> None:
        self.rules, self.beliefs = rules or Rules(), beliefs or Beliefs()
        self._born = born_turning if self.rules.turning else born
        self._tracks: Tracks | None = None
        self._sightings = np.zeros(0, np.int64)
        self._unseen = np.zeros(0, np.int64)  # instants since it was seen last
        self._instants, self._next = 0, 1
        self.sources = np.zeros(0, np.int64)
        self._source = np.zeros(0, np.int64)

    def step(self, time_s: float, boxes: Floats, scores: Floats) -> Tracks:
        """Take the boxes of an instant; returns the objects that are believed, as of then.

        time_s: later than the last. boxes: float64 (n, 7), see `infer.track.overlap`. scores: (n,).
        Raises Misuse for anything else.
        """
        boxes, scores = _checked(boxes, scores)
        known = self._tracks if self._tracks is not None else self._none(time_s)
        if time_s < known.time_s:
            raise Misuse(
                what="a tracker was given an instant",
                why=f"it is of {time_s:g} s, and {known.time_s:g} s came before",
                fix="Bring boxes in order of time, or begin a tracker anew.",
            )
        self._instants += 1
        known = known.at(time_s, self.beliefs)
        at = self._matched(known, boxes)
        seen = at >= 0
        kept = known.taken(seen).corrected(boxes[at[seen]], scores[at[seen]], self.beliefs)
        new = np.setdiff1d(np.arange(len(boxes)), at[seen])
        ids = self._next + np.arange(len(new))
        self._next += len(new)
        fresh = self._born(time_s, ids, boxes[new], scores[new], self.beliefs)
        self._tracks = kept + known.taken(~seen) + fresh
        unseen = np.full(len(known) - int(seen.sum()), -1)
        self._source = np.concatenate([at[seen], unseen, new])
        self._count(seen, len(new))
        self._forget()
        return self._believed()

    def _none(self, time_s: float) -> Tracks:
        ids, boxes, scores = np.zeros(0, np.int64), np.zeros((0, BOX_FIELDS)), np.zeros(0)
        return self._born(time_s, ids, boxes, scores, self.beliefs)

    def _matched(self, known: Tracks, boxes: Floats) -> NDArray[np.int64]:
        """For each track the box that is its own, -1 for none."""
        if not len(known) or not len(boxes):
            return np.full(len(known), -1)
        near = overlaps(known.boxes, boxes, True)
        at: NDArray[np.int64] = assigned(-near)
        worst = near[np.arange(len(at)), at]  # at -1 it is of no account
        return np.where((at >= 0) & (worst >= self.rules.least_giou), at, -1)

    def _count(self, seen: NDArray[np.bool_], new: int) -> None:
        once, never = np.ones(new, np.int64), np.zeros(new, np.int64)
        self._sightings = np.concatenate([self._sightings[seen] + 1, self._sightings[~seen], once])
        missed = np.zeros(int(seen.sum()), np.int64)
        self._unseen = np.concatenate([missed, self._unseen[~seen] + 1, never])

    def _forget(self) -> None:
        assert self._tracks is not None
        kept = self._unseen < self.rules.missed
        self._tracks = self._tracks.taken(kept)
        self._sightings, self._unseen = self._sightings[kept], self._unseen[kept]
        self._source = self._source[kept]

    def _believed(self) -> Tracks:
        assert self._tracks is not None
        known = (self._sightings >= self.rules.sightings) | (self._instants <= self.rules.sightings)
        told = known & (self._unseen <= self.rules.told_missed)
        self.sources = self._source[told]
        return self._tracks.taken(told)


def _checked(boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
    boxes, scores = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    if boxes.shape != (len(scores), BOX_FIELDS) or not (
        np.isfinite(boxes).all() and np.isfinite(scores).all()
    ):
        raise Misuse(
            what="boxes cannot be tracked",
            why=f"they are {boxes.shape}, scores {scores.shape}, or a number is not finite",
            fix=f"Give (n, {BOX_FIELDS}) finite numbers and a score for each.",
        )
    return boxes, scores
