"""A recording for Rerun's viewer, written by its SDK: `rerun FILE.rrd` opens it.

Entities: `place` is the tracks' frame of reference; in it `place/tracks` (with `velocity`),
`place/occupancy`, and `place/sensor` with `points` and `boxes`. `latency/STAGE` are milliseconds.
Timelines: `sensor_time`, `sweep`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rerun as rr

from infer.pipeline.perceived import Perceived
from infer.pipeline.sinks.drawing import (
    LABELS,
    box_kinds,
    cells,
    colours,
    floor_m,
    track_names,
    yaw_quaternions,
)

POINT_RADIUS_M = 0.03
_LABEL_COLOURS = ((90, 90, 90), (120, 100, 80), (235, 235, 235), (70, 70, 160))


class RerunFile:
    """Writes one .rrd. Raises OSError where it cannot."""

    def __init__(self, path: Path) -> None:
        path.open("wb").close()  # the SDK's own error would not say what
        self._to = rr.RecordingStream("framemesh infer")
        self._to.save(path)
        self._to.set_log_time_enabled(False)
        self._to.set_log_tick_enabled(False)
        self._written = 0
        self._to.log("place", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        points = [
            rr.AnnotationInfo(id=i, label=label, color=_LABEL_COLOURS[i])
            for i, label in enumerate(LABELS)
        ]
        self._to.log("place/sensor/points", rr.AnnotationContext(points), static=True)

    def write(self, perceived: Perceived) -> None:
        """See Sink."""
        self._to.set_time("sensor_time", timestamp=np.datetime64(perceived.stamp_us, "us"))
        self._to.set_time("sweep", sequence=self._written)
        self._written += 1
        self._log_sensor(perceived)
        self._log_tracks(perceived)
        self._log_occupancy(perceived)
        for stage, us in perceived.times_us.items():
            self._to.log(f"latency/{stage}", rr.Scalars(us / 1000))

    def close(self) -> None:
        """See Sink."""
        self._to.flush()
        self._to.disconnect()

    def _log_sensor(self, perceived: Perceived) -> None:
        pose, scan, boxes = perceived.place_from_sensor, perceived.scan, perceived.boxes
        kinds = box_kinds(perceived)
        placed = rr.Transform3D(translation=pose.translation, mat3x3=pose.rotation)
        self._to.log("place/sensor", placed)
        cloud = rr.Points3D(
            scan.points[scan.valid, :3],
            class_ids=perceived.labels[scan.valid],
            radii=POINT_RADIUS_M,
        )
        self._to.log("place/sensor/points", cloud)
        found = rr.Boxes3D(
            centers=boxes.centres,
            half_sizes=boxes.sizes / 2,
            quaternions=yaw_quaternions(boxes.yaws),
            labels=kinds,
            colors=colours(kinds),
            show_labels=False,
        )
        self._to.log("place/sensor/boxes", found)

    def _log_tracks(self, perceived: Perceived) -> None:
        tracks, shades = perceived.tracks, colours(perceived.kinds)
        objects = rr.Boxes3D(
            centers=tracks.boxes[:, :3],
            half_sizes=tracks.boxes[:, 3:6] / 2,
            quaternions=yaw_quaternions(tracks.boxes[:, 6]),
            labels=track_names(perceived),
            colors=shades,
        )
        self._to.log("place/tracks", objects)
        moving = rr.Arrows3D(vectors=tracks.velocity, origins=tracks.boxes[:, :3], colors=shades)
        self._to.log("place/tracks/velocity", moving)

    def _log_occupancy(self, perceived: Perceived) -> None:
        occupancy = perceived.occupancy
        picture = np.flipud(cells(occupancy.log_odds))  # a picture's first row is its northernmost
        rows, columns = picture.shape
        shape = rr.components.ImageFormat(
            width=columns, height=rows, color_model="L", channel_datatype="U8"
        )
        grid = rr.GridMap(
            data=picture.tobytes(),
            format=shape,
            cell_size=occupancy.cell_m,
            translation=[*occupancy.corner, floor_m(perceived)],
            colormap=rr.components.Colormap.RvizMap,
        )
        self._to.log("place/occupancy", grid)
