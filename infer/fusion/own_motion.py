"""How a radar moves, by what it sees of the world that stands.

D. Kellner, M. Barjenbruch, J. Klappstein, J. Dickmann and K. Dietmayer, "Instantaneous Ego-Motion
Estimation using Doppler Radar", ITSC 2013: what stands has radial speeds on one sinusoid over the
azimuth; RANSAC finds it among what moves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TRIALS = 64
WITHIN_M_S = 0.35  # of the sinusoid: about three standard deviations of a radial speed
LEAST = 4  # targets that must agree
NARROWEST = 0.1  # sine between two directions that propose a motion


def own_velocity(targets: NDArray[np.float32], seed: int = 0) -> tuple[float, float] | None:
    """The radar's velocity over the ground, x y in its frame of reference, m/s.

    targets: float32 (n, 5), `RadarTargets.targets`. None where too few agree: then nobody knows.
    """
    azimuths, speeds = targets[:, 1].astype(np.float64), targets[:, 3].astype(np.float64)
    beams = np.stack((np.cos(azimuths), np.sin(azimuths)), axis=1)
    if len(targets) < LEAST:
        return None
    pairs = np.random.default_rng(seed).integers(0, len(targets), (TRIALS, 2))
    one, other = beams[pairs[:, 0]], beams[pairs[:, 1]]
    across = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    usable = np.abs(across) > NARROWEST
    if not usable.any():
        return None
    # What stands comes towards the radar as fast as that moves: speed = -beam . velocity.
    first, second = -speeds[pairs[usable, 0]], -speeds[pairs[usable, 1]]
    one, other, across = one[usable], other[usable], across[usable]
    vx = (first * other[:, 1] - second * one[:, 1]) / across
    vy = (second * one[:, 0] - first * other[:, 0]) / across
    misses = np.abs(speeds[None] + vx[:, None] * beams[:, 0] + vy[:, None] * beams[:, 1])
    agree = (misses < WITHIN_M_S).sum(axis=1)
    best = int(agree.argmax())
    if agree[best] < LEAST:
        return None
    inliers = misses[best] < WITHIN_M_S
    solved = np.linalg.lstsq(beams[inliers], -speeds[inliers], rcond=None)[0]
    return float(solved[0]), float(solved[1])
