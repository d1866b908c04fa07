"""An MCAP file in Foxglove's own schemas, written by its SDK: Foxglove opens it, and Lichtblick.

Topics: `/tf` (FrameTransform), `/points` (PointCloud), `/boxes` and `/tracks` (SceneUpdate),
`/occupancy` (Grid of one byte a cell: per cent of being occupied, 255 unknown), `/latency` (JSON:
microseconds by stage).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import foxglove
import numpy as np
from foxglove import channels, messages
from numpy.typing import NDArray

from infer.frames.pose import Pose
from infer.pipeline.perceived import Perceived
from infer.pipeline.sinks.drawing import (
    box_kinds,
    cells,
    colours,
    floor_m,
    track_names,
    yaw_quaternions,
)
from infer.track.overlap import YAW
from mesh.core.errors import ContentRefused

LIFE_S = 0.5  # of boxes that nothing replaces
_MOST_US = 0xFFFF_FFFF * 1_000_000  # seconds are 32 bits there
_LATENCY = {
    "type": "object",
    "title": "framemesh.StageTimes",
    "description": "microseconds by stage",
    "additionalProperties": {"type": "integer"},
}
_FLOAT32 = messages.PackedElementFieldNumericType.Float32
_UINT8 = messages.PackedElementFieldNumericType.Uint8
_POINT_FIELDS = [
    messages.PackedElementField(name=name, offset=4 * i, type=_FLOAT32)
    for i, name in enumerate(("x", "y", "z", "intensity"))
]


class FoxgloveFile:
    """Writes one .mcap, in place of what was there. Raises OSError where it cannot."""

    def __init__(self, path: Path) -> None:
        path.open("wb").close()
        self._context = context = foxglove.Context()  # its channels end with it
        self._file = foxglove.open_mcap(path, allow_overwrite=True, context=context)
        self._tf = channels.FrameTransformChannel("/tf", context=context)
        self._points = channels.PointCloudChannel("/points", context=context)
        self._boxes = channels.SceneUpdateChannel("/boxes", context=context)
        self._tracks = channels.SceneUpdateChannel("/tracks", context=context)
        self._grid = channels.GridChannel("/occupancy", context=context)
        self._latency = foxglove.Channel("/latency", schema=_LATENCY, context=context)

    def write(self, perceived: Perceived) -> None:
        """See Sink."""
        if not 0 <= perceived.stamp_us <= _MOST_US:
            raise ContentRefused(
                what="a sweep does not go into the Foxglove file",
                why=f"its stamp of {perceived.stamp_us} us does not fit the format's time",
                fix="Write another format, or have the recording's clock set.",
            )
        seconds, rest_us = divmod(perceived.stamp_us, 1_000_000)
        at, log_time = messages.Timestamp(seconds, rest_us * 1000), perceived.stamp_us * 1000
        pose, boxes, tracks = perceived.place_from_sensor, perceived.boxes, perceived.tracks
        sensor = _sensor_name(pose)
        rows = np.column_stack((boxes.centres, boxes.sizes, boxes.yaws))
        kinds = box_kinds(perceived)
        names = [f"{kind} box {i}" for i, kind in enumerate(kinds)]
        self._tf.log(_transform(at, pose), log_time=log_time)
        self._points.log(_cloud(at, sensor, perceived), log_time=log_time)
        found = _scene(at, sensor, rows, names, kinds, alpha=0.35)
        self._boxes.log(found, log_time=log_time)
        told = _scene(
            at, pose.target, tracks.boxes, track_names(perceived), perceived.kinds, alpha=0.6
        )
        self._tracks.log(told, log_time=log_time)
        self._grid.log(_grid(at, perceived), log_time=log_time)
        self._latency.log(json.dumps(dict(perceived.times_us)).encode(), log_time=log_time)

    def close(self) -> None:
        """See Sink."""
        self._file.close()


def _sensor_name(pose: Pose) -> str:
    """A frame of reference is no child of itself."""
    return pose.source if pose.source != pose.target else f"{pose.source}_sensor"


def _transform(at: messages.Timestamp, pose: Pose) -> messages.FrameTransform:
    w, x, y, z = pose.quaternion().tolist()
    return messages.FrameTransform(
        timestamp=at,
        parent_frame_id=pose.target,
        child_frame_id=_sensor_name(pose),
        translation=_vector(pose.translation),
        rotation=messages.Quaternion(x=x, y=y, z=z, w=w),
    )


def _cloud(at: messages.Timestamp, frame: str, perceived: Perceived) -> messages.PointCloud:
    scan = perceived.scan
    return messages.PointCloud(
        timestamp=at,
        frame_id=frame,
        pose=_pose(np.zeros(3), np.array([0.0, 0, 0, 1])),
        point_stride=16,
        fields=_POINT_FIELDS,
        data=scan.points[scan.valid].astype("<f4").tobytes(),
    )


def _scene(
    at: messages.Timestamp,
    frame: str,
    rows: NDArray[np.floating],
    names: list[str],
    kinds: Sequence[str],
    *,
    alpha: float,
) -> messages.SceneUpdate:
    """Boxes (n, 7) as entities that take the place of those before."""
    turns, shades = yaw_quaternions(rows[:, YAW]), colours(kinds)
    entities = [
        messages.SceneEntity(
            timestamp=at,
            frame_id=frame,
            id=names[i],
            lifetime=messages.Duration.from_secs(LIFE_S),
            metadata=[messages.KeyValuePair(key="class", value=kinds[i])],
            cubes=[
                messages.CubePrimitive(
                    pose=_pose(row[:3], turns[i]),
                    size=_vector(row[3:6]),
                    color=_colour(shades[i], alpha),
                )
            ],
        )
        for i, row in enumerate(rows)
    ]
    every = messages.SceneEntityDeletion(
        timestamp=at, type=messages.SceneEntityDeletionType.All, id=""
    )
    return messages.SceneUpdate(deletions=[every], entities=entities)


def _grid(at: messages.Timestamp, perceived: Perceived) -> messages.Grid:
    occupancy = perceived.occupancy
    data = cells(occupancy.log_odds)
    corner = np.array([*occupancy.corner, floor_m(perceived)])
    return messages.Grid(
        timestamp=at,
        frame_id=perceived.place_from_sensor.target,
        pose=_pose(corner, np.array([0.0, 0, 0, 1])),
        column_count=data.shape[1],
        cell_size=messages.Vector2(x=occupancy.cell_m, y=occupancy.cell_m),
        row_stride=data.shape[1],
        cell_stride=1,
        fields=[messages.PackedElementField(name="occupancy", offset=0, type=_UINT8)],
        data=data.tobytes(),
    )


def _pose(place: NDArray[np.floating], xyzw: NDArray[np.float64]) -> messages.Pose:
    x, y, z, w = xyzw.tolist()
    turn = messages.Quaternion(x=x, y=y, z=z, w=w)
    return messages.Pose(position=_vector(place), orientation=turn)


def _vector(values: NDArray[np.floating]) -> messages.Vector3:
    x, y, z = map(float, values)
    return messages.Vector3(x=x, y=y, z=z)


def _colour(shade: NDArray[np.uint8], alpha: float) -> messages.Color:
    r, g, b = (float(v) / 255 for v in shade)
    return messages.Color(r=r, g=g, b=b, a=alpha)
