"""Oriented boxes around clusters of points: any clusters, by the points themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.rectangles import SIDES, U_HIGH, U_LOW, V_HIGH, V_LOW
from infer.kernels.threads import kernels_for
from infer.perception.clouds import checked

STEPS = 45  # angles tried in a quarter turn

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rectangles:
    """angles: float64 (n,), of each one's first axis, in [0, pi / 2). sides: float64 (n, 4), u low,
    u high, v low, v high along that axis and the second, from the origin; 0 for clusters of none.
    """

    angles: Floats
    sides: Floats


def fit_rectangles(
    points: NDArray[np.float32], first: Whole, members: Whole, *, threads: int = 1
) -> Rectangles:
    """The rectangle that each cluster of points (n, 4) speaks for, seen from above.

    members: indices of points, cluster by cluster; first: (clusters + 1,), where each begins.
    Raises Misuse as `clouds.checked` does.
    """
    points, count = checked(points, len(points)), len(first) - 1
    best, sides = np.zeros(count, np.int64), np.zeros((count, SIDES))
    kernels_for(threads).fit_all_rectangles(
        points,
        first,
        members,
        *np.empty((2, len(members))),
        turns(),
        np.empty((count, STEPS)),
        best,
        sides,
        threads,
    )
    angles = best.astype(np.float64) * (np.pi / 2 / STEPS)
    return Rectangles(angles, sides)


def fit_boxes(
    points: NDArray[np.float32], of_point: NDArray[np.int32], count: int, *, threads: int = 1
) -> Floats:
    """Upright boxes around clusters: float64 (count, 7), as `infer.track.overlap` has them.

    of_point: int32 (n,), the cluster of each point, -1 for none (`Clusters.of_point`). A box is as
    long and as high as its points are; its yaw is that of its longer side, in [0, pi). Clusters of
    no points have boxes of 0. Raises Misuse as `clouds.checked` does.
    """
    first, members = grouped_by(of_point, count)
    found = fit_rectangles(points, first, members, threads=threads)
    sides, boxes = found.sides, np.zeros((count, 7))
    u, v = sides[:, U_LOW] + sides[:, U_HIGH], sides[:, V_LOW] + sides[:, V_HIGH]
    c, s = np.cos(found.angles), np.sin(found.angles)
    boxes[:, 0], boxes[:, 1] = (u * c - v * s) / 2, (u * s + v * c) / 2
    wide, deep = sides[:, U_HIGH] - sides[:, U_LOW], sides[:, V_HIGH] - sides[:, V_LOW]
    boxes[:, 3], boxes[:, 4] = np.maximum(wide, deep), np.minimum(wide, deep)
    boxes[:, 6] = np.where(wide >= deep, found.angles, found.angles + np.pi / 2)
    some = first[:-1] < first[1:]
    if some.any():
        heights, begins = points[members, 2].astype(np.float64), first[:-1][some]
        low, high = np.minimum.reduceat(heights, begins), np.maximum.reduceat(heights, begins)
        boxes[some, 2], boxes[some, 5] = (low + high) / 2, high - low
    return boxes


def grouped_by(of_point: NDArray[np.int32], count: int) -> tuple[Whole, Whole]:
    """Where each cluster begins, (count + 1,), and the points cluster by cluster, in order."""
    inside = np.flatnonzero(of_point >= 0)
    order = inside[np.argsort(of_point[inside], kind="stable")]
    return np.searchsorted(of_point[order], np.arange(count + 1)), order


def turns() -> Floats:
    """Cosine and sine of the angles that are tried."""
    angles = np.arange(STEPS) * (np.pi / 2 / STEPS)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)
