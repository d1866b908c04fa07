"""Convex solids of flat faces, of which everything in a street is made: rays meet them exactly, and
pictures draw the same faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Colour = tuple[float, float, float]  # linear red, green, blue, 0 to 1
FLAT_M = 1e-6  # how far a face's corners may be from its plane


class Material(IntEnum):
    """What a face is of; `infer.drives.lidar` says what a laser gets back from it."""

    ASPHALT = 0
    STONE = 1
    WALL = 2
    GLASS = 3
    PAINT = 4
    RUBBER = 5
    CLOTH = 6
    SKIN = 7
    LEAVES = 8
    BARK = 9
    METAL = 10
    REFLECTOR = 11


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One convex solid. faces: polygons, each float64 (k, 3), counter-clockwise from outside.

    planes: float64 (len(faces), 4), unit normals n and offsets w; inside is where n . p <= w.
    """

    faces: tuple[Floats, ...]
    planes: Floats
    material: Material
    colour: Colour

    @property
    def corners(self) -> Floats:
        """Of all faces, (n, 3), some more than once."""
        return np.concatenate(self.faces)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A thing in its own frame: x along its length, z up from where it stands, in the middle.

    size: length, width, height of the box around it that is centred on its own z axis.
    """

    name: str
    parts: tuple[Part, ...]
    size: tuple[float, float, float]

    @classmethod
    def of(cls, name: str, parts: Sequence[Part]) -> Model:
        """Of its parts; the size is theirs."""
        corners = np.concatenate([part.corners for part in parts])
        length, width = (2 * np.abs(corners[:, :2]).max(axis=0)).tolist()
        return cls(name, tuple(parts), (length, width, float(corners[:, 2].max())))


def solid(faces: Sequence[ArrayLike], material: Material, colour: Colour) -> Part:
    """Of its faces, whose corners go round either way; they must be flat, the solid convex."""
    polygons = [np.asarray(face, np.float64) for face in faces]
    middle = np.concatenate(polygons).mean(axis=0)
    normals = np.array([_newell(face) for face in polygons])
    firsts = np.array([face[0] for face in polygons])
    inward = ((firsts - middle) * normals).sum(axis=1) < 0
    normals[inward] *= -1
    outward = [face[::-1] if turn else face for face, turn in zip(polygons, inward, strict=True)]
    corners = np.concatenate(outward)
    offsets = (firsts * normals).sum(axis=1)
    assert (corners @ normals.T <= offsets + FLAT_M).all(), "the solid is not convex"
    return Part(tuple(outward), np.column_stack((normals, offsets)), material, colour)


def _newell(face: Floats) -> Floats:
    """The unit normal of a polygon: the sum of its corners' cross products, after M. Newell."""
    x = y = z = 0.0  # in plain numbers: there are thousands of faces of four corners
    corners = face.tolist()
    for (ax, ay, az), (bx, by, bz) in zip(corners, corners[1:] + corners[:1], strict=True):
        x += ay * bz - az * by
        y += az * bx - ax * bz
        z += ax * by - ay * bx
    length = (x * x + y * y + z * z) ** 0.5
    return np.array((x / length, y / length, z / length))


def loft(
    outline: ArrayLike,
    rings: Sequence[tuple[float, float]],
    material: Material,
    colour: Colour,
    *,
    axis: int = 2,
    at: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Part:
    """The hull of an outline drawn several times along an axis.

    outline: (k, 2), in x y for the axis z, x z for y, y z for x. rings: how far along the axis, and
    how large, from first to last. at: where the outline's 0 is.
    """
    flat = np.asarray(outline, np.float64)
    drawn = []
    for along, scale in rings:
        ring = np.column_stack((flat * scale, np.full(len(flat), along)))
        drawn.append(ring[:, _TURNED[axis]] + at)
    sides = [
        (low[i], low[i - 1], high[i - 1], high[i])
        for low, high in pairwise(drawn)
        for i in range(len(flat))
    ]
    return solid([drawn[0], drawn[-1], *sides], material, colour)


_TURNED = {0: [2, 0, 1], 1: [0, 2, 1], 2: [0, 1, 2]}  # columns (u, v, along) as x, y, z


def block(low: ArrayLike, high: ArrayLike, material: Material, colour: Colour) -> Part:
    """A box along the axes between two corners."""
    (x0, y0, z0), (x1, y1, z1) = np.asarray(low).tolist(), np.asarray(high).tolist()
    outline = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    return loft(outline, ((z0, 1), (z1, 1)), material, colour)


def tapered(
    low: tuple[float, float, float, float, float],
    high: tuple[float, float, float, float, float],
    material: Material,
    colour: Colour,
) -> Part:
    """Between two rectangles, each (x0, x1, y0, y1, z), the second above the first."""
    corners = [
        np.array(((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)))
        for x0, x1, y0, y1, z in (low, high)
    ]
    sides = [(corners[0][i], corners[0][i - 1], corners[1][i - 1], corners[1][i]) for i in range(4)]
    return solid([*corners, *sides], material, colour)


def bar(start: ArrayLike, end: ArrayLike, thick: float, material: Material, colour: Colour) -> Part:
    """A square rod from one point to another."""
    one, other = np.asarray(start, np.float64), np.asarray(end, np.float64)
    along = (other - one) / np.linalg.norm(other - one)
    aside = np.cross(along, (0.0, 0.0, 1.0) if abs(along[2]) < 0.9 else (1.0, 0.0, 0.0))
    aside *= thick / 2 / np.linalg.norm(aside)
    upward = np.cross(aside, along)
    square = np.array((aside + upward, upward - aside, -aside - upward, aside - upward))
    low, high = one + square, other + square
    sides = [(low[i], low[i - 1], high[i - 1], high[i]) for i in range(4)]
    return solid([low, high, *sides], material, colour)


def disc(sides: int = 12, radius: float = 1.0) -> Floats:
    """The outline of a regular polygon, (sides, 2)."""
    angles = np.arange(sides) * (2 * np.pi / sides)
    outline: Floats = radius * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return outline


def ball(
    centre: tuple[float, float, float],
    radii: tuple[float, float],
    material: Material,
    colour: Colour,
    sides: int = 8,
) -> Part:
    """Round about an upright axis: radii across and up."""
    across, up = radii
    angles = np.radians((-80, -45, 0, 45, 80))
    rings = [(float(up * np.sin(a)), float(across * np.cos(a))) for a in angles]
    return loft(disc(sides), rings, material, colour, at=centre)
