"""Objects that a LiDAR found, and what a camera found in the same place: late fusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.fusion.frustum import Fitting, nearest_thing
from infer.fusion.lidar_objects import Rules, Seen, seen_by_lidar
from infer.fusion.objects import CYCLIST, NONE, PEDESTRIAN, Floats, Objects, Whole
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
        crowds = self._crowds(spots, objects, at)
        rest = np.setdiff1d(np.arange(len(self.view.boxes)), at[found])
        confirmed = self._confirmed(known, at, shown, crowds, fitting)
        return confirmed + self._proposed(rest, spots, crowds, fitting)

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

    def _crowds(self, spots: Spots, objects: Objects, at: Whole) -> Crowds:
        """Of people and two-wheelers that are no cluster of their own: they are so close to
        something else that the LiDAR takes both for one.
        """
        alone = {
            int(at[i])
            for i in np.flatnonzero(at != NONE).tolist()
            if self._holds(int(objects.clusters[i]), int(self.view.kinds[at[i]]))
        }
        small = np.flatnonzero(np.isin(self.view.kinds, (PEDESTRIAN, CYCLIST))).tolist()
        crowds = {k: self._crowd(spots, k) for k in small if k not in alone}
        crowds = {k: own for k, own in crowds.items() if len(own)}
        about = np.zeros(len(self.points), np.bool_)
        for k, own in crowds.items():
            long = SIZES[int(self.view.kinds[k])].longer[0]
            about[spots.about(own, self.view.boxes[k], long)] = True
        return Crowds(crowds, about)

    def _crowd(self, spots: Spots, k: int) -> Whole:
        """The points that detection k is of, see `frustum.nearest_thing`."""
        deep = SIZES[int(self.view.kinds[k])].typical[1]
        return spots.points[nearest_thing(spots.pixels, spots.depths, self.view.boxes[k], deep)]

    def _holds(self, cluster: int, kind: int) -> bool:
        """Whether a cluster is no larger than a thing of its class may be."""
        own = self.points[self.seen.points_of(cluster), :2]
        return bool(len(own)) and bool(np.ptp(own, axis=0).max() <= SIZES[kind].longer[1])

    def _confirmed(
        self,
        objects: Objects,
        at: Whole,
        shown: Floats,
        crowds: Crowds,
        fitting: Fitting,
    ) -> Objects:
        """Objects with the class that the camera says, and boxes that look as it saw them."""
        boxes, kinds, scores = objects.boxes.copy(), objects.kinds.copy(), objects.scores.copy()
        for i in np.flatnonzero(at != NONE).tolist():
            k, kind = int(at[i]), int(self.view.kinds[at[i]])
            agree = kinds[i] == kind
            alike = overlap(shown[i : i + 1], self.view.boxes[k : k + 1])[0, 0]
            cluster = self.seen.points_of(int(objects.clusters[i]))
            own = crowds.of.get(k, cluster[~crowds.about[cluster]])
            stays = agree and alike >= self.rules.alike and len(own) == len(cluster)
            if kind in SIZES and len(own) and not stays:
                boxes[i] = self._fitted(own, k, fitting)
            believed = scores[i] if agree else self.rules.stands
            kinds[i], scores[i] = kind, 1 - (1 - believed) * (1 - self.view.scores[k])
        return objects.with_changes(boxes=boxes, kinds=kinds, scores=scores)

    def _fitted(self, own: Whole, k: int, fitting: Fitting) -> Floats:
        """The box of what detection k saw and these points are of."""
        return fitting.fitted(
            self.points[own],
            self.seen.above[own],
            int(self.view.kinds[k]),
            self.view.boxes[k],
            large=bool(self.view.large[k]),
        )

    def _proposed(self, rest: Whole, spots: Spots, crowds: Crowds, fitting: Fitting) -> Objects:
        """Objects of detections that are no cluster's, of the points in their frustums."""
        made, of = [], []
        for k in rest.tolist():
            if int(self.view.kinds[k]) not in SIZES:
                continue
            own = crowds.of[k] if k in crowds.of else self._crowd(spots, k)
            if len(own):
                of.append(k)
                made.append(self._fitted(own, k, fitting))
        named = np.array(of, np.int64)
        boxes = np.array(made, np.float64).reshape(-1, BOX_FIELDS)
        scores = self.rules.alone * self.view.scores[named]
        found = seen_by_lidar(boxes, self.view.kinds[named], scores, np.full(len(of), NONE))
        return found.with_changes(pictures=named, cameras=np.full(len(of), self.number))


@dataclass(frozen=True, slots=True, eq=False)
class Crowds:
    """Points that belong to detections rather than to the cluster they are in. of: by detection,
    indices of points. about: bool (n,), which points are theirs, or may be.
    """

    of: dict[int, Whole]
    about: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Spots:
    """Where a picture shows what stands above the ground. points: int64 (k,), indices. pixels:
    float64 (k, 2). depths: float64 (k,), metres.
    """

    points: Whole
    pixels: Floats
    depths: Floats

    def about(self, crowd: Whole, picture: Floats, long_m: float) -> Whole:
        """The points in a detection's box that may be of one thing with its crowd, as long as such
        things are: at its rim, and behind its middle.
        """
        depths = self.depths[np.isin(self.points, crowd)]
        inside = ((self.pixels >= picture[:2]) & (self.pixels <= picture[2:])).all(axis=1)
        inside &= (self.depths > depths.max() - long_m) & (self.depths < depths.min() + long_m)
        found: Whole = self.points[inside]
        return found

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
