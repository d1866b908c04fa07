"""Triangle meshes of simple solids. Metres, +Y up, counter-clockwise seen from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from render.scene import Float32Array, Uint32Array

Points: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """positions, normals (n, 3); tangents (n, 4); uv (n, 2); indices (3 * triangles,)."""

    positions: Float32Array
    normals: Float32Array
    tangents: Float32Array
    uv: Float32Array
    indices: Uint32Array


def surface(points: Points, uv_size: tuple[float, float], normals: Points | None = None) -> Shape:
    """A sheet through a grid of points (rows, columns, 3).

    Seen from outside, columns run to the right and rows run up. Texture coordinates go from 0 to
    uv_size along columns and rows. A sheet whose first and last column coincide is closed there.
    """
    rows, columns = points.shape[:2]
    along = _difference(points, 1)
    for row, beside in ((0, 1), (-1, -2)):  # at a pole, where a row is one point
        if np.allclose(points[row], points[row, 0]):
            along[row] = along[beside]
    up = _difference(points, 0)
    if normals is None:
        normals = np.cross(along, up)
    normals = _unit(normals)
    along = _unit(along - normals * (along * normals).sum(-1, keepdims=True))
    u, v = np.meshgrid(
        np.linspace(0.0, uv_size[0], columns), np.linspace(uv_size[1], 0.0, rows), indexing="xy"
    )
    # glTF's V runs down the image and up the sheet is -V, so the bitangent keeps w = +1.
    tangents = np.concatenate((along, np.ones((rows, columns, 1))), axis=-1)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1, 1)
    quads = corner + np.array((0, 1, columns + 1, 0, columns + 1, columns))
    return Shape(
        positions=points.reshape(-1, 3).astype(np.float32),
        normals=normals.reshape(-1, 3).astype(np.float32),
        tangents=tangents.reshape(-1, 4).astype(np.float32),
        uv=np.stack((u, v), axis=-1).reshape(-1, 2).astype(np.float32),
        indices=_without_slivers(points.reshape(-1, 3), quads.reshape(-1, 3)),
    )


def joined(shapes: Sequence[Shape]) -> Shape:
    """Several shapes as one."""
    starts = np.cumsum([0, *(len(shape.positions) for shape in shapes[:-1])])
    pairs = zip(shapes, starts, strict=True)
    return Shape(
        positions=np.concatenate([shape.positions for shape in shapes]),
        normals=np.concatenate([shape.normals for shape in shapes]),
        tangents=np.concatenate([shape.tangents for shape in shapes]),
        uv=np.concatenate([shape.uv for shape in shapes]),
        indices=np.concatenate([s.indices + np.uint32(start) for s, start in pairs]),
    )


def moved(shape: Shape, offset: tuple[float, float, float]) -> Shape:
    """The shape, shifted."""
    positions = shape.positions + np.array(offset, np.float32)
    return Shape(positions, shape.normals, shape.tangents, shape.uv, shape.indices)


def sphere(radius: float, segments: int, uv_size: tuple[float, float] = (2.0, 1.0)) -> Shape:
    """A ball around the origin, `segments` around and half as many from pole to pole."""
    around = np.linspace(0.0, 2 * np.pi, segments + 1)
    polar = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)[:, None]
    directions = np.stack(
        (
            np.cos(polar) * np.sin(around),
            np.sin(polar) * np.ones_like(around),
            np.cos(polar) * np.cos(around),
        ),
        axis=-1,
    )
    return surface(radius * directions, uv_size, normals=directions)


def lathe(
    profile: Sequence[tuple[float, float]],
    segments: int,
    *,
    uv_per_metre: float = 1.0,
    flutes: int = 0,
    depth: float = 0.0,
) -> Shape:
    """A profile of (radius, height) points, from bottom to top, turned about the Y axis.

    Every profile segment is a sheet of its own, so its edges stay sharp. `flutes` grooves of
    relative `depth` are cut into all of it.
    """
    around = np.linspace(0.0, 2 * np.pi, segments + 1)
    groove = 1.0 - depth * np.abs(np.sin(around * flutes / 2))
    widest = max(radius for radius, _ in profile)
    repeats = max(1.0, float(np.round(2 * np.pi * widest * uv_per_metre)))
    sheets = []
    for (low, bottom), (high, top) in pairwise(profile):
        length = float(np.hypot(high - low, top - bottom))
        steps = max(1, round(length / 0.25))
        radius = np.linspace(low, high, steps + 1)[:, None] * groove
        height = np.linspace(bottom, top, steps + 1)[:, None] * np.ones_like(around)
        points = np.stack((radius * np.sin(around), height, radius * np.cos(around)), axis=-1)
        sheets.append(surface(points, (repeats, length * uv_per_metre)))
    return joined(sheets)


def arc_wall(
    *, inner: float, outer: float, height: float, start: float, end: float, uv_per_metre: float
) -> Shape:
    """A wall along a circle about the Y axis, from angle `start` to `end` (0 is +Z, towards +X)."""
    angles = np.linspace(start, end, 65)
    ring = np.stack((np.sin(angles), np.zeros_like(angles), np.cos(angles)), axis=-1)
    raised = np.array((0.0, height, 0.0))
    span = (end - start) * outer * uv_per_metre
    low_in, low_out = ring * inner, ring * outer
    faces = [
        surface(np.stack((low_out, low_out + raised)), (span, height * uv_per_metre)),
        surface(np.stack((low_in, low_in + raised))[:, ::-1], (span, height * uv_per_metre)),
        surface(
            np.stack((low_out + raised, low_in + raised)), (span, (outer - inner) * uv_per_metre)
        ),
    ]
    for edge, flip in ((0, 1), (-1, -1)):
        low = np.stack((low_out[edge], low_in[edge]))[::-flip]
        faces.append(
            surface(
                np.stack((low, low + raised)),
                ((outer - inner) * uv_per_metre, height * uv_per_metre),
            )
        )
    return joined(faces)


def disc(radius: float, segments: int, rings: int) -> Shape:
    """A flat round floor facing up; uv is (x, z) in metres from its -X -Z corner."""
    around = np.linspace(0.0, 2 * np.pi, segments + 1)
    distance = np.linspace(radius, 0.0, rings + 1)[:, None]
    points = np.stack(
        (distance * np.sin(around), np.zeros((rings + 1, segments + 1)), distance * np.cos(around)),
        axis=-1,
    )
    upright = np.zeros_like(points)
    upright[..., 1] = 1.0
    sheet = surface(points, (1.0, 1.0), normals=upright)
    tangents = np.tile(np.array((1.0, 0.0, 0.0, 1.0), np.float32), (len(sheet.positions), 1))
    uv = np.ascontiguousarray(sheet.positions[:, (0, 2)] + np.float32(radius))
    return Shape(sheet.positions, sheet.normals, tangents, uv, sheet.indices)


def torus_knot(p: int, q: int, *, radius: float, tube: float, segments: int, sides: int) -> Shape:
    """A (p, q) torus knot about the Y axis, its tube round."""
    turn = np.linspace(0.0, 2 * np.pi, segments + 1)
    reach = radius * (2.0 + np.cos(q * turn)) / 2.0
    centre = np.stack(
        (reach * np.sin(p * turn), radius * np.sin(q * turn) / 2.0, reach * np.cos(p * turn)),
        axis=-1,
    )
    ahead = _unit(_difference(centre, 0))
    outward = centre * np.array((1.0, 0.0, 1.0))
    side = _unit(np.cross(ahead, outward))
    other = np.cross(side, ahead)
    around = np.linspace(0.0, 2 * np.pi, sides + 1)[:, None, None]
    ring = np.cos(around) * side + np.sin(around) * other
    return surface(centre + tube * ring, (float(segments) / 24.0, 1.0), normals=ring)


def leaves(count: int, radius: float, size: float, rng: np.random.Generator) -> Shape:
    """Square cards with the whole texture each, strewn over a ball and tilted at random."""
    directions = _unit(rng.normal(size=(count, 3)))
    centres = directions * radius * rng.uniform(0.55, 1.0, (count, 1))
    facing = _unit(directions + rng.normal(scale=0.45, size=(count, 3)))
    right = _unit(np.cross(facing, rng.normal(size=(count, 3))))
    up = np.cross(facing, right)
    cards = []
    for centre, normal, across, rise in zip(centres, directions, right, up, strict=True):
        low, high = centre - rise * size / 2, centre + rise * size / 2
        points = np.stack(
            (
                np.stack((low - across * size / 2, low + across * size / 2)),
                np.stack((high - across * size / 2, high + across * size / 2)),
            )
        )
        # Shaded as the ball they cover, which reads as one bush.
        cards.append(surface(points, (1.0, 1.0), normals=np.broadcast_to(normal, points.shape)))
    return joined(cards)


def _difference(points: Points, axis: int) -> Points:
    """Central differences along an axis, wrapped where its ends coincide."""
    first, last = np.take(points, 0, axis), np.take(points, -1, axis)
    slope = np.gradient(points, axis=axis, edge_order=1)
    if np.allclose(first, last):
        wrapped = np.take(points, 1, axis) - np.take(points, -2, axis)
        ends: list[slice | int] = [slice(None)] * points.ndim
        for end in (0, -1):
            ends[axis] = end
            slope[tuple(ends)] = wrapped / 2.0
    return np.asarray(slope)


def _unit(vectors: Points) -> Points:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def _without_slivers(points: Points, triangles: NDArray[np.int64]) -> Uint32Array:
    """Leave out triangles without area (a sphere's poles)."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return np.asarray(triangles[area > 1e-10].reshape(-1), dtype=np.uint32)
