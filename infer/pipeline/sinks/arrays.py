"""A folder of NumPy files, one for each sweep: 000000.npz, 000001.npz and so on.

====================== =========================================================================
array                  what
====================== =========================================================================
stamp_us               int64, the sensor's clock
place_from_sensor      float64 (4, 4); the first letter of names below says in which frame they are
sensor_points          float32 (n, 4): x y z intensity, skew taken out where it is known
point_labels           uint8 (n,): 0 unknown, 1 ground, 2 above, 3 below it
sensor_boxes           float32 (b, 7): centre, length, width, height, yaw
box_classes, box_scores  uint8, float32 (b,); classes as in `infer.codec.CLASSES`
track_ids              int64 (t,)
place_tracks           float64 (t, 7), as boxes
place_velocities       float64 (t, 3), m/s
track_motion           float64 (t, 3, 3): variance of place, with speed, of speed, by axis
track_kinds            str (t,)
place_occupancy        float32 (rows, columns): log-odds, above 0 occupied; row 0 southernmost
occupancy_corner       float64 (3,): x, y of the grid's corner, and the width of a cell, metres
====================== =========================================================================
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from infer.pipeline.perceived import Perceived


class ArrayFolder:
    """Writes the files; the folder is made if its parent is there. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._written = folder, 0

    def write(self, perceived: Perceived) -> None:
        """See Sink."""
        boxes, tracks, occupancy = perceived.boxes, perceived.tracks, perceived.occupancy
        np.savez_compressed(
            self._folder / f"{self._written:06}.npz",
            stamp_us=np.int64(perceived.stamp_us),
            place_from_sensor=perceived.place_from_sensor.matrix(),
            sensor_points=perceived.scan.points,
            point_labels=perceived.labels,
            sensor_boxes=np.column_stack((boxes.centres, boxes.sizes, boxes.yaws)),
            box_classes=boxes.classes,
            box_scores=boxes.scores,
            track_ids=tracks.ids,
            place_tracks=tracks.boxes,
            place_velocities=tracks.velocity,
            track_motion=tracks.motion,
            track_kinds=np.array(perceived.kinds, str),
            place_occupancy=occupancy.log_odds,
            occupancy_corner=np.array([*occupancy.corner, occupancy.cell_m]),
        )
        self._written += 1

    def close(self) -> None:
        """Each file is complete by itself."""
