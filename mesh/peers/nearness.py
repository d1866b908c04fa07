"""How far two nodes are from each other that never met: network coordinates. Pure.

Vivaldi (Dabek, Cox, Kaashoek and Morris, "Vivaldi: A Decentralized Network Coordinate System",
SIGCOMM 2004) with heights: a point in space (the nodes are on a globe) stands for the long way, its
height for the way that all packets of a node must take first, and the distance is the round trip in
milliseconds. Each measured round trip with a node whose coordinate is known moves one's own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

_CE, _CC = 0.25, 0.25  # how fast error and place follow: the paper's constants
_LEAST_MS = 0.05  # of a height, and of a round trip
_WORST = 1.5  # error of a node that knows nothing
_BOUND_MS = 10_000.0  # of what is believed of others

NodeT = TypeVar("NodeT")


class Coordinate(NamedTuple):
    """A node's place, in milliseconds, and how far off it thinks it is, as a share (0 to 1.5)."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    height: float = _LEAST_MS
    error: float = _WORST

    def distance_ms(self, other: Coordinate) -> float:
        """The round trip to be expected between the two."""
        return math.dist(self[:3], other[:3]) + self.height + other.height

    @property
    def believable(self) -> bool:
        """Whether it can be anybody's: what others say of themselves may be anything."""
        return (
            all(map(math.isfinite, self))
            and max(map(abs, self[:3])) <= _BOUND_MS
            and 0 < self.height <= _BOUND_MS
            and 0 <= self.error <= _WORST
        )


def to_wire(place: Coordinate) -> tuple[int, ...]:
    """As adverts carry it: hundredths of a millisecond, and of the error."""
    return tuple(round(100 * value) for value in place)


def from_wire(said: Sequence[int]) -> Coordinate | None:
    """What an advert says; None for nothing, and for what cannot be."""
    if len(said) != len(Coordinate._fields):
        return None
    place = Coordinate(*(value / 100 for value in said))
    return place if place.believable else None


class Position:
    """One node's own coordinate, as it learns."""

    def __init__(self, seed: int, start: Coordinate = Coordinate()) -> None:  # noqa: B008  a value
        self.here = start
        self._draw = random.Random(seed)  # noqa: S311  a direction, no secret

    def learn(self, rtt_ms: float, there: Coordinate) -> None:
        """A round trip with a node at `there` was measured. What is nonsense is not learnt from."""
        if not (math.isfinite(rtt_ms) and 0 < rtt_ms <= _BOUND_MS and there.believable):
            return
        here, rtt_ms = self.here, max(rtt_ms, _LEAST_MS)
        expected = here.distance_ms(there)
        weight = here.error / max(here.error + there.error, 1e-9)
        off = abs(expected - rtt_ms) / rtt_ms
        error = off * _CE * weight + here.error * (1 - _CE * weight)
        apart = [a - b for a, b in zip(here[:3], there[:3], strict=True)]
        if math.hypot(*apart) < 1e-6:  # the same place: part in any direction
            apart = [self._draw.gauss(0, 1) for _ in apart]
        heights = here.height + there.height
        step = _CC * weight * (rtt_ms - expected) / (math.hypot(*apart) + heights)
        self.here = Coordinate(
            here.x + step * apart[0],
            here.y + step * apart[1],
            here.z + step * apart[2],
            max(_LEAST_MS, here.height + step * heights),
            min(error, _WORST),
        )


def choose_near(
    position: Position,
    known: Mapping[NodeT, Coordinate],
    probe: Callable[[NodeT], float],
    *,
    wanted: int,
    probes: int,
) -> list[NodeT]:
    """The `wanted` nearest of many, nearest first, of which at most `probes` are measured.

    The most promising are measured first, some at a time, and each measurement corrects this
    node's own place before the next are picked. probe: the round trip in ms, inf for none.
    """
    measured: dict[NodeT, float] = {}
    while len(measured) < min(probes, len(known)):
        batch = max(1, min(probes - len(measured), probes // 4))
        left = (node for node in known if node not in measured)
        for node in sorted(left, key=lambda n: position.here.distance_ms(known[n]))[:batch]:
            measured[node] = probe(node)
            position.learn(measured[node], known[node])
    return sorted(measured, key=lambda node: measured[node])[:wanted]
