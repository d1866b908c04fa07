"""Range images beside the NumPy float64 reference, on real and random sweeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infer.kernels.bodies.angles import angle_of
from infer.kernels.references import range_image as reference
from infer.perception.range_image import RangeImager, View
from mesh.core.errors import Misuse

EDGE = 1e-3  # pixels: nearer to an edge, float32 may decide otherwise


def compare(imager, view, points):
    """Each pixel shows the reference's point, but where a point is at a pixel's very edge."""
    image = imager.picture(points)
    known = reference.picture(points, view.parameters())
    index = image.index.ravel()
    row, column, away = reference.places(points, view.parameters())
    differ = np.flatnonzero(index != known)
    places = np.stack((row, column, away * 1024))
    at_edge = (np.abs(places - np.round(places)) < ((EDGE,), (EDGE,), (0.1,))).any(axis=0)
    at_edge = np.append(at_edge, False)  # of no point, -1
    assert (at_edge[index[differ]] | at_edge[known[differ]]).all()
    assert len(differ) <= max(2, len(points) // 500)
    seen = index >= 0
    channels = image.channels.reshape(5, -1)
    np.testing.assert_array_equal(channels[1:, seen].T, points[index[seen]])
    np.testing.assert_allclose(channels[0, seen], away[index[seen]], rtol=1e-6)
    assert not channels[:, ~seen].any()
    return image


@pytest.mark.parametrize("threads", [1, 2])
def test_a_real_sweep_is_the_references(clip, threads):
    view = View()
    imager = RangeImager(view, threads)
    assert (compare(imager, view, clip[0]).index >= 0).mean() > 0.6
    compare(imager, view, clip[4][:20_000])  # nothing of the sweep before is left


@given(seed=st.integers(0, 2**32 - 1), points=st.integers(0, 300))
def test_any_cloud_is_the_references(seed, points):
    rng = np.random.default_rng(seed)
    cloud = rng.normal(0, 20, (points, 4)).astype(np.float32)
    cloud[rng.uniform(size=cloud.shape) < 0.02] = np.nan
    cloud[:, 3] = 0.5
    view = View(16, 64, 45, -45)
    compare(RangeImager(view, 2), view, cloud)


def test_what_is_ahead_is_in_the_middle_and_what_is_left_of_it_on_the_left():
    points = np.array([[10, 0.05, 0, 1], [0, 10, 0, 1], [-10, -0.05, 0, 1]], np.float32)
    image = RangeImager(View(2, 64, 10, -10)).picture(points)
    assert image.index[1, 31] == 0
    assert image.index[1, 16] == 1
    assert image.index[1, 63] == 2


@given(x=st.floats(-1e3, 1e3, width=32), y=st.floats(-1e3, 1e3, width=32))
def test_angles_are_those_of_the_library(x, y):
    assert angle_of(np.float32(y), np.float32(x)) == pytest.approx(
        math.atan2(y, x) if x or y else 0.0, abs=1e-6
    ) or (y == 0 and x < 0)


def test_a_view_of_nothing_is_refused():
    with pytest.raises(Misuse, match="up above down"):
        View(up_deg=-30)
    with pytest.raises(Misuse, match="0 rows"):
        View(rows=0)
