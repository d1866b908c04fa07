"""Radar targets associated with known objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.radar import (
    GATE,
    NO_TARGET,
    OWN_VX,
    OWN_VY,
    RADAR_FIELDS,
    TARGET_SHIFT,
    VAR_AZIMUTH,
    VAR_RANGE,
    VAR_SPEED,
)
from infer.kernels.threads import kernels_for
from mesh.core.errors import Misuse

CHI2_99 = 11.345  # of three degrees of freedom: one true target in a hundred is farther


@dataclass(frozen=True, slots=True)
class Radar:
    """own: the radar's velocity over the ground, x y in its frame, m/s. gate: squared distance.

    Standard deviations of what it measures: range (m), azimuth (rad), radial speed (m/s).
    """

    own: tuple[float, float] = (0.0, 0.0)
    range_m: float = 0.25
    azimuth_rad: float = 0.01
    speed_m_s: float = 0.15
    gate: float = CHI2_99

    def parameters(self) -> NDArray[np.float32]:
        """What kernels take."""
        values = np.empty(RADAR_FIELDS, np.float32)
        values[OWN_VX], values[OWN_VY] = self.own
        values[VAR_RANGE], values[VAR_AZIMUTH] = self.range_m**2, self.azimuth_rad**2
        values[VAR_SPEED], values[GATE] = self.speed_m_s**2, self.gate
        return values


@dataclass(frozen=True, slots=True)
class Association:
    """object_of: int32 (n,), the nearest object of each target, -1 for none within the gate.

    distances: float32 (n,), squared, the gate's where there is none. target_of: int32 (m,), the
    nearest of each object's targets, -1 for none.
    """

    object_of: NDArray[np.int32]
    distances: NDArray[np.float32]
    target_of: NDArray[np.int32]


def associate(
    targets: NDArray[np.float32],
    objects: NDArray[np.float32],
    covariances: NDArray[np.float32],
    radar: Radar,
    *,
    threads: int = 1,
) -> Association:
    """Each target's nearest object by Mahalanobis distance over place and radial speed.

    targets: float32 (n, 5), `RadarTargets.targets`. objects: float32 (m, 4), x y vx vy over the
    ground in the radar's frame; covariances: float32 (m, 4, 4). An object may have many targets,
    as long vehicles do. A target or object that is not finite goes with none. Raises Misuse for
    other shapes.
    """
    n, m = len(targets), len(objects)
    shapes = targets.shape, objects.shape, covariances.shape
    kinds = {targets.dtype, objects.dtype, covariances.dtype}
    if shapes != ((n, 5), (m, 4), (m, 4, 4)) or kinds != {np.dtype(np.float32)}:
        raise Misuse(
            what="radar targets cannot be associated",
            why=f"targets, objects and covariances are {shapes}",
            fix="Give float32 (n, 5), (m, 4) and (m, 4, 4).",
        )
    object_of, distances = np.empty(n, np.int32), np.empty(n, np.float32)
    nearest = np.full(m, NO_TARGET, np.int64)
    kernels_for(threads).associate_targets(
        beams_of(targets),
        np.array(objects, order="C"),
        np.array(covariances, order="C").reshape(m, 16),
        radar.parameters(),
        object_of,
        distances,
        nearest,
        threads,
    )
    return Association(object_of, distances, targets_of(nearest))


def beams_of(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Targets as kernels take them: range along the ground, cosine and sine of azimuth, speed."""
    away, azimuth, elevation, speed = targets[:, :4].astype(np.float64).T
    beams = (away * np.cos(elevation), np.cos(azimuth), np.sin(azimuth), speed)
    return np.stack(beams, axis=1).astype(np.float32)


def targets_of(nearest: NDArray[np.int64]) -> NDArray[np.int32]:
    """The targets in the kernel's keys."""
    target = nearest & ((1 << TARGET_SHIFT) - 1)
    return np.where(nearest == NO_TARGET, -1, target).astype(np.int32)
