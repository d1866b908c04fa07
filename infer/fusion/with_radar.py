"""What a radar adds to objects: how fast they come or go, and that what moves is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.frames.pose import Pose
from infer.fusion.objects import CYCLIST, PEDESTRIAN, Objects
from infer.fusion.rules import FusionRules
from infer.perception.radar import Radar, associate
from infer.track.overlap import X, Z


@dataclass(frozen=True, slots=True, eq=False)
class RadarView:
    """One radar's targets: float32 (n, 5), `RadarTargets.targets`. from_objects: the radar's frame
    of reference from the objects'. radar: how it measures and moves; its range is that of a thing's
    nearest face, so its deviation should be half a car's length.
    """

    targets: NDArray[np.float32]
    from_objects: Pose
    radar: Radar


def with_radar(objects: Objects, view: RadarView, rules: FusionRules) -> Objects:
    """Objects with the radial speeds of their nearest targets, each a Kalman filter's update.

    A radar's range says little of where a thing is beside a LiDAR's, so places stay. Who comes or
    goes faster than anybody walks, rides.
    """
    turn = view.from_objects.rotation[:2, :2]
    places = view.from_objects.apply(objects.boxes[:, X : Z + 1])[:, :2]
    states = np.concatenate((places, objects.velocity @ turn.T), axis=1).astype(np.float32)
    turned = np.kron(np.eye(2), turn)
    covariances = (turned @ objects.covariance @ turned.T).astype(np.float32)
    target_of = associate(view.targets, states, covariances, view.radar).target_of
    of = np.flatnonzero(target_of >= 0)
    named = target_of[of].astype(np.int64)
    azimuths, measured = view.targets[named, 1], view.targets[named, 3]
    beams = np.stack((np.cos(azimuths), np.sin(azimuths)), axis=1).astype(np.float64)
    radial = measured + beams @ np.array(view.radar.own)  # over the ground
    rows = np.concatenate((np.zeros_like(beams), beams @ turn), axis=1)
    known = objects.covariance[of]
    spread = np.einsum("ni,nij,nj->n", rows, known, rows) + view.radar.speed_m_s**2
    gains = np.einsum("nij,nj->ni", known, rows) / spread[:, None]
    surprise = radial - np.einsum("ni,ni->n", rows[:, 2:], objects.velocity[of])
    velocity, covariance = objects.velocity.copy(), objects.covariance.copy()
    scores, targets = objects.scores.copy(), objects.targets.copy()
    fast = np.isin(np.arange(len(objects)), of[np.abs(radial) > rules.riding_m_s])
    kinds = np.where(fast & (objects.kinds == PEDESTRIAN), CYCLIST, objects.kinds)
    velocity[of] += gains[:, 2:] * surprise[:, None]
    covariance[of] -= gains[:, :, None] * np.einsum("ni,nij->nj", rows, known)[:, None]
    moving = of[np.abs(radial) > rules.moving_m_s]
    scores[moving] = 1 - (1 - scores[moving]) * (1 - rules.moved)
    targets[of] = named
    return objects.with_changes(
        kinds=kinds, velocity=velocity, covariance=covariance, scores=scores, targets=targets
    )
