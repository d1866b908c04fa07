"""What pictures of tracks, boxes and ground have in common, whoever draws them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.codec import CLASSES
from infer.pipeline.perceived import Perceived

# By class, as in CLASSES: red, green, blue, 0..255.
COLOURS = np.array(
    [(130, 130, 140), (64, 156, 255), (255, 149, 0), (255, 69, 110), (52, 199, 89)], np.uint8
)
LABELS = ("unknown", "ground", "above", "below")  # of points
UNKNOWN, FREE, OCCUPIED = 255, 0, 100  # of cells, as ROS has them (nav_msgs/OccupancyGrid)
SURE = 4.0  # log-odds that are shown as certain


def yaw_quaternions(yaws: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 4), x y z w, of turns about z."""
    half = np.asarray(yaws, np.float64) / 2
    return np.column_stack((np.zeros((len(half), 2)), np.sin(half), np.cos(half)))


def track_names(perceived: Perceived) -> list[str]:
    """ "car 12" """
    numbered = zip(perceived.classes.tolist(), perceived.tracks.ids.tolist(), strict=True)
    return [f"{CLASSES[name]} {number}" for name, number in numbered]


def cells(log_odds: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities in per cent of being occupied, UNKNOWN where nothing is known; same rows."""
    probable = 100 / (1 + np.exp(-np.clip(log_odds, -SURE, SURE).astype(np.float64)))
    return np.where(log_odds == 0, UNKNOWN, np.rint(probable)).astype(np.uint8)


def floor_m(perceived: Perceived) -> float:
    """How high the ground under the sensor is, in the tracks' frame of reference."""
    below = 0.0 if perceived.ground is None else perceived.ground.height_m
    return float(perceived.place_from_sensor.translation[2]) + below
