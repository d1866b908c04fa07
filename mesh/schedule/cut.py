"""How a frame is cut: sizes that let all devices finish together, and where to cut for them. Pure.

`shares` says how much of a frame each piece should hold. A device's pieces end when its queue,
the way there and back, and its speed say so; the sizes are those for which that instant is the
same for all, but for the moment it takes to merge the others' results (water filling, as over
parallel channels: Cover and Thomas, "Elements of Information Theory", 2nd ed. 2006, 9.4). No
piece is longer than a quantum, and where a link is slow a device gets more than one, so that a
result travels while the next piece runs.

`divide_plane` and `divide_line` then cut a map of costs into parts of such sizes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, inf, isfinite, sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import Misuse
from mesh.core.workload import CutHint

# What one more piece costs those who make, send and merge it. A device is given another one to
# hide its transfers only where that saves more.
PIECE_US: Final = 1_500.0
# Results are received and merged one after another. Devices that end at one instant would have
# theirs wait for each other: they end this far apart instead, but all within a quarter of the time.
MERGE_US: Final = 300.0
_APART: Final = 0.25
MAX_PIECES: Final = 64  # of one frame
_SLIVER: Final = 0.05  # of an even share: a device that would get less is not asked
_ROUNDS: Final = 3  # sizes and counts of pieces depend on each other; they settle in two

Costs: TypeAlias = NDArray[np.float64]
Cells: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom


# --- how much -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    """What one lane gets of the frame: `units` of work in so many pieces."""

    wait_us: float
    run_us: float  # per unit
    way_us: float  # per unit
    pieces: int = 1
    units: float = 0.0

    @property
    def us(self) -> float:
        """Per unit: while the pieces run, the results of all but the last are on their way."""
        longer, shorter = max(self.run_us, self.way_us), min(self.run_us, self.way_us)
        return longer + shorter / self.pieces


def shares(
    hint: CutHint,
    kind: str,
    units: float,
    *,
    piece_units: float = 0.0,
    bytes_per_unit: float = 0.0,
    merge_us: float = MERGE_US,
    at_least: int = 1,
    most: int = MAX_PIECES,
) -> list[float]:
    """Sizes of the pieces to cut a frame of `units` into, largest first; they sum to 1.

    kind: of the pieces. piece_units: what a piece costs beside its share of the work.
    bytes_per_unit: of inputs and results together. merge_us: what receiving one result takes;
    0: all devices finish at the same instant. at_least, most: how many pieces are wanted,
    most >= at_least >= 1. When nothing is known of any device, even sizes.
    """
    parts = [
        _Part(lane.wait_us, lane.us_per_unit[kind], lane.us_per_byte * bytes_per_unit)
        for lane in hint.lanes[:most]
        if lane.us_per_unit.get(kind, 0.0) > 0
    ]
    if not parts or not (isfinite(units) and units > 0):
        count = min(max(at_least, hint.devices), most)
        return [1 / count] * count
    # The slower a device, the less work it loses by ending earlier.
    parts.sort(key=lambda part: part.run_us)
    apart_us = min(merge_us, _APART * units / sum(1 / part.run_us for part in parts) / len(parts))
    for rank, part in enumerate(parts):
        part.wait_us += apart_us * rank
    for _ in range(_ROUNDS):
        parts = _level(parts, units, piece_units)
        counts = [_pieces(part, hint.quantum_us) for part in parts]
        if all(part.pieces == count for part, count in zip(parts, counts, strict=True)):
            break
        for part, count in zip(parts, counts, strict=True):
            part.pieces = count
    sizes = sorted(
        (part.units / part.pieces for part in parts for _ in range(part.pieces)), reverse=True
    )
    # Devices still to be measured want a piece of their own: a copy of it, or a share of the frame.
    unknown = hint.devices - len(hint.lanes)
    while len(sizes) < min(max(at_least, len(parts) + unknown), most):
        largest = sizes.pop(0)
        sizes = sorted([*sizes, largest / 2, largest / 2], reverse=True)
    if len(sizes) > most:
        return [1 / most] * most
    total = sum(sizes)
    return [size / total for size in sizes]


def _level(parts: Sequence[_Part], units: float, piece_units: float) -> list[_Part]:
    """Give each part its units so that all end at one instant; those that had no time get none.

    With `begin` before which a part cannot do work and `us` per unit, the instant T solves
    sum((T - begin) / us) = units over the parts with begin < T.
    """
    begin_us = {id(p): p.wait_us + piece_units * p.pieces * p.run_us for p in parts}
    waiting = sorted(parts, key=lambda p: begin_us[id(p)])
    rate = weighted = 0.0
    end_us = inf
    used: list[_Part] = []
    for part in waiting:
        if begin_us[id(part)] >= end_us:
            break
        used.append(part)
        rate += 1 / part.us
        weighted += begin_us[id(part)] / part.us
        end_us = (units + weighted) / rate
    for part in used:
        part.units = (end_us - begin_us[id(part)]) / part.us
    kept = [p for p in used if p.units >= _SLIVER * units / len(used)]
    return kept if len(kept) == len(used) else _level(kept, units, piece_units)


def _pieces(part: _Part, quantum_us: int) -> int:
    """As many as the quantum demands, or as overlapping its transfers pays for."""
    quanta = ceil(part.units * part.run_us / quantum_us) if quantum_us > 0 else 1
    hidden_us = part.units * min(part.run_us, part.way_us)
    return min(max(quanta, int(sqrt(hidden_us / PIECE_US)), 1), MAX_PIECES)


# --- where --------------------------------------------------------------------------------------


def divide_plane(costs: Costs, sizes: Sequence[float]) -> list[Cells]:
    """Cut a grid of costs into rectangles whose costs relate as `sizes`, in no special order.

    costs: (rows, columns), >= 0. sizes: > 0; as many rectangles come back, or, where there are
    fewer cells, one per cell. A kd-tree: recursively in two across the longer side, at the line
    where the cost divides as the sizes do. docs/adr/0008-frames-are-cut-by-a-kd-tree.md says why.
    """
    rows, columns = costs.shape
    if not sizes or min(sizes) <= 0 or not rows * columns:
        raise Misuse(
            what=f"cannot cut {columns}x{rows} cells into {len(sizes)} parts",
            why="there must be cells, and at least one part, each of a size above 0",
            fix="Pass what `shares` returned.",
        )
    # Summed areas make the cost of any block of cells four look-ups.
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = costs.cumsum(0).cumsum(1)
    sizes = sorted(sizes, reverse=True)[: rows * columns]
    return _divide(sums, (0, 0, columns, rows), sizes)


def _divide(sums: Costs, cells: Cells, sizes: Sequence[float]) -> list[Cells]:
    if len(sizes) == 1:
        return [cells]
    left, top, right, bottom = cells
    columns, rows = right - left, bottom - top
    across = columns >= rows
    if across:
        before = sums[bottom, left : right + 1] - sums[top, left : right + 1]
    else:
        before = sums[top : bottom + 1, right] - sums[top : bottom + 1, left]
    before = before - before[0]
    lanes, depth = (columns, rows) if across else (rows, columns)
    first = _halved(sizes)
    # Each side must keep at least as many cells as parts it will be cut into.
    low = ceil(first / depth)
    high = lanes - ceil((len(sizes) - first) / depth)
    if low > high:  # nearly a part per cell: the far side gets what it has room for
        first, high = len(sizes) - (lanes - low) * depth, low
    goal = before[-1] * sum(sizes[:first]) / sum(sizes)
    at = low + int(np.abs(before[low : high + 1] - goal).argmin())
    if across:
        halves = (left, top, left + at, bottom), (left + at, top, right, bottom)
    else:
        halves = (left, top, right, top + at), (left, top + at, right, bottom)
    return [*_divide(sums, halves[0], sizes[:first]), *_divide(sums, halves[1], sizes[first:])]


def _halved(sizes: Sequence[float]) -> int:
    """How many of the sizes, at least one and not all, come nearest to half of their sum."""
    before = list(accumulate(sizes))
    half = before[-1] / 2
    at = min(bisect_left(before, half), len(sizes) - 2)
    nearer = at > 0 and half - before[at - 1] <= before[at] - half
    return at if nearer else at + 1


def divide_line(costs: Costs, sizes: Sequence[float]) -> NDArray[np.int64]:
    """Edges of runs of `costs`, (n,) and >= 0, that relate as `sizes`; first 0, last n.

    A border lies where the running sum is nearest to its share. Runs are never empty: where there
    are fewer cells than sizes, or all the cost is in a few cells, fewer come back.
    """
    running = np.cumsum(costs)
    wanted = running[-1] * np.cumsum(sizes)[:-1] / sum(sizes)
    inner = np.searchsorted(running, wanted) + 1
    before = np.where(inner > 1, running[inner - 2], 0)
    nearer_before = wanted - before < running[np.minimum(inner - 1, len(costs) - 1)] - wanted
    inner = np.clip(inner - nearer_before, 1, len(costs) - 1)
    return np.unique(np.concatenate(([0], inner, [len(costs)]))).astype(np.int64)
