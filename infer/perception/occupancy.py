"""Occupancy and free space around a moving sensor, as log-odds that fade."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infer.kernels.bodies.occupancy import (
    AT_X,
    AT_Y,
    BEAMS,
    CEILING_M,
    FIELD_FIELDS,
    FREE,
    HIT,
    KEEP,
    MOST,
    NO_GROUND,
    NO_OBSTACLE,
)
from infer.kernels.threads import kernels_for
from infer.perception.area import Area
from infer.perception.clouds import checked
from mesh.core.errors import ContentRefused

FARTHEST_M = 1e7  # from the world's origin: farther places are no positions


@dataclass(frozen=True, slots=True)
class Belief:
    """What one sweep changes, in log-odds, and how soon that fades.

    hit, free: added where an obstacle or free space is seen. most: the bound on both sides.
    fade_s: after so long a belief that nothing confirms is down to 37 %. ceiling_m: obstacles
    higher than that above the sensor are passed under.
    """

    hit: float = 0.85
    free: float = 0.4
    most: float = 4.0
    fade_s: float = 2.0
    ceiling_m: float = 0.5


class OccupancyGrid:
    """Keeps the belief of the cells around the sensor; cells stand still in the world.

    Not for two threads at once.
    """

    def __init__(self, area: Area, believes: Belief, max_points: int, threads: int = 1) -> None:
        self.area, self.believes = area, believes
        self._threads, self._max_points = threads, max_points
        self._kernels = kernels_for(threads)
        self._parameters = area.parameters()
        cells = area.across**2
        self._belief, self._before = np.zeros((2, cells), np.float32)
        self._hit, self._free = np.zeros((2, cells), np.uint8)
        self._nearest = np.full((threads, BEAMS), NO_OBSTACLE, np.int64)
        self._farthest = np.full((threads, BEAMS), NO_GROUND, np.int64)
        self._origin = 0, 0
        self._stamp_us: int | None = None

    @property
    def log_odds(self) -> NDArray[np.float32]:
        """(across, across): above 0 occupied, below 0 free. Row 0 is the southernmost; a view."""
        return self._belief.reshape(self.area.across, self.area.across)

    @property
    def corner(self) -> tuple[float, float]:
        """World x and y of the grid's south-west corner, metres."""
        x, y = (cell * self.area.cell_m - self.area.reach_m for cell in self._origin)
        return x, y

    def update(
        self,
        points: NDArray[np.float32],
        labels: NDArray[np.uint8],
        position: tuple[float, float],
        stamp_us: int,
    ) -> None:
        """Take in one sweep, later than the one before.

        points: float32 (n, 4), from the sensor but along the world's axes
        (`Motion.between` takes them there). labels: `Ground.labels`. position: the sensor's world
        x and y. Raises Misuse as `clouds.checked` does, ContentRefused for a position that is not
        on this map, or a sweep out of order.
        """
        points = checked(points, self._max_points)
        origin, field = self._place(position, stamp_us)
        move_columns, move_rows = (now - was for now, was in zip(origin, self._origin, strict=True))
        self._kernels.sight_points(
            points,
            labels,
            self._parameters,
            field,
            self._nearest,
            self._farthest,
            self._hit,
            self._free,
        )
        self._belief, self._before = self._before, self._belief
        self._kernels.believe_cells(
            move_rows,
            move_columns,
            self._parameters,
            field,
            self._before,
            self._belief,
            self._hit,
            self._free,
            self._threads,
        )
        self._origin, self._stamp_us = origin, stamp_us

    def _place(
        self, position: tuple[float, float], stamp_us: int
    ) -> tuple[tuple[int, int], NDArray[np.float32]]:
        """The grid's middle cell in the world, and the kernels' field. Raises ContentRefused."""
        since = 0 if self._stamp_us is None else stamp_us - self._stamp_us
        if since < 0 or not max(map(abs, position)) < FARTHEST_M:
            raise ContentRefused(
                what="the sweep does not go into the occupancy grid",
                why=f"it was taken at {position}, {since / 1e6} s after the one before",
                fix=f"Give sweeps in order, within {FARTHEST_M:g} m of the world's origin.",
            )
        origin = int(position[0] // self.area.cell_m), int(position[1] // self.area.cell_m)
        believes, field = self.believes, np.empty(FIELD_FIELDS, np.float32)
        field[AT_X] = position[0] - origin[0] * self.area.cell_m
        field[AT_Y] = position[1] - origin[1] * self.area.cell_m
        field[CEILING_M], field[KEEP] = believes.ceiling_m, math.exp(-since / 1e6 / believes.fade_s)
        field[HIT], field[FREE], field[MOST] = believes.hit, believes.free, believes.most
        return origin, field
