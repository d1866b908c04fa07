"""Objects as every sensor, and all of them together, tell of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.track.overlap import BOX_FIELDS

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

CLASSES = ("vehicle", "pedestrian", "cyclist", "other")
VEHICLE, PEDESTRIAN, CYCLIST, OTHER = range(4)
NONE = -1  # as an index: this sensor did not see it


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """n objects in one frame of reference, x forward, y left, z up.

    boxes: float64 (n, 7), see `infer.track.overlap`. kinds: int64 (n,), into CLASSES; a cyclist is
    any two-wheeler, ridden or not. scores: float64 (n,), 0 to 1. velocity: float64 (n, 2), x y over
    the ground, m/s; 0 where nothing is known of it, which the covariance says. covariance: float64
    (n, 4, 4), of x, y, vx, vy. clusters, pictures, targets: int64 (n,), which of the LiDAR's
    clusters, of the camera's detections and of the radar's targets it was made of, NONE for none.
    cameras: int64 (n,), which camera that detection is of; the first that saw it.
    """

    boxes: Floats
    kinds: Whole
    scores: Floats
    velocity: Floats
    covariance: Floats
    clusters: Whole
    pictures: Whole
    cameras: Whole
    targets: Whole

    def __len__(self) -> int:
        return len(self.boxes)

    def taken(self, which: NDArray[np.bool_] | Whole) -> Objects:
        """Some of them, by mask or index."""
        return Objects(*(values[which] for values in self._values()))

    def with_changes(self, **values: Any) -> Objects:
        """The same objects, of which something else is known."""
        return replace(self, **values)

    def of_kind(self, kind: int) -> Objects:
        """Those of one class."""
        return self.taken(self.kinds == kind)

    def __add__(self, others: Objects) -> Objects:
        """Both, of one frame of reference."""
        pairs = zip(self._values(), others._values(), strict=True)
        return Objects(*(np.concatenate(pair) for pair in pairs))

    def _values(self) -> tuple[NDArray[Any], ...]:
        return (
            self.boxes, self.kinds, self.scores, self.velocity, self.covariance,
            self.clusters, self.pictures, self.cameras, self.targets,
        )  # fmt: skip


def nothing() -> Objects:
    """No objects."""
    none = np.zeros(0, np.int64)
    return Objects(
        np.zeros((0, BOX_FIELDS)), none, np.zeros(0), np.zeros((0, 2)), np.zeros((0, 4, 4)),
        none, none, none, none,
    )  # fmt: skip
