"""What pictures of tracks, boxes and ground have in common, whoever draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infer.codec import CLASSES
from infer.pipeline.perceived import Perceived

_COLOURS = {  # red, green, blue, 0..255
    "other": (130, 130, 140),
    "car": (64, 156, 255),
    "vehicle": (64, 156, 255),
    "truck": (255, 149, 0),
    "pedestrian": (255, 69, 110),
    "cyclist": (52, 199, 89),
}
LABELS = ("unknown", "ground", "above", "below")  # of points
UNKNOWN, FREE, OCCUPIED = 255, 0, 100  # of cells, as ROS has them (nav_msgs/OccupancyGrid)
SURE = 4.0  # log-odds that are shown as certain


def yaw_quaternions(yaws: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 4), x y z w, of turns about z."""
    half = np.asarray(yaws, np.float64) / 2
    return np.column_stack((np.zeros((len(half), 2)), np.sin(half), np.cos(half)))


def colours(kinds: Sequence[str]) -> NDArray[np.uint8]:
    """(n, 3): red, green, blue of each kind of thing."""
    return np.array([_COLOURS[kind] for kind in kinds], np.uint8).reshape(-1, 3)


def box_kinds(perceived: Perceived) -> list[str]:
    """What the mesh's boxes are of."""
    return [CLASSES[c] for c in perceived.boxes.classes.tolist()]


def track_names(perceived: Perceived) -> list[str]:
    """ "car 12" """
    numbered = zip(perceived.kinds, perceived.tracks.ids.tolist(), strict=True)
    return [f"{kind} {number}" for kind, number in numbered]


def cells(log_odds: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities in per cent of being occupied, UNKNOWN where nothing is known; same rows."""
    probable = 100 / (1 + np.exp(-np.clip(log_odds, -SURE, SURE).astype(np.float64)))
    return np.where(log_odds == 0, UNKNOWN, np.rint(probable)).astype(np.uint8)


def floor_m(perceived: Perceived) -> float:
    """How high the ground under the sensor is, in the tracks' frame of reference."""
    below = 0.0 if perceived.ground is None else perceived.ground.height_m
    return float(perceived.place_from_sensor.translation[2]) + below
