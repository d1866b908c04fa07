"""The things of a street, of convex solids: vehicles, people, trees, poles, houses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from infer.drives.solids import (
    Colour,
    Floats,
    Material,
    Model,
    Part,
    ball,
    bar,
    block,
    disc,
    loft,
    solid,
    tapered,
)

PAINTS: tuple[Colour, ...] = (
    (0.75, 0.75, 0.76), (0.02, 0.02, 0.025), (0.30, 0.31, 0.33), (0.09, 0.10, 0.11),
    (0.60, 0.60, 0.60), (0.04, 0.045, 0.05), (0.35, 0.02, 0.02), (0.02, 0.05, 0.20),
    (0.16, 0.15, 0.12), (0.03, 0.08, 0.06),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (0.05, 0.06, 0.15), (0.45, 0.06, 0.05), (0.55, 0.53, 0.48), (0.03, 0.03, 0.03),
    (0.10, 0.25, 0.12), (0.55, 0.35, 0.05), (0.15, 0.15, 0.17), (0.10, 0.25, 0.50),
)  # fmt: skip
WALLS: tuple[Colour, ...] = (
    (0.48, 0.40, 0.30), (0.42, 0.20, 0.13), (0.60, 0.57, 0.50), (0.35, 0.35, 0.36),
    (0.55, 0.45, 0.28), (0.30, 0.14, 0.10),
)  # fmt: skip
GLASS: Colour = (0.02, 0.025, 0.03)
BLACK: Colour = (0.008, 0.008, 0.008)
DARK: Colour = (0.02, 0.02, 0.02)
WHITE: Colour = (0.85, 0.85, 0.82)
SILVER: Colour = (0.45, 0.46, 0.48)
RED: Colour = (0.45, 0.01, 0.01)
STONE: Colour = (0.32, 0.31, 0.30)
SKIN: Colour = (0.50, 0.30, 0.20)
BARK: Colour = (0.10, 0.07, 0.045)
PROUD_M = 0.02  # of lamps, plates and wheels before the body, which is so much shorter and narrower


def car(length: float, width: float, height: float, paint: Colour) -> Model:
    """A saloon or hatchback: body, cabin of glass under a roof, wheels, lamps, number plates."""
    nose, tail, belt = length / 2 - PROUD_M, PROUD_M - length / 2, 0.56 * height
    side = width / 2 - PROUD_M
    profile = (
        (tail + 0.20, 0.20), (nose - 0.25, 0.20), (nose, 0.36), (nose, 0.60),
        (nose - 0.12, 0.70), (0.20 * length, belt), (tail + 0.10, belt + 0.04), (tail, 0.62),
        (tail, 0.42),
    )  # fmt: skip
    low = (-0.46 * length, 0.24 * length, -side + 0.08, side - 0.08, belt)
    high = (-0.34 * length, 0.06 * length, -side + 0.24, side - 0.24, height - 0.05)
    pillar_low = (-0.09 * length, -0.06 * length, -side + 0.075, side - 0.075, belt)
    pillar_high = (-0.085 * length, -0.06 * length, -side + 0.235, side - 0.235, height - 0.05)
    roof = tapered(
        (-0.345 * length, 0.065 * length, -side + 0.22, side - 0.22, height - 0.06),
        (-0.32 * length, 0.03 * length, -side + 0.30, side - 0.30, height),
        Material.PAINT,
        paint,
    )
    return Model.of(
        "car",
        [
            _body(profile, side, paint),
            tapered(low, high, Material.GLASS, GLASS),
            tapered(pillar_low, pillar_high, Material.PAINT, paint),
            roof,
            *_corner_pillars(low, high, paint),
            *_wheels(0.31, (0.31 * length, -0.31 * length), width / 2),
            *_lamps(length, side, 0.62),
        ],
    )


def van(length: float, width: float, height: float, paint: Colour) -> Model:
    """A delivery van: a bonnet, a high body with a sloping windscreen, windows at the front."""
    nose, tail, side = length / 2 - PROUD_M, PROUD_M - length / 2, width / 2 - PROUD_M
    foot, top = nose - 0.75, nose - 1.5
    bonnet = (
        (foot - 0.1, 0.22), (nose - 0.2, 0.22), (nose, 0.40), (nose, 0.85), (foot - 0.1, 1.20),
    )  # fmt: skip
    body = (
        (tail, 0.30), (tail + 0.1, 0.22), (foot, 0.22), (foot, 1.15), (top, height),
        (tail + 0.05, height), (tail, height - 0.1),
    )  # fmt: skip
    slope = (height - 1.15) / (top - foot)
    ends = [(foot + up / slope, 1.15 + up) for up in (0.1, 0.8 * (height - 1.15))]
    pane = np.array([(x, y, z) for x, z in ends for y in (-0.8, 0.8)])[[0, 1, 3, 2]]
    proud = np.array((0.015, 0.0, 0.015))
    inner, outer = pane - 2 * proud, pane + proud
    doors = (nose - 2.1, -width / 2, 1.15), (nose - 1.4, width / 2, height - 0.5)
    return Model.of(
        "van",
        [
            _body(bonnet, side, paint),
            _body(body, side, paint, bevel=0.03),
            solid([inner, outer, *_sides(inner, outer)], Material.GLASS, GLASS),
            block(*doors, Material.GLASS, GLASS),
            *_wheels(0.34, (nose - 0.95, tail + 1.0), width / 2),
            *_lamps(length, side, 0.72),
        ],
    )


def truck(length: float, width: float, height: float, paint: Colour, load: Colour) -> Model:
    """A lorry with a box: cab, box, frame, six wheels."""
    nose, tail, side = length / 2 - PROUD_M, PROUD_M - length / 2, width / 2 - PROUD_M
    cab = nose - 2.0
    return Model.of(
        "truck",
        [
            tapered(
                (cab, nose, -side, side, 0.5), (cab, nose - 0.1, -side, side, 1.5),
                Material.PAINT, paint,
            ),
            tapered(
                (cab, nose - 0.1, -side, side, 1.5), (cab, nose - 0.25, -side, side, 2.35),
                Material.GLASS, GLASS,
            ),
            tapered(
                (cab, nose - 0.25, -side, side, 2.35), (cab, nose - 0.5, -side, side, 2.75),
                Material.PAINT, paint,
            ),
            block((cab, -side, 1.5), (cab + 0.5, side, 2.35), Material.PAINT, paint),
            block((tail, -side, 1.0), (cab - 0.3, side, height), Material.PAINT, load),
            block((tail, -0.5, 0.6), (cab, 0.5, 1.0), Material.METAL, BLACK),
            *_wheels(0.48, (nose - 1.2, tail + 2.3, tail + 1.1), width / 2),
            *_lamps(length, side, 0.75),
        ],
    )  # fmt: skip


def pedestrian(height: float, top: Colour, trousers: Colour) -> Model:
    """Somebody in mid-stride."""
    h = height / 1.75
    return Model.of("pedestrian", _person(h, top, trousers))


def cyclist(top: Colour, trousers: Colour, frame: Colour) -> Model:
    """A bicycle and who rides it."""
    hub, axle = 0.34, 0.52
    seat, crank, head = (-0.25, 0, 0.95), (-0.05, 0, 0.30), (0.38, 0, 0.95)
    back, front = (-axle, 0, hub), (axle, 0, hub)
    metal = Material.METAL
    rods = [
        bar(seat, crank, 0.05, metal, frame), bar(crank, head, 0.05, metal, frame),
        bar(seat, head, 0.05, metal, frame), bar(head, front, 0.05, metal, frame),
        bar(back, crank, 0.04, metal, frame), bar(back, seat, 0.04, metal, frame),
        bar((0.40, -0.28, 1.02), (0.40, 0.28, 1.02), 0.04, metal, BLACK),
        bar((-0.38, 0, 0.98), (-0.12, 0, 0.98), 0.12, Material.RUBBER, BLACK),
    ]  # fmt: skip
    rider = [
        bar((-0.25, 0.10, 0.98), (0.10, 0.12, 0.72), 0.15, Material.CLOTH, trousers),
        bar((0.10, 0.12, 0.72), (-0.02, 0.12, 0.20), 0.12, Material.CLOTH, trousers),
        bar((-0.25, -0.10, 0.98), (0.14, -0.12, 0.92), 0.15, Material.CLOTH, trousers),
        bar((0.14, -0.12, 0.92), (0.00, -0.12, 0.42), 0.12, Material.CLOTH, trousers),
        bar((-0.26, 0.0, 0.95), (0.02, 0.0, 1.48), 0.34, Material.CLOTH, top),
        bar((0.02, 0.20, 1.42), (0.38, 0.22, 1.05), 0.09, Material.CLOTH, top),
        bar((0.02, -0.20, 1.42), (0.38, -0.22, 1.05), 0.09, Material.CLOTH, top),
        ball((0.14, 0, 1.65), (0.11, 0.14), Material.SKIN, SKIN),
        ball((0.13, 0, 1.71), (0.13, 0.10), Material.PAINT, top),
    ]
    wheels = [part for x in (-axle, axle) for part in _spoked(x, hub)]
    return Model.of("cyclist", [*rods, *rider, *wheels])


def tree(rng: np.random.Generator) -> Model:
    """A trunk, and a crown of several balls of leaves."""
    tall = float(rng.uniform(2.2, 3.2))
    trunk = loft(
        disc(8, float(rng.uniform(0.12, 0.22))), ((0, 1), (tall + 0.8, 0.7)),
        Material.BARK, BARK,
    )  # fmt: skip
    crown = []
    for _ in range(4):
        x, y = rng.uniform(-0.8, 0.8, 2).tolist()
        wide = float(rng.uniform(1.0, 1.6))
        high = tall + wide + float(rng.uniform(0, 1.6))
        crown.append(ball((x, y, high), (wide, wide), Material.LEAVES, _green(rng)))
    return Model.of("tree", [trunk, *crown])


def bush(rng: np.random.Generator) -> Model:
    """A few low balls of leaves."""
    balls = []
    for _ in range(3):
        x, y = rng.uniform(-0.5, 0.5, 2).tolist()
        wide, high = float(rng.uniform(0.35, 0.7)), float(rng.uniform(0.3, 0.7))
        balls.append(ball((x, y, high), (wide, high), Material.LEAVES, _green(rng)))
    return Model.of("bush", balls)


def lamp_post(height: float) -> Model:
    """A pole with an arm over the street, which is to its left."""
    pole = loft(disc(8, 0.09), ((0, 1), (height, 0.6)), Material.METAL, SILVER)
    arm = bar((0, 0, height - 0.1), (0, 1.6, height + 0.1), 0.09, Material.METAL, SILVER)
    lamp = block((-0.12, 1.3, height + 0.02), (0.12, 1.9, height + 0.16), Material.METAL, SILVER)
    return Model.of("pole", [pole, arm, lamp])


def sign() -> Model:
    """A thin pole with a round plate that faces backwards, to who comes along x."""
    pole = loft(disc(6, 0.035), ((0, 1), (2.6, 1)), Material.METAL, SILVER)
    ring = loft(
        disc(12, 0.32), ((-0.06, 1), (-0.04, 1)), Material.REFLECTOR, RED,
        axis=0, at=(0, 0, 2.25),
    )  # fmt: skip
    plate = loft(
        disc(12, 0.24), ((-0.065, 1), (-0.04, 1)), Material.REFLECTOR, WHITE,
        axis=0, at=(0, 0, 2.25),
    )  # fmt: skip
    return Model.of("sign", [pole, ring, plate])


def bin_(colour: Colour) -> Model:
    """A waste container on its wheels."""
    low, high = (-0.25, 0.25, -0.3, 0.3, 0.05), (-0.3, 0.3, -0.36, 0.36, 1.0)
    lid = tapered(
        (-0.32, 0.32, -0.38, 0.38, 1.0), (-0.25, 0.2, -0.34, 0.34, 1.1), Material.RUBBER, colour
    )
    return Model.of("bin", [tapered(low, high, Material.RUBBER, colour), lid])


def house(length: float, depth: float, storeys: int, wall: Colour) -> Model:
    """A block with rows of windows, and a door, on all that may be seen of it."""
    x, y, high = length / 2, depth / 2, 3.2 * storeys + 0.6
    parts = [block((-x, -y, 0), (x, y, high), Material.WALL, wall)]
    for storey in range(storeys):
        for at in np.arange(-x + 1.2, x - 1.2, 2.4).tolist():
            low = (at - 0.5, -y - 0.03, 3.2 * storey + 1.0)
            high_ = (at + 0.5, y + 0.03, 3.2 * storey + 2.5)
            parts.append(block(low, high_, Material.GLASS, GLASS))
    parts.append(block((-x - 0.05, -y - 0.05, 0), (x + 0.05, y + 0.05, 0.5), Material.STONE, STONE))
    return Model.of("house", parts)


def slab(corners: ArrayLike, height: float, colour: Colour = STONE) -> Model:
    """A piece of pavement: four corners (4, 2) around its own middle, that high."""
    outline = np.asarray(corners, np.float64)
    return Model.of("pavement", [loft(outline, ((-0.1, 1), (height, 1)), Material.STONE, colour)])


def _green(rng: np.random.Generator) -> Colour:
    shade = float(rng.uniform(0.6, 1.2))
    return (0.05 * shade, 0.12 * shade, 0.025 * shade)


def _body(profile: ArrayLike, side: float, paint: Colour, bevel: float = 0.09) -> Part:
    """A profile (k, 2), x and z, as wide as the vehicle and rounded at its sides."""
    outline = np.asarray(profile, np.float64)
    middle = outline.mean(axis=0)
    rings = ((-side, 0.95), (bevel - side, 1), (side - bevel, 1), (side, 0.95))
    at = (float(middle[0]), 0.0, float(middle[1]))
    return loft(outline - middle, rings, Material.PAINT, paint, axis=1, at=at)


def _corner_pillars(
    low: tuple[float, float, float, float, float],
    high: tuple[float, float, float, float, float],
    paint: Colour,
) -> list[Part]:
    """Along the four edges of a cabin between two rectangles."""
    ends = [((low[i], low[j], low[4]), (high[i], high[j], high[4])) for i in (0, 1) for j in (2, 3)]
    return [bar(start, end, 0.07, Material.PAINT, paint) for start, end in ends]


def _wheels(radius: float, axles: tuple[float, ...], side: float) -> list[Part]:
    """A rim in a tyre in a dark arch, each a little prouder, on both sides of every axle."""
    arch = disc(16, 1.22 * radius)
    arch[:, 1] = np.maximum(arch[:, 1], 0.1 - radius)  # above the ground
    shapes = (
        (_without_doubles(arch), 0.6 * PROUD_M, BLACK, Material.RUBBER),
        (disc(16, radius), 0.3 * PROUD_M, DARK, Material.RUBBER),
        (disc(16, 0.62 * radius), 0.0, SILVER, Material.METAL),
    )
    parts = []
    for x in axles:
        for way in (-1.0, 1.0):
            for outline, within, colour, material in shapes:
                ends = sorted((way * (side - 0.22), way * (side - within)))
                rings = ((ends[0], 1), (ends[1], 1))
                parts.append(loft(outline, rings, material, colour, axis=1, at=(x, 0.0, radius)))
    return parts


def _without_doubles(outline: Floats) -> Floats:
    """Only the first and last corner of those on the lowest edge."""
    on_edge = np.flatnonzero(outline[:, 1] <= outline[:, 1].min() + 1e-9)
    keep = np.ones(len(outline), np.bool_)
    keep[on_edge[1:-1]] = False
    kept: Floats = outline[keep]
    return kept


def _lamps(length: float, side: float, z: float) -> list[Part]:
    """Headlamps, tail lamps, number plates and a grille, a little proud of the ends."""
    nose, tail, glass = length / 2, -length / 2, Material.REFLECTOR
    low, high = (nose - 0.5, -side * 0.45, z - 0.22), (nose - PROUD_M / 2, side * 0.45, z - 0.05)
    parts = [block(low, high, Material.RUBBER, BLACK)]
    for y in (-0.70 * side, 0.70 * side):
        parts += [
            block((nose - 0.3, y - 0.16, z - 0.14), (nose, y + 0.16, z), glass, WHITE),
            block((tail, y - 0.16, z - 0.12), (tail + 0.2, y + 0.16, z + 0.08), glass, RED),
        ]
    for x0, x1 in ((nose - 0.1, nose), (tail, tail + 0.1)):
        parts.append(block((x0, -0.26, 0.40), (x1, 0.26, 0.51), glass, WHITE))
    return parts


def _person(h: float, top: Colour, trousers: Colour) -> list[Part]:
    """Legs, torso, arms, head; h: of 1.75 m."""
    cloth, hip, shoulder, stride = Material.CLOTH, 0.88 * h, 1.45 * h, 0.26 * h
    waist, chest = (-0.11, 0.11, -0.17, 0.17, hip - 0.06), (-0.12, 0.12, -0.22, 0.22, shoulder)
    arm = shoulder - 0.02, 0.85 * h
    return [
        bar((0, 0.10, hip), (stride, 0.10, 0.05), 0.14 * h, cloth, trousers),
        bar((0, -0.10, hip), (-stride, -0.10, 0.05), 0.14 * h, cloth, trousers),
        tapered(waist, chest, cloth, top),
        bar((0, 0.26, arm[0]), (-0.7 * stride, 0.26, arm[1]), 0.09, cloth, top),
        bar((0, -0.26, arm[0]), (0.7 * stride, -0.26, arm[1]), 0.09, cloth, top),
        ball((0.02, 0, 1.60 * h), (0.11 * h, 0.15 * h), Material.SKIN, SKIN),
    ]


def _spoked(x: float, hub: float, pieces: int = 10) -> list[Part]:
    """A bicycle's wheel: a rim of straight pieces, and two spokes across."""
    rim = disc(pieces, hub - 0.02)
    places = [(x + u, 0.0, hub + v) for u, v in rim.tolist()]
    tyre = [bar(places[i - 1], places[i], 0.035, Material.RUBBER, BLACK) for i in range(pieces)]
    return [*tyre, bar(places[0], places[pieces // 2], 0.02, Material.METAL, SILVER)]


def _sides(inner: Floats, outer: Floats) -> list[tuple[Floats, ...]]:
    """The faces between two polygons of as many corners."""
    return [(inner[i], inner[i - 1], outer[i - 1], outer[i]) for i in range(len(inner))]
