"""Overlaps of turned boxes beside the float64 reference and known areas, and what stays of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.kernels.references import rotated_iou as reference
from infer.perception.nms import iou, suppress
from mesh.core.errors import ContentRefused, Misuse


def boxes(*rows):
    return np.array(rows, np.float32)


def street(rng, n):
    """Boxes of cars' and walkers' sizes, close enough to overlap."""
    sizes = rng.uniform((0.4, 0.4), (5, 2.2), (n, 2))
    yaws = rng.uniform(-4, 4, n)
    return np.column_stack((rng.uniform(-6, 6, (n, 2)), sizes, yaws)).astype(np.float32)


@pytest.mark.parametrize(
    ("one", "other", "known"),
    [
        ((0, 0, 4, 2, 0), (0, 0, 4, 2, 0), 1),
        ((0, 0, 4, 2, 0.7), (0, 0, 4, 2, 0.7), 1),
        ((0, 0, 4, 2, 0.7), (0, 0, 4, 2, 0.7 + np.pi), 1),
        ((0, 0, 4, 2, 0), (2, 0, 4, 2, 0), 1 / 3),
        ((0, 0, 4, 4, 0), (0, 0, 2, 2, 1), 1 / 4),
        ((0, 0, 2, 2, 0), (0, 0, 2, 2, np.pi / 4), 1 / np.sqrt(2)),
        ((0, 0, 4, 2, 0), (4, 0, 4, 2, 0), 0),
        ((100, -50, 4, 2, 0.3), (130, -50, 4, 2, 0), 0),
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), 0),
    ],
)
def test_known_boxes_overlap_as_they_do(one, other, known):
    assert iou(boxes(one), boxes(other))[0, 0] == pytest.approx(known, abs=1e-5)
    assert reference.iou(one, other) == pytest.approx(known, abs=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_any_boxes_overlap_as_the_reference_says(threads, seed):
    rng = np.random.default_rng(seed)
    one, other = street(rng, 5), street(rng, 7)
    known = [[reference.iou(a, b) for b in other] for a in one]
    np.testing.assert_allclose(iou(one, other, threads=threads), known, atol=2e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    along=st.floats(-3, 3),
    yaw=st.floats(-4, 4),
)
def test_sides_on_one_line_lose_no_area(seed, along, yaw):
    """A box shifted along its own length: its sides lie in the other's, but for rounding."""
    x, y = np.random.default_rng(seed).uniform(-50, 50, 2)
    one = boxes((x, y, 4, 2, yaw))
    other = boxes((x + along * np.cos(yaw), y + along * np.sin(yaw), 4, 2, yaw))
    shared = 2 * (4 - abs(along))
    assert iou(one, other)[0, 0] == pytest.approx(shared / (16 - shared), abs=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 25), most=st.floats(0, 0.9))
@settings(max_examples=10)
def test_what_stays_is_what_the_reference_keeps(threads, seed, n, most):
    rng = np.random.default_rng(seed)
    cloud, scores = street(rng, n), rng.integers(0, 10, n).astype(np.float32)
    kept = suppress(cloud, scores, most, threads=threads).tolist()
    if kept != reference.suppress(cloud, scores, most):
        overlaps = iou(cloud, cloud)
        assert np.abs(overlaps - most).min() < 1e-4, "no overlap is at the limit"
    assert (np.diff(scores[kept]) <= 0).all()


def test_boxes_that_are_none_are_refused():
    with pytest.raises(Misuse, match="no boxes"):
        iou(np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32))
    with pytest.raises(Misuse, match="float64"):
        suppress(np.zeros((1, 5)), np.zeros(1), 0.5)
    with pytest.raises(ContentRefused, match="finite"):
        suppress(boxes((0, 0, -1, 1, 0)), np.zeros(1), 0.5)
    with pytest.raises(ContentRefused, match="finite"):
        suppress(boxes((0, np.nan, 1, 1, 0)), np.zeros(1), 0.5)
