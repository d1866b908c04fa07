"""Objects that go on along the turn they are in: constant turn rate and velocity (CTRV).

An extended Kalman filter of place, heading, speed along the heading and turn rate of each object;
see `infer.kernels.bodies.turning`. Heights and sizes are as in `Tracks`, which these are too: who
reads tracks sees the same fields, with velocity along the heading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.turning import COURSE_FIELDS, HEADING, SPEED, TURN_RATE
from infer.kernels.threads import kernels_for
from infer.track.overlap import YAW, X, Y
from infer.track.tracks import Beliefs, Floats, Tracks, born, wrapped


@dataclass(frozen=True, slots=True, eq=False)
class TurningTracks(Tracks):
    """course: float64 (n, 2), speed along the heading (m/s) and turn rate (rad/s). joint: float64
    (n, 5, 5), covariance of x, y, heading, speed and turn rate.
    """

    course: Floats
    joint: Floats

    def at(self, time_s: float, beliefs: Beliefs) -> TurningTracks:
        """See `Tracks.at`. Turns end after 2 radians: who is unseen so long went anywhere."""
        changed = self.state()
        kernels_for(1).advance_turning_tracks(
            time_s - self.time_s, noises_of(beliefs), turns_of(self.boxes), *changed.values(), 1
        )
        return replace(self, time_s=time_s, **told(changed))

    def corrected(self, seen: Floats, scores: Floats, beliefs: Beliefs) -> TurningTracks:
        """See `Tracks.corrected`."""
        changed = self.state()
        kernels_for(1).correct_turning_tracks(
            self.faced(seen), beliefs.measured(), *changed.values(), 1
        )
        return replace(self, scores=scores.copy(), **told(changed))

    def state(self) -> dict[str, Any]:
        """See `Tracks.state`."""
        names = ("boxes", "velocity", "motion", "others", "course", "joint")
        return {name: getattr(self, name).copy() for name in names}


def born_turning(
    time_s: float, ids: NDArray[np.int64], boxes: Floats, scores: Floats, beliefs: Beliefs
) -> TurningTracks:
    """Objects seen for the first time."""
    straight, count = born(time_s, ids, boxes, scores, beliefs), len(ids)
    variances = np.empty(COURSE_FIELDS)
    variances[:HEADING] = beliefs.measured()[[X, Y]]
    variances[HEADING] = beliefs.measured()[YAW]
    variances[SPEED], variances[TURN_RATE] = beliefs.speed**2, beliefs.turn_rate**2
    return TurningTracks(
        time_s, straight.ids, straight.boxes, straight.velocity, straight.scores,
        straight.motion, straight.others,
        course=np.zeros((count, 2)), joint=np.tile(np.diag(variances), (count, 1, 1)),
    )  # fmt: skip


def turns_of(boxes: Floats) -> Floats:
    """Cosine and sine of each heading, float64 (n, 2)."""
    return np.stack((np.cos(boxes[:, YAW]), np.sin(boxes[:, YAW])), axis=1)


def noises_of(beliefs: Beliefs) -> Floats:
    """Headings that follow the way drift little: turn rates do."""
    return replace(beliefs, drift=(*beliefs.drift[:3], beliefs.steady)).noises()


def told(changed: dict[str, Any]) -> dict[str, Any]:
    """With what `Tracks` tells made of what these know."""
    boxes = changed["boxes"]
    boxes[:, YAW] = wrapped(boxes[:, YAW])
    rest = (changed[name] for name in ("velocity", "motion", "others", "course", "joint"))
    kernels_for(1).tell_turning_tracks(turns_of(boxes), *rest)
    return changed
