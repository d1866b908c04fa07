"""What was perceived, as JSON has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from infer.pipeline.perceived import Perceived
from infer.track.overlap import YAW


def facts_of(perceived: Perceived) -> dict[str, Any]:
    """JSON-ready; metres, radians and m/s in the frame of reference named by "place"."""
    pose, tracks, ground = perceived.place_from_sensor, perceived.tracks, perceived.ground
    occupancy = perceived.occupancy
    return {
        "summary": summary(perceived),
        "stamp_us": perceived.stamp_us,
        "place": pose.target,
        "sensor": {
            "frame": pose.source,
            "position": [round(float(v), 3) for v in pose.translation],
            "quaternion_wxyz": [round(float(v), 6) for v in pose.quaternion()],
        },
        "ground": None
        if ground is None
        else {
            "slope_x": round(ground.slope_x, 5),
            "slope_y": round(ground.slope_y, 5),
            "height_m": round(ground.height_m, 3),
        },
        "tracks": [_track(perceived, i) for i in range(len(tracks))],
        "occupancy": {
            "cell_m": occupancy.cell_m,
            "corner": [round(v, 3) for v in occupancy.corner],
            "across": len(occupancy.log_odds),
            "occupied_m2": round(occupancy.occupied_m2, 1),
            "free_m2": round(occupancy.free_m2, 1),
        },
        "times_us": dict(perceived.times_us),
    }


def summary(perceived: Perceived) -> str:
    """A few words for a person."""
    named = ", ".join(f"{n} {name}" for name, n in sorted(Counter(perceived.kinds).items()))
    free_m2 = perceived.occupancy.free_m2
    return f"{len(perceived.kinds)} tracks: {named or 'none'}; {free_m2:.0f} m2 free"


def _track(perceived: Perceived, i: int) -> Mapping[str, Any]:
    tracks = perceived.tracks
    box = tracks.boxes[i]
    return {
        "id": int(tracks.ids[i]),
        "class": perceived.kinds[i],
        "centre": [round(float(v), 3) for v in box[:3]],
        "size": [round(float(v), 3) for v in box[3:YAW]],
        "yaw": round(float(box[YAW]), 4),
        "velocity": [round(float(v), 3) for v in tracks.velocity[i]],
        "place_variance": [round(float(v), 5) for v in tracks.motion[i, :, 0]],
        "score": round(float(tracks.scores[i]), 3),
    }
