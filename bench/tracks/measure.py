"""How well objects were tracked: CLEAR MOT over all recalls, as AB3DMOT evaluates KITTI.

MOTA of Bernardin and Stiefelhagen (2008) with KITTI's rules of what counts, at 40 recalls; AMOTA is
its mean, sAMOTA the mean of MOTA scaled to what each recall allows (Weng et al., IROS 2020, eqs.
2-6). Written from the paper and the devkit's description, checked against cases by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.tracks.kitti import Drive, Objects, Truth
from infer.track.assignment import assigned
from infer.track.overlap import overlaps

Floats = NDArray[np.float64]

RECALLS = 40
LEAST_IOU = 0.25
LEAST_PIXELS = 25  # in height: what is smaller need not be right
_NEVER = 1e9


@dataclass(slots=True)
class Count:
    """Over sequences. objects: that had to be found."""

    objects: int = 0
    missed: int = 0
    false: int = 0
    switches: int = 0
    scores: list[float] = field(default_factory=list)  # of right boxes

    @property
    def mota(self) -> float:
        """1 minus all errors per object."""
        return 1 - (self.missed + self.false + self.switches) / max(self.objects, 1)

    def scaled_mota(self, recall: float) -> float:
        """MOTA, 1 where nothing is wrong but what that recall leaves out; never below 0."""
        beyond = self.missed + self.false + self.switches - (1 - recall) * self.objects
        return min(1.0, max(0.0, 1 - beyond / (recall * self.objects)))


@dataclass(frozen=True, slots=True)
class Score:
    """samota, amota: over recalls. mota, switches: at the score where MOTA is best."""

    samota: float
    amota: float
    mota: float
    switches: int


def measured(drives: Sequence[Drive], tracked: Sequence[list[Objects]]) -> Score:
    """tracked: by drive and frame; a track's score is the mean of its boxes'."""
    levelled = [_levelled(frames) for frames in tracked]
    everything = count(drives, levelled, -np.inf)
    steps = thresholds(everything.scores, len(everything.scores) + everything.missed)
    counts = [count(drives, levelled, threshold) for threshold, _ in steps]
    scaled = [each.scaled_mota(recall) for each, (_, recall) in zip(counts, steps, strict=True)]
    best = max(counts, key=lambda each: each.mota)
    plain = sum(each.mota for each in counts)
    return Score(sum(scaled) / RECALLS, plain / RECALLS, best.mota, best.switches)


def thresholds(scores: Sequence[float], objects: int) -> list[tuple[float, float]]:
    """(score, recall): what to ask of scores so as to find each 40th part more of the objects."""
    found, recall = [], 0.0
    ordered = sorted(scores, reverse=True)
    for i, score in enumerate(ordered):
        last = i == len(ordered) - 1
        here, after = (i + 1) / objects, (i + 1 if last else i + 2) / objects
        if after - recall < recall - here and not last:
            continue
        found.append((score, recall))
        recall += 1 / RECALLS
    return found[1:]  # the first is of recall 0


def count(drives: Sequence[Drive], tracked: Sequence[list[Objects]], threshold: float) -> Count:
    """Of tracks that score at least `threshold`."""
    total = Count()
    for drive, frames in zip(drives, tracked, strict=True):
        history: dict[int, list[tuple[int, bool]]] = {}
        for truth, every in zip(drive.truth, frames, strict=True):
            _count_frame(truth, _kept(every, every.scores >= threshold), total, history)
        total.switches += sum(_switches(seen) for seen in history.values())
    return total


def _count_frame(
    truth: Truth, tracks: Objects, total: Count, history: dict[int, list[tuple[int, bool]]]
) -> None:
    at = matched(truth.objects.boxes, tracks.boxes)
    right = at >= 0
    free = np.setdiff1d(np.arange(len(tracks.boxes)), at[right])
    total.objects += int(truth.counted.sum())
    total.missed += int((~right & truth.counted).sum())
    total.false += sum(not _excused(tracks.pictures[i], truth.regions) for i in free)
    total.scores += tracks.scores[at[right]].tolist()
    for i, name in enumerate(truth.objects.ids.tolist()):
        who = int(tracks.ids[at[i]]) if right[i] else -1
        history.setdefault(name, []).append((who, not truth.counted[i]))


def matched(boxes: Floats, others: Floats) -> NDArray[np.int64]:
    """For each box the other that is the same, by the most overlap in all; -1 for none."""
    if not len(boxes) or not len(others):
        return np.full(len(boxes), -1)
    found = overlaps(boxes, others, False)
    costs = np.where(found >= LEAST_IOU, 1 - found, _NEVER)
    at: NDArray[np.int64] = assigned(costs)
    near = costs[np.arange(len(at)), at] < _NEVER
    return np.where((at >= 0) & near, at, -1)


def _excused(picture: Floats, regions: Floats) -> bool:
    """Whether a box that is nobody's is no error: too small, or where nothing was labelled."""
    left, top, right, bottom = picture
    if bottom - top <= LEAST_PIXELS:
        return True
    width = np.minimum(right, regions[:, 2]) - np.maximum(left, regions[:, 0])
    height = np.minimum(bottom, regions[:, 3]) - np.maximum(top, regions[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    return bool((shared > 0.5 * (right - left) * (bottom - top)).any())


def _switches(seen: list[tuple[int, bool]]) -> int:
    """How often an object was another's, from one frame to the next."""
    if all(ignored for _, ignored in seen):
        return 0
    switches, last = 0, seen[0][0]
    for (before, _), (who, ignored) in pairwise(seen):
        if ignored:
            last = -1
            continue
        switches += -1 not in {last, who, before} and who != last
        last = who if who != -1 else last
    return switches


def _levelled(frames: list[Objects]) -> list[Objects]:
    """Every box with the mean score of its track."""
    ids = np.concatenate([each.ids for each in frames])
    scores = np.concatenate([each.scores for each in frames])
    names, of = np.unique(ids, return_inverse=True)
    mean = np.bincount(of, scores) / np.maximum(np.bincount(of), 1)
    level = dict(zip(names.tolist(), mean.tolist(), strict=True))
    return [
        Objects(e.boxes, e.pictures, e.ids, np.array([level[i] for i in e.ids.tolist()]))
        for e in frames
    ]


def _kept(objects: Objects, which: NDArray[np.bool_]) -> Objects:
    return Objects(
        objects.boxes[which], objects.pictures[which], objects.ids[which], objects.scores[which]
    )
