"""Rays in fans: straight up a sensor's column, so that one plane of sight holds many of them.

A LiDAR's lasers fire so, and so are a level camera's columns of pixels. A ray is then a direction
over the ground and a slope, and where it meets an upright-turned solid depends on few numbers that
are the same for the whole fan.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.drives.solids import Floats, Model
from infer.track.compiled import compiled

Ints = NDArray[np.int32]

# Columns of fans: a direction over the ground, the origin, seconds from the scene's time.
COS, SIN, OX, OY, OZ, TIME = range(6)
FAN_FIELDS = 6
# Columns of placed things: where, the heading, and how both change.
PX, PY, PZ, PYAW, PVX, PVY, PRATE = range(7)
PLACED_FIELDS = 7
GROUND, NOTHING = -1, -2  # as parts
NOBODY = -1  # as owners
MOST_FACES = 64  # of a part


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """All models' parts, one after the other, as rays take them.

    planes: float64 (p, 4). first_plane: int32 (q + 1,), of each part. around: float64 (q, 4), a
    ball around each part, centre and radius. first_part: int32 (m + 1,), of each model. bounds:
    float64 (m, 1), each model's radius over the ground. materials: int32 (q,) and lightness:
    float64 (q,), 0 to 1, of each part.
    """

    planes: Floats
    first_plane: Ints
    around: Floats
    first_part: Ints
    bounds: Floats
    materials: Ints
    lightness: Floats

    @classmethod
    def of(cls, models: Sequence[Model]) -> Shapes:
        """In their order."""
        parts = [part for model in models for part in model.parts]
        assert max(len(part.planes) for part in parts) <= MOST_FACES
        around = np.empty((len(parts), 4))
        for row, part in zip(around, parts, strict=True):
            row[:3] = (part.corners.min(axis=0) + part.corners.max(axis=0)) / 2
            row[3] = np.linalg.norm(part.corners - row[:3], axis=1).max()
        bounds = np.empty((len(models), 1))
        for row, model in zip(bounds, models, strict=True):
            corners = np.concatenate([part.corners for part in model.parts])
            row[0] = np.hypot(*corners[:, :2].T).max()
        return cls(
            np.concatenate([part.planes for part in parts]),
            _begins([len(part.planes) for part in parts]),
            around,
            _begins([len(model.parts) for model in models]),
            bounds,
            np.array([part.material for part in parts], np.int32),
            np.array([np.mean(part.colour) for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What each ray (fans, slopes) met first.

    away: float64, metres over the ground, inf for nothing. part: int32, among `Shapes`' parts,
    GROUND or NOTHING. owner: int32, the placed thing's, NOBODY. cosine: float64, of the angle
    between the ray and the face's normal. alone: int64 (owners,), how many rays each owner would
    have met if nothing else were there.
    """

    away: Floats
    part: Ints
    owner: Ints
    cosine: Floats
    alone: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """n things in the world. rows: float64 (n, PLACED_FIELDS). models: int32 (n,), of `Shapes`.
    owners: int32 (n,), below `count`, or NOBODY.
    """

    rows: Floats
    models: Ints
    owners: Ints
    count: int


def cast(fans: Floats, slopes: Floats, placed: Placed, shapes: Shapes, reach_m: float) -> Hits:
    """Send rays into a scene on flat ground.

    fans: float64 (f, FAN_FIELDS). slopes: float64 (f, b), or (1, b) for all, rise over run.
    reach_m: over the ground. What the origin is inside of is not seen.
    """
    shape = (len(fans), slopes.shape[1])
    hits = Hits(
        np.full(shape, np.inf),
        np.full(shape, NOTHING, np.int32),
        np.full(shape, NOBODY, np.int32),
        np.zeros(shape),
        np.zeros(placed.count, np.int64),
    )
    things = (placed.rows, placed.models, placed.owners)
    parts = (shapes.planes, shapes.first_plane, shapes.around, shapes.first_part)
    found = (hits.away, hits.part, hits.owner, hits.cosine, hits.alone)
    _cast(fans, slopes, things, parts, shapes.bounds, reach_m, found)
    return hits


def _begins(counts: Sequence[int]) -> Ints:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)


@compiled
def _through(planes: Any, fan: Any, first: int, slope: float, reach: float) -> Any:
    """Where a ray enters a part, over the ground, and by which plane; inf where it does not.

    fan: (planes, 2), each plane's rise along the fan's direction and its distance at the origin.
    first: of the part's planes.
    """
    enter, leave, by = -np.inf, reach, -1
    for k in range(len(fan)):
        towards, outside = fan[k, 0] + planes[first + k, 2] * slope, fan[k, 1]
        if towards < 0:
            at = -outside / towards
            if at > enter:
                enter, by = at, k
        elif towards > 0:
            leave = min(leave, -outside / towards)
        elif outside > 0:
            return np.inf, -1
        if enter > leave:
            return np.inf, -1
    return (enter, by) if enter > 0 else (np.inf, -1)


@compiled
def _meet(model: int, eye: Any, slopes: Any, parts: Any, reach: float, own: Any) -> None:
    """Where a fan's rays meet one thing: into `own` how far, which part and how steeply.

    eye: the fan's origin and its direction over the ground, in the thing's own frame.
    """
    planes, first_plane, around, first_part = parts
    away, part, tilt = own
    x, y, z, c, s = eye
    planes_of_fan = np.empty((MOST_FACES, 2))
    for q in range(first_part[model], first_part[model + 1]):
        dx, dy, dz, radius = around[q, 0] - x, around[q, 1] - y, around[q, 2] - z, around[q, 3]
        end = dx * c + dy * s + radius
        if abs(dy * c - dx * s) >= radius or end <= 0:
            continue
        begin, below, above = max(end - 2 * radius, 1e-3), dz - radius, dz + radius
        lowest, highest = min(below / begin, below / end), max(above / begin, above / end)
        first, last = first_plane[q], first_plane[q + 1]
        fan = planes_of_fan[: last - first]
        for k in range(first, last):
            n = planes[k]
            fan[k - first, 0] = n[0] * c + n[1] * s
            fan[k - first, 1] = n[0] * x + n[1] * y + n[2] * z - n[3]
        for b in range(len(slopes)):
            if lowest <= slopes[b] <= highest:
                at, by = _through(planes, fan, first, slopes[b], min(away[b], reach))
                if by >= 0:
                    away[b], part[b] = at, q
                    tilt[b] = fan[by, 0] + planes[first + by, 2] * slopes[b]


@compiled
def _cast(
    fans: Any, slopes: Any, things: Any, parts: Any, bounds: Any, reach: float, found: Any
) -> None:
    """See `cast`."""
    rows, models, owners = things
    away, part, owner, cosine, alone = found
    count = slopes.shape[1]
    own = np.empty(count), np.empty(count, np.int32), np.empty(count)
    for f in range(len(fans)):
        c, s, ox, oy, oz, time = fans[f]
        row = slopes[f if len(slopes) > 1 else 0]
        lean = 1 / np.sqrt(1 + row * row)
        for b in range(count):
            if row[b] < 0 and -oz / row[b] <= reach:
                away[f, b], part[f, b] = -oz / row[b], GROUND
                cosine[f, b] = -row[b] * lean[b]
        for i in range(len(rows)):
            radius = bounds[models[i], 0]
            dx = rows[i, PX] + rows[i, PVX] * time - ox
            dy = rows[i, PY] + rows[i, PVY] * time - oy
            along = dx * c + dy * s
            if abs(dy * c - dx * s) >= radius or along <= -radius or along - radius >= reach:
                continue
            yaw = rows[i, PYAW] + rows[i, PRATE] * time
            yc, ys = np.cos(yaw), np.sin(yaw)
            place = -(dx * yc + dy * ys), dx * ys - dy * yc, oz - rows[i, PZ]
            own[0][:] = np.inf
            eye = place[0], place[1], place[2], c * yc + s * ys, s * yc - c * ys
            _meet(models[i], eye, row, parts, reach, own)
            for b in range(count):
                if own[0][b] == np.inf:
                    continue
                if owners[i] >= 0:
                    alone[owners[i]] += 1
                if own[0][b] < away[f, b]:
                    away[f, b], part[f, b], owner[f, b] = own[0][b], own[1][b], owners[i]
                    cosine[f, b] = -own[2][b] * lean[b]
