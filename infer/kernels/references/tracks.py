"""Filters of tracked objects in NumPy and float64, by the textbook's matrices; see the bodies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.kalman import ACCELERATING, DRIFTING, SLIDING, SWERVING

Floats = NDArray[np.float64]


def advanced(
    state: Floats, covariance: Floats, seconds: float, noise: float
) -> tuple[Floats, Floats]:
    """One axis of one object, (position, velocity) and (2, 2), of constant velocity."""
    f, gone = np.array(((1, seconds), (0, 1))), abs(seconds)
    q = noise * np.array(((gone**3 / 3, gone * seconds / 2), (gone * seconds / 2, gone)))
    return f @ state, f @ covariance @ f.T + q


def advanced_turning(
    state: Floats, covariance: Floats, seconds: float, noises: Floats
) -> tuple[Floats, Floats]:
    """x, y, yaw, speed and turn rate of one object, and (5, 5), by differences for derivatives."""
    step = 1e-4
    f = np.stack(
        [
            (turned(state + step * unit, seconds) - turned(state - step * unit, seconds)) / 2 / step
            for unit in np.eye(5)
        ],
        axis=1,
    )
    gone, half = abs(seconds), state[2] + state[4] * seconds / 2
    pushed = np.zeros((5, 2))  # by what accelerates along the way, and by what swerves
    pushed[:, 0] = np.cos(half), np.sin(half), 0, 1, 0
    pushed[:, 1] = 0, 0, 1, 0, 1
    q = np.zeros((5, 5))
    for column, noise in enumerate((noises[ACCELERATING], noises[SWERVING])):
        rate = np.zeros(5)
        rate[3 + column] = 1
        moved = pushed[:, column] - rate
        q += noise * gone**3 / 3 * np.outer(moved, moved)
        q += noise * gone * seconds / 2 * (np.outer(moved, rate) + np.outer(rate, moved))
        q += noise * gone * np.outer(rate, rate)
    q[[0, 1], [0, 1]] += noises[SLIDING] * gone
    q[2, 2] += noises[DRIFTING + 3] * gone
    return turned(state, seconds), f @ covariance @ f.T + q


def turned(state: Floats, seconds: float) -> Floats:
    """Where x, y, yaw, speed and turn rate lead: along the chord of the circle."""
    x, y, yaw, speed, rate = state
    half = rate * seconds / 2
    chord = speed * seconds * np.sinc(half / np.pi)
    along, across = chord * np.cos(yaw + half), chord * np.sin(yaw + half)
    return np.array((x + along, y + across, yaw + 2 * half, speed, rate))


def corrected(
    state: Floats, covariance: Floats, h: Floats, seen: Floats, noise: Floats
) -> tuple[Floats, Floats]:
    """A state seen through h (k, n) with noise (k, k), all at once (R. Kalman 1960)."""
    gain = covariance @ h.T @ np.linalg.inv(h @ covariance @ h.T + noise)
    return state + gain @ (seen - h @ state), (np.eye(len(state)) - gain @ h) @ covariance
