"""Each kernel beside the NumPy float64 reference, on real and random sweeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.grid import BINS, GROUND_SHIFT, UNITS_PER_M, azimuth_bins, bin_degrees
from infer.kernels import reference
from infer.kernels.cpu import CpuPipeline, kernels
from infer.kernels.turns import COSINES, SINES
from infer.layout import (
    ANGLE,
    CELL,
    CELLS,
    COUNT,
    FIRST,
    LABEL,
    MAX_X,
    MAX_Z,
    MIN_X,
    MIN_Z,
    NONE,
    POINTS,
    SUM_X,
    SUM_Y,
    TURN_SHIFT,
    U_HI,
    U_LO,
    V_HI,
    V_LO,
)
from infer.pieces import decode_session
from infer.sweep import MAX_POINTS

NO_HALO = np.empty((0, 2), np.int32)
NO_HALO.flags.writeable = False


@pytest.fixture(scope="module")
def grid(bench):
    return decode_session(bench.session.setup.spec).grid()


@pytest.fixture(scope="module")
def pipeline(grid):
    return CpuPipeline(grid, MAX_POINTS)


def frozen(points):
    points = np.ascontiguousarray(points)
    points.flags.writeable = False
    return points


def compare(pipeline, grid, points):
    """Run the pipeline, and hold every table against the reference."""
    seen = reference.see(points, grid)
    tables = pipeline.run(frozen(points), NO_HALO, 0, BINS)
    columns, clusters = tables.columns, tables.clusters
    # Cells and what they count.
    cells, counts = np.unique(seen.cell_of[seen.obstacle], return_counts=True)
    order = np.argsort(columns[:, CELL])
    np.testing.assert_array_equal(columns[order, CELL], cells)
    np.testing.assert_array_equal(columns[order, COUNT], counts)
    units = np.floor(points[seen.obstacle, :3].astype(np.float64) * UNITS_PER_M)
    row_of = np.searchsorted(cells, seen.cell_of[seen.obstacle])
    low, high = np.full(len(cells), np.inf), np.full(len(cells), -np.inf)
    np.minimum.at(low, row_of, units[:, 2])
    np.maximum.at(high, row_of, units[:, 2])
    np.testing.assert_array_equal(columns[order, MIN_Z], low)
    np.testing.assert_array_equal(columns[order, MAX_Z], high)
    inside = units[:, 0] - np.floor(units[:, 0] / (1 << grid.shift)) * (1 << grid.shift)
    np.testing.assert_array_equal(columns[order, SUM_X], np.bincount(row_of, inside, len(cells)))
    # Clusters: the same cells together, named by the first.
    firsts = clusters[columns[:, LABEL], FIRST]
    names = dict(zip(seen.cell_of[seen.obstacle], seen.labels[seen.obstacle], strict=True))
    np.testing.assert_array_equal(firsts, [names[cell] for cell in columns[:, CELL]])
    known = np.unique(seen.labels[seen.obstacle], return_counts=True)
    by_first = np.argsort(clusters[:, FIRST])
    np.testing.assert_array_equal(clusters[by_first, FIRST], known[0])
    np.testing.assert_array_equal(clusters[by_first, POINTS], known[1])
    return seen, tables


@pytest.mark.parametrize("sweep", [0, 4, 7])
def test_cells_and_clusters_of_a_real_sweep_are_the_references(pipeline, grid, clip, sweep):
    compare(pipeline, grid, clip[sweep])


@given(seed=st.integers(0, 2**32 - 1), points=st.integers(0, 2000), spread=st.floats(1, 90))
@settings(max_examples=30)
def test_cells_and_clusters_of_any_cloud_are_the_references(pipeline, grid, seed, points, spread):
    rng = np.random.default_rng(seed)
    cloud = rng.normal(0, spread, (points, 4)).astype(np.float32)
    cloud[:, 2] = rng.uniform(-4, 4, points)
    compare(pipeline, grid, cloud)


@pytest.mark.parametrize("stops_at", [0, 1, 2])
def test_a_run_that_is_abandoned_leaves_nothing_behind(grid, clip, stops_at):
    class Unwanted(Exception):
        """What `check` raises."""

    checks = iter(range(100))
    wanted = []

    def check():
        if next(checks) == stops_at and not wanted:
            raise Unwanted

    pipeline = CpuPipeline(grid, MAX_POINTS, check)
    with pytest.raises(Unwanted):
        pipeline.run(frozen(clip[4]), NO_HALO, 0, BINS)
    wanted.append(True)
    compare(pipeline, grid, clip[0])


def test_ground_is_the_references(pipeline, grid, clip):
    seen = reference.see(clip[0], grid)
    p = grid.parameters()
    lowest, ground = (np.full(grid.ground_cells, NONE, np.int32) for _ in range(2))
    counters = np.zeros(10, np.int32)
    kernels.each_lowest(frozen(clip[0]), p, lowest)
    kernels.each_ground(p, azimuth_bins(grid.ground_side), lowest, ground, counters)
    known = np.where(np.isnan(seen.ground), NONE, seen.ground * UNITS_PER_M).ravel()
    np.testing.assert_array_equal(ground, known)
    assert (known != NONE).sum() > 1000


def test_boxes_of_a_real_sweep_fit_as_the_reference_would_fit_them(pipeline, grid, clip):
    """Angle: its score is within 1 % of the best. Extents: those of the points, within 2.5 cm."""
    seen, tables = compare(pipeline, grid, clip[0])
    columns, clusters = tables.columns, tables.clusters
    half = grid.side // 2
    corners = np.stack((columns[:, CELL] % grid.side, columns[:, CELL] // grid.side), axis=1) - half
    means = columns[:, [SUM_X, SUM_Y]] // columns[:, [COUNT]]
    places = ((corners << grid.shift) + means) / UNITS_PER_M
    checked = 0
    for index, cluster in enumerate(clusters):
        if cluster[CELLS] < 4 or cluster[POINTS] < grid.min_points or not cluster[ANGLE]:
            continue
        scores = reference.edge_scores(places[columns[:, LABEL] == index])
        assert scores[cluster[ANGLE]] >= 0.99 * scores.max()
        points = clip[0][seen.labels == cluster[FIRST], :2].astype(np.float64)
        length, width = reference.extents(points, np.radians(cluster[ANGLE]))
        one = UNITS_PER_M << TURN_SHIFT
        assert -0.002 <= (cluster[U_HI] - cluster[U_LO]) / one - length < 0.05
        assert -0.002 <= (cluster[V_HI] - cluster[V_LO]) / one - width < 0.05
        checked += 1
    assert checked > 30


def test_whole_number_turns_are_turns():
    radians = np.radians(np.arange(90))
    scale = 1 << TURN_SHIFT
    np.testing.assert_allclose(COSINES / scale, np.cos(radians), atol=0.5 / scale)
    np.testing.assert_allclose(SINES / scale, np.sin(radians), atol=0.5 / scale)


@pytest.mark.parametrize("side", [32, 64, 128, 256])
def test_azimuth_bins_grow_with_the_azimuth(side):
    bins = azimuth_bins(side).reshape(side, side).astype(int)
    centre = 2 * np.arange(side) + 1 - side
    azimuth = np.arctan2(*np.meshgrid(centre, centre)[::-1])
    order = np.argsort(azimuth, axis=None)
    assert (np.diff(bins.ravel()[order]) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < BINS
    assert len(np.unique(bins)) > min(side, BINS // 4)


def test_bin_edges_in_degrees_go_once_around():
    edges = [bin_degrees(edge) for edge in range(BINS + 1)]
    assert edges[0] == -180
    assert edges[-1] == 180
    assert edges[BINS // 4] == -90
    assert edges[BINS // 2] == 0
    assert (np.diff(edges) >= 0).all()


def test_extremes_of_a_cell_are_its_points(pipeline, grid):
    points = np.zeros((50, 4), np.float32)
    points[:, 0], points[:, 1] = np.linspace(8.01, 8.24, 50), 4.1
    points[::2, 2] = -1.7
    [row] = pipeline.run(frozen(points), NO_HALO, 0, BINS).columns
    assert row[MIN_X] == int(points[1, 0] * UNITS_PER_M) - 8 * UNITS_PER_M
    assert row[MAX_X] == int(points[49, 0] * UNITS_PER_M) - 8 * UNITS_PER_M


def test_a_ground_cell_holds_whole_fine_cells(grid):
    assert (1 << GROUND_SHIFT) % (1 << grid.shift) == 0
