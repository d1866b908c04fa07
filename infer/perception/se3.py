"""Rigid motions and their twists, float64: the exponential of SE(3) and its inverse.

A twist is (..., 6): velocity, then turn rate, both in the moving frame. After J. Blanco, "A
tutorial on SE(3) transformation parameterizations and on-manifold optimization", 2010.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALL = 1e-4  # radians below which series say more than quotients of small numbers


def exp(twist: Floats) -> Floats:
    """The motion after a unit of time at that twist: (..., 6) to (..., 4, 4)."""
    v, w = twist[..., :3], twist[..., 3:]
    angle = np.linalg.norm(w, axis=-1)[..., None, None]
    safe = np.where(angle > SMALL, angle, 1.0)
    square = angle * angle
    a = np.where(angle > SMALL, np.sin(safe) / safe, 1 - square / 6)
    b = np.where(angle > SMALL, (1 - np.cos(safe)) / safe**2, 0.5 - square / 24)
    c = np.where(angle > SMALL, (safe - np.sin(safe)) / safe**3, 1 / 6 - square / 120)
    hat = _hat(w)
    moved = np.zeros((*twist.shape[:-1], 4, 4))
    moved[..., :3, :3] = np.eye(3) + a * hat + b * (hat @ hat)
    moved[..., :3, 3] = ((np.eye(3) + b * hat + c * (hat @ hat)) @ v[..., None])[..., 0]
    moved[..., 3, 3] = 1
    return moved


def log(motion: Floats) -> Floats:
    """The twist that makes this rigid motion in a unit of time; turns of less than pi only."""
    turn = motion[:3, :3]
    axis = np.array((turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]))
    angle = np.arctan2(np.linalg.norm(axis), np.trace(turn) - 1)
    w = axis / 2 * (angle / np.sin(angle) if angle > SMALL else 1 + angle**2 / 6)
    hat = _hat(w)
    # 1/angle^2 - cot(angle/2)/(2 angle), the last factor of the inverse of V.
    rest = (
        (1 - angle / 2 / np.tan(angle / 2)) / angle**2 if angle > SMALL else 1 / 12 + angle**2 / 720
    )
    v = (np.eye(3) - hat / 2 + rest * (hat @ hat)) @ motion[:3, 3]
    return np.concatenate((v, w))


def inverse(motion: Floats) -> Floats:
    """The way back."""
    back = np.eye(4)
    back[:3, :3] = motion[:3, :3].T
    back[:3, 3] = -motion[:3, :3].T @ motion[:3, 3]
    return back


def _hat(w: Floats) -> Floats:
    """The matrices that multiply as the cross product with w does."""
    x, y, z = w[..., 0], w[..., 1], w[..., 2]
    zero = np.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
