"""The uplink benchmark measures what it says: the bound is kept, and errors are found."""

from __future__ import annotations

import numpy as np
import pytest

from bench.uplink import CODECS, Cloud, measure, worst_m
from infer.synthetic import scan, street
from infer.uplink.packing import BOUND_M


@pytest.mark.parametrize("name", CODECS)
def test_each_codec_gets_the_same_points_and_keeps_the_bound(name):
    points = scan(street(3))[::40]
    rings = (np.arange(len(points)) % 8).astype(np.uint8)
    found = measure(CODECS[name], [Cloud(points), Cloud(points, rings)], rounds=1)
    assert 0 < found.worst_mm <= BOUND_M * 1e3
    assert max(found.steps_mm) <= 2e3 * BOUND_M / np.sqrt(3)
    assert 0 < min(found.ratios) <= max(found.ratios) < 0.5
    decoded = CODECS[name].decode(CODECS[name].encode(Cloud(points)))
    shades = (np.rint(p[:, 3] * 255).astype(int) for p in (points, decoded))
    np.testing.assert_array_equal(*(np.bincount(s, minlength=256) for s in shades))


def test_the_worst_point_is_found_whichever_way_it_went():
    one = np.zeros((3, 4), np.float32)
    one[:, 0] = 0, 1, 2
    other = one.copy()
    other[2, 0] = 1.05  # near to another's place, and far from its own
    assert worst_m(one, other) == pytest.approx(0.95)
    assert worst_m(other, one) == pytest.approx(0.95)
