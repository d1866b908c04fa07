"""One scalar body per kernel, and the loops that run them one item after another.

A body does the work of item `i`; it is plain Python over integers. It is bound twice:

* `infer.kernels.cpu` compiles the `each_*` loops below, which call the bodies in order;
* `infer.kernels.cuda` calls the same bodies from one GPU thread per item.

What differs is only how a shared number is changed: `add`, `lower` and `higher` (each returns
what was there before) are plain here and atomic on a GPU. Bodies and loops share one file because
Numba's cache on disk notices changes file by file.

`p` is `Grid.parameters`; lengths are units of 1/1024 m; see `infer.grid` and `infer.layout`.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from infer.grid import (
    BIN_HI,
    BIN_LO,
    BINS,
    CEILING,
    FIT_LIMIT,
    GROUND_SHIFT,
    GROUND_SIDE,
    HEIGHT,
    MIN_POINTS,
    NEAR,
    SHIFT,
    SIDE,
    STEP,
)
from infer.layout import (
    ANGLE,
    ANGLES,
    CELL,
    CELLS,
    COUNT,
    EAST,
    FIRST,
    FLOOR,
    GROUND,
    GROUND_CELLS,
    GROUND_POINTS,
    HIGH_Z,
    LABEL,
    LOW_Z,
    MAX_X,
    MAX_XMY,
    MAX_XPY,
    MAX_Y,
    MAX_Z,
    MIN_X,
    MIN_XMY,
    MIN_XPY,
    MIN_Y,
    MIN_Z,
    N_BORDER,
    N_CELLS,
    N_CLUSTERS,
    N_ORDERED,
    NONE,
    NORTH,
    OBSTACLE_POINTS,
    OPEN,
    OUTSIDE_POINTS,
    OVERHEAD_POINTS,
    POINTS,
    SOUTH,
    STRAY_POINTS,
    SUM_X,
    SUM_Y,
    TOTAL_X,
    TOTAL_Y,
    TURN_SHIFT,
    U_HI,
    U_LO,
    V_HI,
    V_LO,
    WEST,
)

Array: TypeAlias = Any  # an array of whichever target the body is bound to

FLOAT_UNITS = np.float32(1024)  # a power of two: the product is exact
FLOAT_LIMIT = np.float32(1000)  # metres; what lies farther is no measurement

GROUND_STEP = 205  # 0.2 m: ground may rise this much from one ground cell to the next
GROUND_BAND = 410  # 0.4 m, and
GROUND_SLOPE_SHIFT = 4  # 6 % of the distance: where ground can be, around the sensor's foot

EDGE = 256 << TURN_SHIFT  # 0.25 m: cells nearer than this to a box's edge speak for it

LINK = 2  # obstacle cells at most so many rows and columns apart are of one cluster

NOWHERE = 65535  # the azimuth bin of a point that no sector gets

# --- changing what others may be changing too -----------------------------------------------------


def add(array: Array, i: int, value: int) -> int:
    """array[i] += value; returns what was there."""
    old: int = array[i]
    array[i] = old + value
    return old


def lower(array: Array, i: int, value: int) -> int:
    """array[i] = min(array[i], value); returns what was there."""
    old: int = array[i]
    if value < old:
        array[i] = value
    return old


def add_to(table: Array, i: int, j: int, value: int) -> None:
    """table[i, j] += value."""
    table[i, j] += value


def lower_in(table: Array, i: int, j: int, value: int) -> None:
    """table[i, j] = min(table[i, j], value)."""
    table[i, j] = min(table[i, j], value)


def raise_in(table: Array, i: int, j: int, value: int) -> None:
    """table[i, j] = max(table[i, j], value)."""
    table[i, j] = max(table[i, j], value)


# --- points and ground ----------------------------------------------------------------------------


def usable(points: Array, i: int) -> bool:
    """Whether point i is a measurement: finite and within 1 km. NaN fails each comparison."""
    return bool(
        abs(points[i, 0]) < FLOAT_LIMIT
        and abs(points[i, 1]) < FLOAT_LIMIT
        and abs(points[i, 2]) < FLOAT_LIMIT
    )


def units(metres: float) -> int:
    """Metres (float32, under FLOAT_LIMIT) as whole units, rounded down.

    Cut off and corrected: twice as fast as `math.floor`, and both float32 steps are exact.
    """
    scaled = metres * FLOAT_UNITS
    whole = int(scaled)
    return whole - 1 if np.float32(whole) > scaled else whole


def ground_cell(x: int, y: int, p: Array) -> int:
    """The ground cell of a position, or -1 outside the grid or too near to the sensor."""
    if x * x + y * y < p[NEAR] * p[NEAR]:
        return -1
    side = p[GROUND_SIDE]
    column, row = (x >> GROUND_SHIFT) + (side >> 1), (y >> GROUND_SHIFT) + (side >> 1)
    if column < 0 or row < 0 or column >= side or row >= side:
        return -1
    cell: int = row * side + column
    return cell


def slack(x: int, y: int) -> int:
    """How far the ground may lie from the level of the sensor's foot."""
    return GROUND_BAND + (max(abs(x), abs(y)) >> GROUND_SLOPE_SHIFT)


def note_lowest(i: int, points: Array, p: Array, lowest: Array) -> None:
    """Point i lowers its ground cell's lowest height, unless it lies below any possible ground."""
    if usable(points, i):
        x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
        cell = ground_cell(x, y, p)
        if cell >= 0 and z >= -p[HEIGHT] - slack(x, y):
            lower(lowest, cell, z)


def settle_ground(i: int, p: Array, bins: Array, lowest: Array, ground: Array, n: Array) -> None:
    """Decide the ground's height in ground cell i from its lowest point and its neighbours'.

    The own lowest point is ground if it is not a step above the lowest around and not higher than
    ground can be; else the ground is hidden there and taken from around.
    """
    ground[i] = NONE
    own = lowest[i]
    if own == NONE or bins[i] < p[BIN_LO] or bins[i] >= p[BIN_HI]:
        return
    side = p[GROUND_SIDE]
    row, column = i // side, i % side
    around = own
    for r in range(max(row - 1, 0), min(row + 2, side)):
        for c in range(max(column - 1, 0), min(column + 2, side)):
            around = min(around, lowest[r * side + c])
    half = side >> 1
    highest = -p[HEIGHT] + slack((column - half) << GROUND_SHIFT, (row - half) << GROUND_SHIFT)
    if own - around <= GROUND_STEP and own <= highest:
        ground[i] = own
        add(n, GROUND_CELLS, 1)
    else:
        ground[i] = min(around, highest)


def sort_point(
    i: int, points: Array, p: Array, ground: Array, occupied: Array, cell_of: Array, n: Array
) -> None:
    """Tell ground, obstacle and the rest apart; mark the fine cell of an obstacle point."""
    cell_of[i] = -1
    if not usable(points, i):
        return
    x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
    cell = ground_cell(x, y, p)
    if cell < 0:
        add(n, OUTSIDE_POINTS, 1)
        return
    above = z - ground[cell]
    if ground[cell] == NONE or z < -p[HEIGHT] - slack(x, y):
        add(n, STRAY_POINTS, 1)
    elif above <= p[STEP]:
        add(n, GROUND_POINTS, 1)
    elif above > p[CEILING]:
        add(n, OVERHEAD_POINTS, 1)
    else:
        add(n, OBSTACLE_POINTS, 1)
        half = p[SIDE] >> 1
        fine = ((y >> p[SHIFT]) + half) * p[SIDE] + (x >> p[SHIFT]) + half
        cell_of[i] = fine
        occupied[fine] = 1


# --- cells ----------------------------------------------------------------------------------------


def list_cell(i: int, p: Array, occupied: Array, columns: Array, parents: Array, n: Array) -> None:
    """Give fine cell i a row if a point marked it; `occupied` then holds 1 + the row's index."""
    if occupied[i] == 0:
        return
    row = add(n, N_CELLS, 1)
    occupied[i] = row + 1
    parents[row] = row
    columns[row, CELL] = i
    columns[row, LABEL] = -1
    columns[row, COUNT] = 0
    columns[row, SUM_X] = 0
    columns[row, SUM_Y] = 0
    columns[row, MIN_Z] = NONE
    columns[row, MAX_Z] = -NONE
    columns[row, GROUND] = 0
    for field in range(MIN_X, MAX_XMY, 2):
        columns[row, field] = NONE
        columns[row, field + 1] = -NONE


def measure_point(
    i: int,
    points: Array,
    p: Array,
    ground: Array,
    occupied: Array,
    cell_of: Array,
    columns: Array,
) -> None:
    """Add obstacle point i to its cell's row."""
    if cell_of[i] < 0:
        return
    row = occupied[cell_of[i]] - 1
    x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
    columns[row, GROUND] = ground[ground_cell(x, y, p)]
    mask = (1 << p[SHIFT]) - 1
    x, y = x & mask, y & mask
    add_to(columns, row, COUNT, 1)
    add_to(columns, row, SUM_X, x)
    add_to(columns, row, SUM_Y, y)
    lower_in(columns, row, MIN_Z, z)
    raise_in(columns, row, MAX_Z, z)
    lower_in(columns, row, MIN_X, x)
    raise_in(columns, row, MAX_X, x)
    lower_in(columns, row, MIN_Y, y)
    raise_in(columns, row, MAX_Y, y)
    lower_in(columns, row, MIN_XPY, x + y)
    raise_in(columns, row, MAX_XPY, x + y)
    lower_in(columns, row, MIN_XMY, x - y)
    raise_in(columns, row, MAX_XMY, x - y)


def clear_cell(i: int, occupied: Array, columns: Array) -> None:
    """Make the dense grid empty again, cell by listed cell."""
    occupied[columns[i, CELL]] = 0


# --- clusters: connected components by union-find -------------------------------------------------


def root(parents: Array, i: int) -> int:
    """The representative of i's set."""
    while parents[i] != i:
        i = parents[i]
    return i


def unite(parents: Array, a: int, b: int) -> None:
    """Join two sets; the smaller index represents both.

    Safe under threads: the larger root is lowered atomically, and if somebody lowered it first,
    that one is joined as well. After Y. Komura, "GPU-based cluster-labeling algorithm without the
    use of conventional iteration", Computer Physics Communications 194 (2015).
    """
    while True:
        a, b = root(parents, a), root(parents, b)
        if a == b:
            return
        a, b = max(a, b), min(a, b)
        old = lower(parents, a, b)
        if old == a:
            return
        a = old


def unite_cell(i: int, p: Array, occupied: Array, columns: Array, parents: Array) -> None:
    """Join cell i with the occupied cells within LINK of it to the west and south."""
    side = p[SIDE]
    cell = columns[i, CELL]
    row, column = cell // side, cell % side
    for r in range(max(row - LINK, 0), row + 1):
        for c in range(max(column - LINK, 0), min(column + LINK + 1, side)):
            other = occupied[r * side + c]
            if other > 0 and (r < row or c < column):
                unite(parents, i, other - 1)


def clear_cluster(i: int, clusters: Array) -> None:
    """Make row i a cluster of nothing."""
    for field in range(POINTS, LOW_Z):
        clusters[i, field] = 0
    clusters[i, LOW_Z] = clusters[i, FLOOR] = clusters[i, WEST] = clusters[i, SOUTH] = NONE
    clusters[i, HIGH_Z] = clusters[i, EAST] = clusters[i, NORTH] = -NONE
    clusters[i, FIRST] = NONE
    clusters[i, OPEN] = 0
    clusters[i, ANGLE] = -1
    for field in range(U_LO, V_HI + 1):
        clusters[i, field] = 0


def number_cluster(i: int, parents: Array, number: Array, clusters: Array, n: Array) -> None:
    """Give set i a cluster's row if i represents it."""
    if parents[i] == i:
        number[i] = add(n, N_CLUSTERS, 1)
        clear_cluster(number[i], clusters)


def at_border(cell: int, p: Array, bins: Array) -> bool:
    """Whether a fine cell could be linked to one of another sector."""
    if p[BIN_LO] == 0 and p[BIN_HI] == BINS:
        return False
    side, ground_side = p[SIDE], p[GROUND_SIDE]
    shift = GROUND_SHIFT - p[SHIFT]
    row, column = cell // side, cell % side
    for r in range(max(row - LINK, 0), min(row + LINK + 1, side)):
        for c in range(max(column - LINK, 0), min(column + LINK + 1, side)):
            at = bins[(r >> shift) * ground_side + (c >> shift)]
            if at < p[BIN_LO] or at >= p[BIN_HI]:
                return True
    return False


def gather_cell(
    i: int,
    p: Array,
    bins: Array,
    columns: Array,
    parents: Array,
    number: Array,
    clusters: Array,
    border: Array,
    n: Array,
) -> None:
    """Add cell i to its cluster, and list it if it touches another sector."""
    k = number[root(parents, i)]
    columns[i, LABEL] = k
    cell = columns[i, CELL]
    half = p[SIDE] >> 1
    x, y = (cell % p[SIDE] - half) << p[SHIFT], (cell // p[SIDE] - half) << p[SHIFT]
    add_to(clusters, k, POINTS, columns[i, COUNT])
    add_to(clusters, k, CELLS, 1)
    add_to(clusters, k, TOTAL_X, columns[i, SUM_X] + columns[i, COUNT] * x)
    add_to(clusters, k, TOTAL_Y, columns[i, SUM_Y] + columns[i, COUNT] * y)
    lower_in(clusters, k, LOW_Z, columns[i, MIN_Z])
    raise_in(clusters, k, HIGH_Z, columns[i, MAX_Z])
    lower_in(clusters, k, FLOOR, columns[i, GROUND])
    lower_in(clusters, k, WEST, x + columns[i, MIN_X])
    raise_in(clusters, k, EAST, x + columns[i, MAX_X])
    lower_in(clusters, k, SOUTH, y + columns[i, MIN_Y])
    raise_in(clusters, k, NORTH, y + columns[i, MAX_Y])
    lower_in(clusters, k, FIRST, cell)
    if at_border(cell, p, bins):
        raise_in(clusters, k, OPEN, 1)
        at = add(n, N_BORDER, 1)
        border[at, 0] = cell
        border[at, 1] = k


# --- boxes ----------------------------------------------------------------------------------------


def can_turn(i: int, p: Array, clusters: Array) -> bool:
    """Whether a cluster is short enough for a turned box; what it lacks in parts only adds."""
    return bool(
        clusters[i, EAST] - clusters[i, WEST] <= p[FIT_LIMIT]
        and clusters[i, NORTH] - clusters[i, SOUTH] <= p[FIT_LIMIT]
    )


def place_cluster(i: int, p: Array, clusters: Array, start: Array, filled: Array, n: Array) -> None:
    """Reserve room for the cells of cluster i, if its box is to be fitted here."""
    filled[i] = 0
    start[i] = -1
    if not clusters[i, OPEN] and clusters[i, POINTS] >= p[MIN_POINTS] and can_turn(i, p, clusters):
        start[i] = add(n, N_ORDERED, clusters[i, CELLS])


def order_cell(
    i: int,
    p: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    xs: Array,
    ys: Array,
) -> None:
    """Put cell i among its cluster's; (xs, ys) is its points' mean, from (WEST, SOUTH)."""
    k = columns[i, LABEL]
    if start[k] < 0:
        return
    at = start[k] + add(filled, k, 1)
    member[at] = i
    half = p[SIDE] >> 1
    x = (columns[i, CELL] % p[SIDE] - half) << p[SHIFT]
    y = (columns[i, CELL] // p[SIDE] - half) << p[SHIFT]
    xs[at] = x + columns[i, SUM_X] // columns[i, COUNT] - clusters[k, WEST]
    ys[at] = y + columns[i, SUM_Y] // columns[i, COUNT] - clusters[k, SOUTH]


def rate_angle(
    i: int,
    cosines: Array,
    sines: Array,
    start: Array,
    filled: Array,
    xs: Array,
    ys: Array,
    scores: Array,
) -> None:
    """Score one angle for one cluster, i = cluster * ANGLES + angle: how many cells lie on an edge.

    Each cell within EDGE of the nearest edge of the rectangle around the cluster counts by how
    near it is. A criterion of closeness in the sense of X. Zhang et al., "Efficient L-Shape
    Fitting for Vehicle Detection Using Laser Scanners", IEEE IV 2017, in whole numbers.
    """
    k, angle = i // ANGLES, i % ANGLES
    if start[k] < 0:
        return
    c, s = cosines[angle], sines[angle]
    first, last = start[k], start[k] + filled[k]
    u_lo = v_lo = 1 << 60
    u_hi = v_hi = -(1 << 60)
    for at in range(first, last):
        u, v = xs[at] * c + ys[at] * s, ys[at] * c - xs[at] * s
        u_lo, u_hi = min(u_lo, u), max(u_hi, u)
        v_lo, v_hi = min(v_lo, v), max(v_hi, v)
    score = 0
    for at in range(first, last):
        u, v = xs[at] * c + ys[at] * s, ys[at] * c - xs[at] * s
        nearest = min(u - u_lo, u_hi - u, v - v_lo, v_hi - v)
        score += max(EDGE - nearest, 0)
    scores[i] = score


def reach(c: int, s: int, x: int, y: int, x_plus_y: int) -> int:
    """How far an octagon goes in direction (c, s), 0 <= c, s.

    x, y, x_plus_y: its supports towards x, y and their diagonal. The direction is a positive
    combination of the two nearest of these, so its support is at most that of theirs.
    """
    if c >= s:
        return (c - s) * x + s * x_plus_y
    return (s - c) * y + c * x_plus_y


def fit_box(
    i: int,
    p: Array,
    cosines: Array,
    sines: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    scores: Array,
) -> None:
    """Choose the best angle of cluster i (the smallest of equals) and measure its box there."""
    if start[i] < 0:
        clusters[i, ANGLE] = 0
        clusters[i, U_HI] = (clusters[i, EAST] - clusters[i, WEST]) << TURN_SHIFT
        clusters[i, V_HI] = (clusters[i, NORTH] - clusters[i, SOUTH]) << TURN_SHIFT
        return
    best = 0
    for angle in range(1, ANGLES):
        if scores[i * ANGLES + angle] > scores[i * ANGLES + best]:
            best = angle
    c, s = cosines[best], sines[best]
    half = p[SIDE] >> 1
    u_lo = v_lo = 1 << 60
    u_hi = v_hi = -(1 << 60)
    for at in range(start[i], start[i] + filled[i]):
        row = member[at]
        cell = columns[row, CELL]
        x = ((cell % p[SIDE] - half) << p[SHIFT]) - clusters[i, WEST]
        y = ((cell // p[SIDE] - half) << p[SHIFT]) - clusters[i, SOUTH]
        u, v = x * c + y * s, y * c - x * s
        west, east = columns[row, MIN_X], columns[row, MAX_X]
        south, north = columns[row, MIN_Y], columns[row, MAX_Y]
        u_hi = max(u_hi, u + reach(c, s, east, north, columns[row, MAX_XPY]))
        u_lo = min(u_lo, u - reach(c, s, -west, -south, -columns[row, MIN_XPY]))
        v_hi = max(v_hi, v + reach(c, s, north, -west, -columns[row, MIN_XMY]))
        v_lo = min(v_lo, v - reach(c, s, -south, east, columns[row, MAX_XMY]))
    clusters[i, ANGLE] = best
    clusters[i, U_LO], clusters[i, U_HI] = u_lo, u_hi
    clusters[i, V_LO], clusters[i, V_HI] = v_lo, v_hi


# --- loops: one item after another ----------------------------------------------------------------


def each_lowest(points: Array, p: Array, lowest: Array) -> None:
    """`note_lowest` of every point."""
    for i in range(points.shape[0]):
        note_lowest(i, points, p, lowest)


def each_ground(p: Array, bins: Array, lowest: Array, ground: Array, n: Array) -> None:
    """`settle_ground` of every ground cell."""
    for i in range(lowest.shape[0]):
        settle_ground(i, p, bins, lowest, ground, n)


def each_sorted(
    points: Array, p: Array, ground: Array, occupied: Array, cell_of: Array, n: Array
) -> None:
    """`sort_point` of every point."""
    for i in range(points.shape[0]):
        sort_point(i, points, p, ground, occupied, cell_of, n)


def each_listed(p: Array, occupied: Array, columns: Array, parents: Array, n: Array) -> None:
    """`list_cell` of every fine cell."""
    for i in range(occupied.shape[0]):
        list_cell(i, p, occupied, columns, parents, n)


def each_measured(
    points: Array, p: Array, ground: Array, occupied: Array, cell_of: Array, columns: Array
) -> None:
    """`measure_point` of every point."""
    for i in range(points.shape[0]):
        measure_point(i, points, p, ground, occupied, cell_of, columns)


def each_united(p: Array, occupied: Array, columns: Array, parents: Array, n: Array) -> None:
    """`unite_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        unite_cell(i, p, occupied, columns, parents)


def each_numbered(parents: Array, number: Array, clusters: Array, n: Array) -> None:
    """`number_cluster` of every listed cell."""
    for i in range(n[N_CELLS]):
        number_cluster(i, parents, number, clusters, n)


def each_gathered(
    p: Array,
    bins: Array,
    columns: Array,
    parents: Array,
    number: Array,
    clusters: Array,
    border: Array,
    n: Array,
) -> None:
    """`gather_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        gather_cell(i, p, bins, columns, parents, number, clusters, border, n)


def each_cleared(occupied: Array, columns: Array, n: Array) -> None:
    """`clear_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        clear_cell(i, occupied, columns)


def each_placed(p: Array, clusters: Array, start: Array, filled: Array, n: Array) -> None:
    """`place_cluster` of every cluster."""
    for i in range(n[N_CLUSTERS]):
        place_cluster(i, p, clusters, start, filled, n)


def each_ordered(
    p: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    xs: Array,
    ys: Array,
    n: Array,
) -> None:
    """`order_cell` of every listed cell."""
    for i in range(n[N_CELLS]):
        order_cell(i, p, columns, clusters, start, filled, member, xs, ys)


def each_rated(
    cosines: Array,
    sines: Array,
    start: Array,
    filled: Array,
    xs: Array,
    ys: Array,
    scores: Array,
    n: Array,
) -> None:
    """`rate_angle` of every angle of every cluster."""
    for i in range(n[N_CLUSTERS] * ANGLES):
        rate_angle(i, cosines, sines, start, filled, xs, ys, scores)


def each_fitted(
    p: Array,
    cosines: Array,
    sines: Array,
    columns: Array,
    clusters: Array,
    start: Array,
    filled: Array,
    member: Array,
    scores: Array,
    n: Array,
) -> None:
    """`fit_box` of every cluster."""
    for i in range(n[N_CLUSTERS]):
        fit_box(i, p, cosines, sines, columns, clusters, start, filled, member, scores)


# --- the gateway's part: cutting a sweep and joining what comes back ------------------------------


def count_unusable(points: Array) -> int:
    """How many points are no measurement."""
    count = 0
    for i in range(points.shape[0]):
        if not usable(points, i):
            count += 1
    return count


def survey(
    points: Array, p: Array, bins: Array, lowest: Array, bin_of: Array, histogram: Array
) -> None:
    """The azimuth bin of each point (NOWHERE outside), how many each bin has, lowest heights."""
    for i in range(points.shape[0]):
        bin_of[i] = NOWHERE
        if usable(points, i):
            x, y, z = units(points[i, 0]), units(points[i, 1]), units(points[i, 2])
            cell = ground_cell(x, y, p)
            if cell >= 0:
                at = bins[cell]
                bin_of[i] = at
                histogram[at] += 1
                if z >= -p[HEIGHT] - slack(x, y) and z < lowest[cell]:
                    lowest[cell] = z


def scatter(points: Array, bin_of: Array, sector_of: Array, next_row: Array, cut: Array) -> None:
    """Copy each point to its sector's part of `cut`; next_row: where each part begins."""
    for i in range(points.shape[0]):
        if bin_of[i] != NOWHERE:
            sector = sector_of[bin_of[i]]
            row = next_row[sector]
            next_row[sector] = row + 1
            cut[row, 0] = points[i, 0]
            cut[row, 1] = points[i, 1]
            cut[row, 2] = points[i, 2]
            cut[row, 3] = points[i, 3]


def share_borders(
    p: Array, bins: Array, sector_of: Array, lowest: Array, halo: Array, filled: Array
) -> None:
    """List, for each sector, (cell, lowest height) of the ground cells just outside of it."""
    side = p[GROUND_SIDE]
    for i in range(lowest.shape[0]):
        if lowest[i] == NONE:
            continue
        own = sector_of[bins[i]]
        row, column = i // side, i % side
        told = 1 << own
        for r in range(max(row - 1, 0), min(row + 2, side)):
            for c in range(max(column - 1, 0), min(column + 2, side)):
                other = sector_of[bins[r * side + c]]
                if not (told >> other) & 1:
                    told |= 1 << other
                    halo[other, filled[other], 0] = i
                    halo[other, filled[other], 1] = lowest[i]
                    filled[other] += 1


def join_borders(p: Array, border: Array, occupied: Array, parents: Array) -> None:
    """Unite clusters whose border cells (cell, cluster) link; `occupied` comes and goes empty."""
    side = p[SIDE]
    for i in range(border.shape[0]):
        occupied[border[i, 0]] = border[i, 1] + 1
    for i in range(border.shape[0]):
        cell = border[i, 0]
        row, column = cell // side, cell % side
        for r in range(max(row - LINK, 0), min(row + LINK + 1, side)):
            for c in range(max(column - LINK, 0), min(column + LINK + 1, side)):
                if occupied[r * side + c] > 0:
                    unite(parents, border[i, 1], occupied[r * side + c] - 1)
    for i in range(border.shape[0]):
        occupied[border[i, 0]] = 0


def join_clusters(parts: Array, parents: Array, number: Array, clusters: Array, n: Array) -> None:
    """Sum up the parts of each united cluster; number[i] becomes the row part i went to."""
    for i in range(parts.shape[0]):
        number_cluster(i, parents, number, clusters, n)
    for i in range(parts.shape[0]):
        k = number[root(parents, i)]
        number[i] = k
        for field in range(POINTS, LOW_Z):
            clusters[k, field] += parts[i, field]
        lower_in(clusters, k, LOW_Z, parts[i, LOW_Z])
        raise_in(clusters, k, HIGH_Z, parts[i, HIGH_Z])
        lower_in(clusters, k, FLOOR, parts[i, FLOOR])
        lower_in(clusters, k, WEST, parts[i, WEST])
        raise_in(clusters, k, EAST, parts[i, EAST])
        lower_in(clusters, k, SOUTH, parts[i, SOUTH])
        raise_in(clusters, k, NORTH, parts[i, NORTH])
        lower_in(clusters, k, FIRST, parts[i, FIRST])


# What is called from outside; all else is called from these.
LOOPS = frozenset(
    name
    for name in globals()
    if name.startswith("each_")
    or name
    in (
        "count_unusable",
        "survey",
        "scatter",
        "share_borders",
        "join_borders",
        "join_clusters",
    )
)
