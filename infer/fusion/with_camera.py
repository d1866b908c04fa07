"""Objects that a LiDAR found, and what a camera found in the same place: late fusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.fusion.frustum import Fitting, nearest_thing
from infer.fusion.lidar_objects import Rules, Seen, seen_by_lidar
from infer.fusion.objects import NONE, Floats, Objects, Whole
from infer.fusion.pictures import NEAREST_M, View, areas, outlines, overlap
from infer.fusion.rules import FusionRules
from infer.fusion.shapes import SIZES
from infer.track.assignment import assigned
from infer.track.overlap import BOX_FIELDS


@dataclass(frozen=True, slots=True, eq=False)
class CameraFusion:
    """One camera's part. points: float32 (n, 4), the sweep that `seen` is of. number: the camera's,
    as objects name it.
    """

    rules: FusionRules
    lidar: Rules
    points: NDArray[np.float32]
    seen: Seen
    view: View
    number: int

    def fused(self, objects: Objects) -> Objects:
        """Objects with what the camera knows of them, and what only it has seen."""
        fitting = Fitting(self.view, self.lidar.origin)
        spots = spots_of(self.points, self.seen, self.view, self.lidar.band)
        shown, inside = outlines(objects.boxes, self.view)
        around = spots.around(self.seen, objects)
        at = self._matched(objects, shown, around)
        found = at != NONE
        first = found & (objects.pictures == NONE)
        doubted = self._doubted(objects.scores, shown, around)
        known = objects.with_changes(
            scores=np.where(inside & ~found, doubted, objects.scores),
            pictures=np.where(first, at, objects.pictures),
            cameras=np.where(first, self.number, objects.cameras),
        )
        rest = np.setdiff1d(np.arange(len(self.view.boxes)), at[found])
        return self._confirmed(known, at, shown, fitting) + self._proposed(rest, spots, fitting)

    def _matched(self, objects: Objects, shown: Floats, around: Floats) -> Whole:
        """For each object which detection it is, NONE for none: the most overlap in all.

        Of an object that the LiDAR saw a part of, its points' outline may agree better than its
        completed box's; of one that the camera saw a part of, either may.
        """
        if not len(objects) or not len(self.view.boxes):
            return np.full(len(objects), NONE)
        agreement = np.maximum(overlap(shown, self.view.boxes), overlap(around, self.view.boxes))
        at: Whole = assigned(-agreement)
        worst = agreement[np.arange(len(at)), at]  # at NONE it is of no account
        return np.where((at >= 0) & (worst >= self.rules.least_overlap), at, NONE)

    def _doubted(self, scores: Floats, shown: Floats, around: Floats) -> Floats:
        """Scores of objects that the camera did not find, by Bayes' rule: the odds that each is
        there, times how often the camera misses what shows as much as it does.
        """
        height = shown[:, 3] - shown[:, 1]
        visible = np.minimum(areas(around) / np.maximum(areas(shown), 1.0), 1.0)
        effective = np.maximum(height * np.sqrt(visible), 1.0)
        rules = self.rules
        share = rules.most / (1 + (rules.half_px / effective) ** rules.steepness)
        missed = np.where(height >= rules.reach_px, 1 - share, 1.0)
        doubted: Floats = scores * missed / (1 - scores + scores * missed)
        return doubted

    def _confirmed(self, objects: Objects, at: Whole, shown: Floats, fitting: Fitting) -> Objects:
        """Objects with the class that the camera says, and boxes that look as it saw them."""
        boxes, kinds, scores = objects.boxes.copy(), objects.kinds.copy(), objects.scores.copy()
        for i in np.flatnonzero(at != NONE).tolist():
            k, kind = int(at[i]), int(self.view.kinds[at[i]])
            agree = kinds[i] == kind
            alike = overlap(shown[i : i + 1], self.view.boxes[k : k + 1])[0, 0]
            own = self.seen.points_of(int(objects.clusters[i]))
            if kind in SIZES and len(own) and not (agree and alike >= self.rules.alike):
                picture = self.view.boxes[k]
                boxes[i] = fitting.fitted(
                    self.points[own],
                    self.seen.above[own],
                    kind,
                    picture,
                    large=bool(self.view.large[k]),
                )
            believed = scores[i] if agree else self.rules.stands
            kinds[i], scores[i] = kind, 1 - (1 - believed) * (1 - self.view.scores[k])
        return objects.with_changes(boxes=boxes, kinds=kinds, scores=scores)

    def _proposed(self, rest: Whole, spots: Spots, fitting: Fitting) -> Objects:
        """Objects of detections that are no cluster's, of the points in their frustums."""
        made, of = [], []
        for k in rest.tolist():
            kind, picture = int(self.view.kinds[k]), self.view.boxes[k]
            if kind not in SIZES:
                continue
            deep = SIZES[kind].typical[1]
            own = spots.points[nearest_thing(spots.pixels, spots.depths, picture, deep)]
            if len(own):
                of.append(k)
                made.append(
                    fitting.fitted(
                        self.points[own],
                        self.seen.above[own],
                        kind,
                        picture,
                        large=bool(self.view.large[k]),
                    )
                )
        named = np.array(of, np.int64)
        boxes = np.array(made, np.float64).reshape(-1, BOX_FIELDS)
        scores = self.rules.alone * self.view.scores[named]
        found = seen_by_lidar(boxes, self.view.kinds[named], scores, np.full(len(of), NONE))
        return found.with_changes(pictures=named, cameras=np.full(len(of), self.number))


@dataclass(frozen=True, slots=True, eq=False)
class Spots:
    """Where a picture shows what stands above the ground. points: int64 (k,), indices. pixels:
    float64 (k, 2). depths: float64 (k,), metres.
    """

    points: Whole
    pixels: Floats
    depths: Floats

    def around(self, seen: Seen, objects: Objects) -> Floats:
        """What the points of each object's cluster fill of the picture: (n, 4), zeros for none."""
        boxes = np.full((len(seen.begin), 4), (np.inf, np.inf, -np.inf, -np.inf))
        of = seen.of_point[self.points]
        np.minimum.at(boxes[:, :2], of[of != NONE], self.pixels[of != NONE])
        np.maximum.at(boxes[:, 2:], of[of != NONE], self.pixels[of != NONE])
        named = boxes[objects.clusters]  # NONE: the last, which is nobody's
        return np.where(np.isfinite(named), named, 0.0)


def spots_of(
    points: NDArray[np.float32], seen: Seen, view: View, band: tuple[float, float]
) -> Spots:
    """Of points between two heights above the ground."""
    standing = np.flatnonzero((seen.above > band[0]) & (seen.above < band[1]))
    placed = view.from_objects.apply(points[standing, :3])
    ahead = placed[:, 2] > NEAREST_M
    pixels, inside = view.camera.project(placed[ahead])
    return Spots(standing[ahead][inside], pixels[inside], placed[ahead][inside, 2])
