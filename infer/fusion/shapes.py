"""What stands in a footprint, by the sizes of things, and how far it goes on where nobody sees.

Nothing here was learnt. Sizes are those of the things: passenger cars are 3.4 to 5.2 m long, 1.5 to
2.1 m wide (mirrors included) and 1.3 to 2.1 m high; people up to 2 m high and within an arm's
length; two-wheelers 1.5 to 2.2 m long and at most as wide as a handlebar, ridden or parked. A
sensor sees the sides that face it, so a size seen may fall short of the thing's and hardly exceed
it; and it sees tops only to within one beam.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infer.fusion.footprints import (
    ANGLE,
    BOTTOM,
    ON_EDGE,
    TOP,
    U_HIGH,
    U_LOW,
    V_HIGH,
    V_LOW,
)
from infer.fusion.objects import CYCLIST, OTHER, PEDESTRIAN, VEHICLE
from infer.fusion.surroundings import BESIDE, OVERHEAD

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


Bound = tuple[float, float]
ANY: Bound = (0.0, -1.0)  # what is never below 0


@dataclass(frozen=True, slots=True)
class Size:
    """Of a class, metres. A bound is two numbers: what is this side of the first fits, what is
    beyond the second does not, and between them it fits less and less.

    typical: length, width, height. longer, shorter: most of the two sides seen; least_longer,
    least_shorter: the least. lowest_top, highest_top: of what is seen. floor: how high above the
    ground its lowest point may be seen. on_edge: share of its points at the sides that face the
    sensor; a body is seen from outside, a bush all through. covered, crowded: shares of its points
    that something is right above of, and right beside. trust: what its shape alone is worth.
    """

    typical: tuple[float, float, float]
    longer: Bound
    shorter: Bound
    least_longer: Bound
    lowest_top: Bound
    highest_top: Bound
    least_shorter: Bound = ANY
    on_edge: Bound = ANY
    floor: Bound = (0.5, 0.8)
    covered: Bound = (0.0, 0.25)
    crowded: Bound = (0.1, 0.3)
    trust: float = 1.0


SIZES = {
    # A flat side is a wall's: windows, bonnet and bumpers stand half a metre apart.
    VEHICLE: Size(
        typical=(4.4, 1.8, 1.6),
        longer=(5.3, 6.2),
        shorter=(2.1, 2.6),
        least_longer=(1.4, 1.1),
        lowest_top=(1.3, 1.0),
        highest_top=(2.05, 2.3),
        least_shorter=(0.5, 0.2),
        on_edge=(0.3, 0.15),
        trust=0.7,  # ends of walls and cut hedges look alike
    ),
    PEDESTRIAN: Size(
        typical=(0.7, 0.6, 1.7),
        longer=(0.9, 1.2),
        shorter=(0.8, 1.1),
        least_longer=(0.35, 0.15),
        lowest_top=(1.5, 1.1),
        highest_top=(2.0, 2.2),
        least_shorter=(0.3, 0.15),
        trust=0.55,  # posts, bins and young trees look alike, and are more
    ),
    CYCLIST: Size(
        typical=(1.75, 0.6, 1.5),
        longer=(2.1, 2.5),
        shorter=(0.8, 1.1),
        least_longer=(1.2, 0.8),
        lowest_top=(0.9, 0.6),
        highest_top=(1.95, 2.15),
        trust=0.75,  # bumpers and pieces of fence look alike
    ),
}
# Two sides of a car's size at a right angle: hardly anything else in a street has them.
WHOLE_CAR = replace(SIZES[VEHICLE], least_longer=(3.2, 2.6), least_shorter=(1.2, 0.8), trust=0.9)
# A lorry goes on above where cars end, as walls and trees do: it must show two sides and no
# inside. Pieces of houses do too: a camera or a radar must say the same before it is believed.
LORRY = Size(
    typical=(7.0, 2.4, 3.0),
    longer=(10.0, 13.0),
    shorter=(2.7, 3.0),
    least_longer=(3.4, 2.8),
    lowest_top=(1.8, 1.5),
    highest_top=(4.0, 4.2),
    least_shorter=(1.4, 1.0),
    on_edge=(0.5, 0.35),
    floor=(0.8, 1.2),
    covered=(1.0, 2.0),
    trust=0.4,
)
WIDEST_END = 2.2  # m: a vehicle's seen side that is longer is its flank

# Length and width by class: what is seen of them is all there is, and what they are if it is not.
WHOLE = {VEHICLE: (3.4, 1.5), PEDESTRIAN: (0.4, 0.4), CYCLIST: (1.4, 0.4), OTHER: (0.0, 0.0)}
USUAL = {kind: SIZES[kind].typical[:2] if kind in SIZES else (0.0, 0.0) for kind in WHOLE}
WHOLE_LORRY = (5.0, 2.1)
BEAM_RAD = np.radians(0.42)  # between a 64-beam sensor's lasers: how exactly a top is seen


def within(values: Floats, bound: Bound) -> Floats:
    """1 up to the bound's first number, 0 from its second on, straight between them."""
    fits, fails = bound
    graded: Floats = np.clip((fails - values) / (fails - fits), 0.0, 1.0)
    return graded


def likeness(footprints: Floats, around: Floats, away: Floats, size: Size) -> Floats:
    """How like a class each footprint is, 0 to 1: (n,). around: (n, 2), see `surroundings`. away:
    (n,), metres from the sensor.
    """
    u = footprints[:, U_HIGH] - footprints[:, U_LOW]
    v = footprints[:, V_HIGH] - footprints[:, V_LOW]
    longer, shorter = np.maximum(u, v), np.minimum(u, v)
    beam = away * BEAM_RAD
    parts = (
        within(longer, size.longer),
        within(shorter, size.shorter),
        within(longer, size.least_longer),
        within(shorter, size.least_shorter),
        within(footprints[:, TOP] + beam, size.lowest_top),
        within(footprints[:, TOP], size.highest_top),
        within(footprints[:, BOTTOM] - beam, size.floor),
        within(footprints[:, ON_EDGE], size.on_edge),
        within(around[:, OVERHEAD], size.covered),
        within(around[:, BESIDE], size.crowded),
    )
    product: Floats = np.prod(parts, axis=0)
    return product


def classified(footprints: Floats, around: Floats, away: Floats) -> tuple[Whole, Floats]:
    """The class that each footprint is most like, the first of equals, and what that is worth, both
    (n,). As `likeness` takes them.
    """
    sizes = (*SIZES.values(), WHOLE_CAR, LORRY)
    alike = np.stack([likeness(footprints, around, away, size) for size in sizes])
    kinds = np.array((*SIZES, VEHICLE, VEHICLE))
    kind = np.where(alike.max(axis=0) > 0, kinds[alike.argmax(axis=0)], OTHER)
    worth = alike * np.array([size.trust for size in sizes])[:, None]
    score: Floats = np.where(kinds[:, None] == kind, worth, 0.0).max(axis=0)
    return kind, score


def allowed(lengths: Floats, widths: Floats, kind: int, large: bool) -> Floats:
    """How well boxes, completed, keep within the sizes of a class: (n,), 0 to 1."""
    size = LORRY if large else SIZES[kind]
    fits: Floats = within(lengths, size.longer) * within(widths, size.shorter)
    return fits


def lengthwise(footprints: Floats, kinds: Whole, origin: tuple[float, float]) -> NDArray[np.bool_]:
    """Whether each thing's length is along its footprint's first axis.

    It is along the longer side. But of a vehicle both whose sides are no longer than one is wide,
    the sensor, which stands at `origin`, saw the front or the back: what goes on is the side that
    leads away from it.
    """
    u = footprints[:, U_HIGH] - footprints[:, U_LOW]
    v = footprints[:, V_HIGH] - footprints[:, V_LOW]
    c, s = np.cos(footprints[:, ANGLE]), np.sin(footprints[:, ANGLE])
    sight_u = (footprints[:, U_LOW] + footprints[:, U_HIGH]) / 2 - origin[0] * c - origin[1] * s
    sight_v = (footprints[:, V_LOW] + footprints[:, V_HIGH]) / 2 + origin[0] * s - origin[1] * c
    end_on = (kinds == VEHICLE) & (np.maximum(u, v) < WIDEST_END)
    along_u: NDArray[np.bool_] = np.where(end_on, np.abs(sight_u) > np.abs(sight_v), u >= v)
    return along_u


@dataclass(frozen=True, slots=True, eq=False)
class Extents:
    """Length and width of n things, float64 (n, 2), metres. whole: what is seen of at least so much
    is all there is. usual: how far they go if it is not.
    """

    whole: Floats
    usual: Floats


def extents(kinds: Whole) -> Extents:
    """As is usual of classes (n,)."""
    whole = np.array([WHOLE[kind] for kind in kinds.tolist()]).reshape(-1, 2)
    usual = np.array([USUAL[kind] for kind in kinds.tolist()]).reshape(-1, 2)
    return Extents(whole, usual)


def lorries(count: int) -> Extents:
    """As is usual of lorries and buses."""
    usual = np.array(LORRY.typical[:2])
    return Extents(np.tile(WHOLE_LORRY, (count, 1)), np.tile(usual, (count, 1)))


def completed(
    footprints: Floats, things: Extents, along_u: NDArray[np.bool_], origin: tuple[float, float]
) -> Floats:
    """The boxes seen from above, (n, 5) x y length width yaw, of what footprints show a part of.

    The sides that face the sensor, which stands at `origin`, are where they were seen. What falls
    short of the shortest of its class was hidden, by others or by the thing itself: it goes on to
    the usual size, away from the sensor, or to both sides where the sensor looks straight at it.
    along_u: see `lengthwise`.
    """
    c, s = np.cos(footprints[:, ANGLE]), np.sin(footprints[:, ANGLE])
    eye = np.stack((origin[0] * c + origin[1] * s, origin[1] * c - origin[0] * s))
    low = footprints[:, (U_LOW, V_LOW)].T - eye
    high = footprints[:, (U_HIGH, V_HIGH)].T - eye
    whole, usual = things.whole.T, things.usual.T
    whole, usual = np.where(along_u, whole, whole[::-1]), np.where(along_u, usual, usual[::-1])
    lacks = np.where(high - low < whole, usual - (high - low), 0.0)
    share = np.where((low < 0) & (high > 0), 0.5, np.where(low + high > 0, 1.0, 0.0))
    low, high = low - lacks * (1 - share) + eye, high + lacks * share + eye
    (u, v), (along, across) = (low + high) / 2, high - low
    length, width = np.where(along_u, (along, across), (across, along))
    yaw = footprints[:, ANGLE] + np.where(along_u, 0.0, np.pi / 2)
    return np.stack((u * c - v * s, u * s + v * c, length, width, yaw), axis=1)
