"""What moves along a street, each lane a file that follows its first: the intelligent driver model.

M. Treiber, A. Hennecke, D. Helbing, "Congested traffic states in empirical observations and
microscopic simulations", Physical Review E 62, 2000. Steps are ballistic, so that between two of
them places are exact parabolas and speeds have no jumps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

STEP_S = 0.1
HEADWAY_S = 1.4
STANDSTILL_M = 2.0
ACCELERATION = 1.4  # m/s2
BRAKING = 2.0  # m/s2, comfortable
HARDEST = 8.0  # m/s2, what tyres hold


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """Things in one lane over time, the first ahead of all. along, speed: float64 (steps, n), m
    and m/s in the lane's own direction; acceleration: float64 (steps, n), until the next step.
    """

    along: Floats
    speed: Floats
    acceleration: Floats

    def at(self, times_us: ArrayLike) -> tuple[Floats, Floats]:
        """How far everything is and how fast: (..., n) for times (...)."""
        seconds = np.asarray(times_us, np.float64) / 1e6
        step = np.clip((seconds / STEP_S).astype(np.int64), 0, len(self.along) - 1)
        after = (seconds - step * STEP_S)[..., None]
        speed, acceleration = self.speed[step], self.acceleration[step]
        return (
            self.along[step] + speed * after + acceleration * after**2 / 2,
            speed + acceleration * after,
        )


def constant(along: Floats, speed: float) -> File:
    """All at one speed for ever."""
    return File(along[None], np.full((1, len(along)), speed), np.zeros((1, len(along))))


def driven(along: Floats, lengths: Floats, wanted: Floats, first: Floats) -> File:
    """A lane of vehicles by the intelligent driver model.

    along, lengths: (n,), middles and lengths, m, the first ahead. wanted: (n,), the speeds they
    would drive alone, m/s, and begin at. first: (steps,), what share of its own the first wants.
    """
    steps = len(first)
    s, v = np.empty((steps, len(along))), np.empty((steps, len(along)))
    a = np.zeros((steps, len(along)))
    s[0], v[0] = along, wanted
    between = (lengths[:-1] + lengths[1:]) / 2
    for k in range(steps - 1):
        wish = wanted.copy()
        wish[0] *= max(first[k], 0.02)
        free = 1 - (v[k] / wish) ** 4
        gap = np.maximum(s[k, :-1] - s[k, 1:] - between, 0.1)
        closing = v[k, 1:] - v[k, :-1]
        room = STANDSTILL_M + np.maximum(
            v[k, 1:] * HEADWAY_S + v[k, 1:] * closing / (2 * np.sqrt(ACCELERATION * BRAKING)), 0
        )
        free[1:] -= (room / gap) ** 2
        speed = np.maximum(v[k] + STEP_S * np.maximum(ACCELERATION * free, -HARDEST), 0)
        a[k] = (speed - v[k]) / STEP_S
        v[k + 1], s[k + 1] = speed, s[k] + (v[k] + speed) / 2 * STEP_S
    a[-1] = 0
    return File(s, v, a)
