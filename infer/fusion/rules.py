"""When what two sensors saw is one thing, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FusionRules:
    """How sensors are believed together.

    least_overlap: of an object's outline and a detection's box, for them to be one. alike: a
    LiDAR's box whose outline agrees with the camera's so well is not fitted anew. doubted: what is
    left of the score of an object that a camera would see and did not: cameras miss some two in
    five of what they could see. reach_px: the least height of an outline for that. alone: what a
    detection's score is worth where the LiDAR saw points and no cluster. same: two objects that
    share more of the smaller's area, seen from above, are one. moving_m_s, moved: what a radar says
    moves faster is no part of the scenery, and worth that much certainty.
    """

    least_overlap: float = 0.3
    alike: float = 0.7
    doubted: float = 0.4
    reach_px: float = 25.0
    alone: float = 0.8
    same: float = 0.3
    moving_m_s: float = 1.0
    moved: float = 0.5
