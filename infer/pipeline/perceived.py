"""What is known of one instant: the pipeline's result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.codec import Boxes
from infer.frames.measurements import LidarScan
from infer.frames.pose import Pose
from infer.perception.ground import Ground
from infer.track.tracks import Tracks


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """A square of the ground. log_odds: float32 (across, across), above 0 occupied, below 0 free.

    Row 0 is the southernmost (smallest y), column 0 the westernmost (smallest x). corner: of the
    first cell, x and y in metres in the tracks' frame of reference.
    """

    log_odds: NDArray[np.float32]
    corner: tuple[float, float]
    cell_m: float

    @property
    def occupied_m2(self) -> float:
        """How much of it is believed to be taken."""
        return float((self.log_odds > 0).sum()) * self.cell_m**2

    @property
    def free_m2(self) -> float:
        """How much of it is believed to be free; of the rest nothing is known."""
        return float((self.log_odds < 0).sum()) * self.cell_m**2


@dataclass(frozen=True, slots=True, eq=False)
class Perceived:
    """One instant.

    scan: what was seen, in the sensor's frame of reference, as are boxes and ground. labels: uint8
    (n,) of its points, see `infer.kernels.bodies.plane`. ground: None where none was found.
    missing: sectors that never came, so nothing is known of boxes there. place_from_sensor: the
    frame of reference of tracks and occupancy, which is the world's where the recording says where
    the vehicle was, and else the sensor's own. kinds: what each track is of. times_us:
    microseconds by stage, in the order they ran.
    """

    stamp_us: int
    scan: LidarScan
    labels: NDArray[np.uint8]
    ground: Ground | None
    boxes: Boxes
    missing: tuple[int, ...]
    place_from_sensor: Pose
    tracks: Tracks
    kinds: tuple[str, ...]
    occupancy: Occupancy
    times_us: Mapping[str, int]
