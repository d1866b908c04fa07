"""Rows of the tables that kernels fill, that pieces return and that the gateway merges."""

from __future__ import annotations

# One obstacle cell, int32. Sums and supports count from the cell's south-west corner.
# A support is the farthest that any point of the cell lies in a direction; eight directions
# bound the points by an octagon, from which the extent in any direction follows closely.
(
    CELL,  # row * side + column
    LABEL,  # index of its cluster
    COUNT,
    SUM_X,
    SUM_Y,
    MIN_Z,
    MAX_Z,
    GROUND,  # height of the ground there
    MIN_X,
    MAX_X,
    MIN_Y,
    MAX_Y,
    MIN_XPY,  # of x + y
    MAX_XPY,
    MIN_XMY,  # of x - y
    MAX_XMY,
) = range(16)
COLUMN_FIELDS = 16

# One cluster, int64; positions in units from the sensor.
(
    POINTS,
    CELLS,
    TOTAL_X,
    TOTAL_Y,
    LOW_Z,
    HIGH_Z,
    FLOOR,  # lowest ground under it
    WEST,
    EAST,
    SOUTH,
    NORTH,
    FIRST,  # its first cell: names the cluster, whoever numbered it
    OPEN,  # 1 if it touches another sector
    ANGLE,  # of the fitted box's u axis from x, whole degrees 0..89; -1 before the fit
    U_LO,  # extent along u and v, from (WEST, SOUTH), in units << TURN_SHIFT
    U_HI,
    V_LO,
    V_HI,
) = range(18)
CLUSTER_FIELDS = 18

# Counters that kernels raise.
(
    N_CELLS,
    N_CLUSTERS,
    N_BORDER,
    N_ORDERED,
    GROUND_POINTS,
    OBSTACLE_POINTS,
    OVERHEAD_POINTS,
    STRAY_POINTS,  # below any ground that could be, or in a foreign cell
    OUTSIDE_POINTS,
    GROUND_CELLS,
) = range(10)
COUNTERS = 10

# Runs of a packed sweep (infer.kernels.uplink), and what is known of each: x, y, z, distance from
# the axis, and x and y over it; float64.
CHAINS = 4
CHAIN_STATE = 6

ANGLES = 90
TURN_SHIFT = 14  # cosines are whole numbers, 1.0 being 1 << 14
NONE = 1 << 30  # "no point here", higher than any height
