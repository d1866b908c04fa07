"""Clusters beside the NumPy reference, on real and random sweeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.bodies.plane import ABOVE, GROUND_POINT
from infer.kernels.references.components import cluster
from infer.perception.area import Area
from infer.perception.clusters import Clusterer
from infer.perception.ground import GroundFinder, PlaneSearch
from mesh.core.errors import Misuse

STREET, YARD = Area(24, 0.25), Area(4, 0.5)


@pytest.mark.parametrize("threads", [1, 2])
def test_clusters_of_real_sweeps_are_the_references(clip, threads):
    clusterer = Clusterer(STREET, 120_000, threads)
    finder = GroundFinder(PlaneSearch(), 120_000)
    for points in (clip[0][::3], clip[7][:20_000]):
        labels = finder.find(points).labels
        clusters = clusterer.cluster(points, labels)
        known = cluster(points, labels, STREET.parameters(), 2)
        np.testing.assert_array_equal(clusters.of_point, known)
        assert clusters.count == known.max() + 1 > 20


@given(
    seed=st.integers(0, 2**32 - 1),
    points=st.integers(0, 300),
    spread=st.floats(0.1, 6),
    link=st.integers(1, 3),
)
@settings(max_examples=40)
def test_clusters_of_any_cloud_are_the_references(seed, points, spread, link):
    rng = np.random.default_rng(seed)
    cloud = rng.normal(0, spread, (points, 4)).astype(np.float32)
    cloud[rng.uniform(size=cloud.shape) < 0.01] = np.nan
    labels = rng.choice(np.array((ABOVE, GROUND_POINT), np.uint8), points)
    clusters = Clusterer(YARD, 300, 2, link=link).cluster(cloud, labels)
    known = cluster(cloud, labels, YARD.parameters(), link)
    np.testing.assert_array_equal(clusters.of_point, known)
    assert clusters.count == known.max(initial=-1) + 1


@pytest.mark.parametrize("sizes", [(8, 0), (8, 0.3), (8, float("nan")), (1e9, 1), (0, 1)])
def test_an_area_of_no_whole_number_of_cells_is_refused(sizes):
    with pytest.raises(Misuse, match="cells across"):
        Area(*sizes)
