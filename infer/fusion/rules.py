"""When what two sensors saw is one thing, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FusionRules:
    """How sensors are believed together.

    least_overlap: of an object's outline and a detection's box, for them to be one. alike: a
    LiDAR's box whose outline agrees with the camera's so well is not fitted anew. half_px,
    steepness, most: what share of things a camera finds, by how high they are in the picture, a
    logistic over its logarithm; small one-stage detectors find half of what is 30 pixels high, nine
    in ten of what is 90. reach_px: the least height of which a miss says anything. alone: what a
    detection's score is worth where the LiDAR saw points and no cluster. stands: what a cluster of
    another class, or of none, adds to it: something is there. same: two objects that
    share more of the smaller's area, seen from above, are one. moving_m_s, moved: what a radar says
    moves faster is no part of the scenery, and worth that much certainty. riding_m_s: who moves
    faster is no walker.
    """

    least_overlap: float = 0.3
    alike: float = 0.7
    half_px: float = 30.0
    steepness: float = 2.2
    most: float = 0.97
    reach_px: float = 25.0
    alone: float = 0.8
    stands: float = 0.4
    same: float = 0.3
    moving_m_s: float = 1.0
    moved: float = 0.5
    riding_m_s: float = 2.5
