"""Objects from LiDAR alone, by geometry: above the ground, apart from others, of a thing's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.fusion.bonnets import joined
from infer.fusion.footprints import (
    ANGLE,
    FLOOR,
    POINTS,
    TOP,
    U_HIGH,
    U_LOW,
    V_HIGH,
    V_LOW,
    footprints,
    grouped,
)
from infer.fusion.heights import heights
from infer.fusion.objects import NONE, Floats, Objects, Whole, nothing
from infer.fusion.shapes import SIZES, classified, completed, extents, lengthwise
from infer.fusion.surroundings import surroundings
from infer.kernels.bodies.plane import ABOVE, GROUND_POINT, UNKNOWN_POINT
from infer.perception.area import Area
from infer.perception.clusters import Clusterer
from infer.perception.ground import Ground, GroundFinder, PlaneSearch

STREET = Area(51.2, 0.2)
TOO_LARGE = (2.8, 6.2)  # m: shorter and longer side of what is looked at again
DOUBT = 8.0  # points: of so many, half of what they look like is believed
PLACE_M = 0.3  # a standard deviation: of a box's middle, most of which is what nobody saw
FASTEST = 10.0  # m/s, a standard deviation: how fast what was seen once may be


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken for an object. Lengths in metres.

    area: where objects are looked for, and the cells by which points are near each other. link,
    fine_link: cells apart at most in one cluster, and in a cluster that is too large for a thing
    and is looked at again. band: heights above the ground of what is clustered: below is ground
    that is not flat, above are crowns and wires. overhead: a thing that goes on into this band is
    a wall, a trunk or a pole. least_points: of a cluster. origin: where in the points' frame the
    sensor stands.
    """

    area: Area = STREET
    link: int = 2
    fine_link: int = 1
    band: tuple[float, float] = (0.25, 2.1)
    overhead: tuple[float, float] = (2.3, 2.9)
    least_points: int = 5
    origin: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the LiDAR sees; valid until the next sweep.

    of_point: int32 (n,), the cluster of each point, NONE for none. above: float32 (n,), heights
    above the ground, metres. begin, members: the points by cluster, see `footprints.grouped`.
    """

    objects: Objects
    of_point: NDArray[np.int32]
    above: NDArray[np.float32]
    ground: Ground | None
    begin: Whole
    members: Whole

    def points_of(self, cluster: int) -> Whole:
        """A cluster's points, by their indices; none of NONE."""
        if cluster == NONE:
            return self.members[:0]
        return self.members[self.begin[cluster] : self.begin[cluster + 1]]


class LidarDetector:
    """Finds objects in sweeps; keeps its scratch between them. Not for two threads at once."""

    def __init__(self, max_points: int, rules: Rules | None = None, threads: int = 1) -> None:
        self.rules = rules or Rules()
        self._ground = GroundFinder(PlaneSearch(), max_points, threads)
        self._coarse, self._fine = (
            Clusterer(self.rules.area, max_points, threads, link=link)
            for link in (self.rules.link, self.rules.fine_link)
        )

    def detect(self, points: NDArray[np.float32]) -> Seen:
        """The objects in float32 (n, 4) points, z up; none where no ground is seen.

        Raises Misuse as `clouds.checked` does.
        """
        ground = self._ground.find(points)
        if ground is None:
            apart, unknown = np.full(len(points), NONE, np.int32), np.full(len(points), np.nan)
            none = np.zeros(1, np.int64)
            return Seen(nothing(), apart, unknown.astype(np.float32), None, none, none[:0])
        above = heights(points, ground.slope_x, ground.slope_y, ground.height_m)
        of_point, count = self._clustered(points, above, ground)
        begin, members = grouped(of_point, count)
        prints = footprints(points, above, begin, members)
        around = surroundings(
            points, above, of_point, count, self.rules.area.reach_m, *self.rules.overhead
        )
        objects = self._objects(prints, around)
        return Seen(objects, of_point, above, ground, begin, members)

    def _clustered(
        self, points: NDArray[np.float32], above: NDArray[np.float32], ground: Ground
    ) -> tuple[NDArray[np.int32], int]:
        """The cluster of each point, and how many there are."""
        low, high = self.rules.band
        known = ground.labels != UNKNOWN_POINT
        standing = known & (above > low) & (above < high)
        labels = np.where(standing, ABOVE, GROUND_POINT).astype(np.uint8)
        coarse = self._coarse.cluster(points, labels)
        begin, members = grouped(coarse.of_point, coarse.count)
        prints = footprints(points, above, begin, members)
        sides = np.sort(prints[:, (U_HIGH, V_HIGH)] - prints[:, (U_LOW, V_LOW)], axis=1)
        large = np.append((sides > TOO_LARGE).any(axis=1), False)  # the last: of no cluster
        again = large[coarse.of_point]
        labels[~again] = GROUND_POINT
        fine = self._fine.cluster(points, labels)
        of_point = np.where(again, fine.of_point + coarse.count, coarse.of_point)
        count = coarse.count + fine.count
        return joined(points, above, of_point.astype(np.int32), count, self.rules.origin), count

    def _objects(self, prints: Floats, around: Floats) -> Objects:
        """prints: of all clusters. around: see `surroundings`."""
        kept = np.flatnonzero(prints[:, POINTS] >= self.rules.least_points)
        prints, around = prints[kept], around[kept]
        away = distances(prints, self.rules.origin)
        kinds, alike = classified(prints, around, away)
        known = prints[:, POINTS] / (prints[:, POINTS] + DOUBT)
        origin = self.rules.origin
        flat = completed(prints, extents(kinds), lengthwise(prints, kinds, origin), origin)
        boxes = standing(flat, kinds, prints)
        return seen_by_lidar(boxes, kinds, alike * known, kept)


def distances(prints: Floats, origin: tuple[float, float]) -> Floats:
    """Of footprints' middles from the sensor, (n,)."""
    c, s = np.cos(prints[:, ANGLE]), np.sin(prints[:, ANGLE])
    u, v = (prints[:, (U_LOW, V_LOW)] + prints[:, (U_HIGH, V_HIGH)]).T / 2
    away: Floats = np.hypot(u * c - v * s - origin[0], u * s + v * c - origin[1])
    return away


def standing(flat: Floats, kinds: Whole, prints: Floats) -> Floats:
    """Boxes (n, 7) that stand on the ground, of x y length width yaw (n, 5); at least as high as
    is usual of their class, and as what was seen of them.
    """
    usual = np.array([SIZES[k].typical[2] if k in SIZES else 0.0 for k in kinds.tolist()])
    height = np.maximum(prints[:, TOP], usual)
    middle = prints[:, FLOOR] + height / 2
    return np.column_stack((flat[:, :2], middle, flat[:, 2:4], height, flat[:, 4]))


def seen_by_lidar(boxes: Floats, kinds: Whole, scores: Floats, clusters: Whole) -> Objects:
    """Objects that nothing but the LiDAR has seen, and that may move anyhow."""
    n = len(boxes)
    covariance = np.zeros((n, 4, 4))
    covariance[:, (0, 1), (0, 1)] = PLACE_M**2
    covariance[:, (2, 3), (2, 3)] = FASTEST**2
    none = np.full(n, NONE)
    return Objects(boxes, kinds, scores, np.zeros((n, 2)), covariance, clusters, none, none, none)
