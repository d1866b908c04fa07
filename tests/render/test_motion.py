"""Posing: each interpolation against its definition, trees and skins against matrix products."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from render.motion import (
    Animation,
    Interpolation,
    Motion,
    Property,
    Track,
    placed,
    product,
    sample,
    slerp,
    stance,
)

Array = NDArray[np.float64]
TIMES = np.array([0.5, 1.0, 3.0])
number = st.floats(-100, 100, width=32)
vectors = st.lists(number, min_size=3, max_size=3).map(np.array)
unit_interval = st.floats(0, 1)


def rotations() -> st.SearchStrategy[Array]:
    part = st.floats(-1, 1, width=32)
    raw = st.lists(part, min_size=4, max_size=4).map(np.array)
    return raw.filter(lambda q: np.linalg.norm(q) > 0.1).map(lambda q: q / np.linalg.norm(q))


def track(
    change: Property, interpolation: Interpolation, values: object, times: Array = TIMES
) -> Track:
    return Track(change, interpolation, np.array([0]), times, np.array(values, np.float64))


def moved(values: object, interpolation: Interpolation = Interpolation.LINEAR) -> Track:
    return track(Property.TRANSLATION, interpolation, values)


LINE = [[[0, 0, 0]], [[2, 4, 8]], [[2, 0, 8]]]


@pytest.mark.parametrize(
    ("time", "expected"),
    [(0.0, (0, 0, 0)), (0.5, (0, 0, 0)), (0.75, (1, 2, 4)), (2.0, (2, 2, 8)), (9.0, (2, 0, 8))],
)
def test_linear_lies_between_its_keyframes_and_holds_the_ends(time: float, expected: tuple):
    np.testing.assert_allclose(sample(moved(LINE), time), [expected])


@pytest.mark.parametrize(
    ("time", "expected"),
    [(0.0, (0, 0, 0)), (0.99, (0, 0, 0)), (1.0, (2, 4, 8)), (2.99, (2, 4, 8)), (3.0, (2, 0, 8))],
)
def test_a_step_holds_until_the_next_keyframe(time: float, expected: tuple):
    np.testing.assert_array_equal(sample(moved(LINE, Interpolation.STEP), time), [expected])


@given(
    st.lists(number, min_size=4, max_size=4),
    st.floats(0.1, 10),
    st.floats(0, 0.999),
)
def test_a_cubic_spline_reproduces_every_cubic(powers: list[float], span: float, share: float):
    """Tangents are slopes in units per second (appendix C.5)."""
    polynomial = np.polynomial.Polynomial(powers)
    slope = polynomial.deriv()
    keys = [[slope(t), polynomial(t), slope(t)] for t in (0.0, span)]
    values = np.array(keys)[:, :, None, None] * np.ones(3)
    made = track(Property.SCALE, Interpolation.CUBICSPLINE, values, np.array([0.0, span]))
    at = share * span
    scale = np.abs(values).max() * (1 + span)
    np.testing.assert_allclose(sample(made, at)[0, 0], polynomial(at), atol=1e-9 * scale + 1e-9)


def test_outside_a_cubic_spline_its_end_values_hold_not_its_tangents():
    values = [[[[9.0] * 3], [[1.0] * 3], [[9.0] * 3]], [[[9.0] * 3], [[2.0] * 3], [[9.0] * 3]]]
    made = track(Property.SCALE, Interpolation.CUBICSPLINE, values, np.array([1.0, 2.0]))
    assert sample(made, 0.0)[0, 0] == 1.0
    assert sample(made, 2.0)[0, 0] == 2.0


def test_a_splined_rotation_has_unit_length():
    keys = np.zeros((2, 3, 1, 4))
    keys[0, 1, 0], keys[1, 1, 0] = (0, 0, 0, 1), (0, 1, 0, 0)
    keys[:, 2] = 0.7
    made = track(Property.ROTATION, Interpolation.CUBICSPLINE, keys, np.array([0.0, 1.0]))
    assert np.linalg.norm(sample(made, 0.3)) == pytest.approx(1.0)


@given(rotations(), rotations(), unit_interval)
def test_slerp_is_the_formula_by_the_shorter_way(start: Array, end: Array, t: float):
    made = slerp(start[None], end[None], t)[0]
    cosine = float(start @ end)
    angle = math.acos(min(abs(cosine), 1.0))
    if angle < 1e-6:
        expected = start
    else:
        way = end if cosine >= 0 else -end
        expected = start * math.sin((1 - t) * angle) + way * math.sin(t * angle)
        expected = expected / math.sin(angle)
    if abs(cosine) > 1e-6:  # at a half turn both ways are as short
        np.testing.assert_allclose(made, expected, atol=1e-6)
    assert np.linalg.norm(made) == pytest.approx(1.0, abs=1e-9)


@given(vectors, rotations(), vectors)
def test_a_placed_node_scales_then_rotates_then_translates(move: Array, turn: Array, size: Array):
    [made] = placed(move[None], turn[None], size[None])
    axis, w = turn[:3], turn[3]
    point = np.array([0.3, -0.7, 0.2])
    scaled = point * size
    twice = 2 * np.cross(axis, scaled)
    turned = scaled + w * twice + np.cross(axis, twice)
    np.testing.assert_allclose(made @ (*point, 1.0), turned + move, atol=1e-4)


def motion(**changed: object) -> Motion:
    """A chain of three nodes, each a metre up and turned a quarter about z; the last two joints."""
    half = 0.5**0.5
    values: dict[str, object] = {
        "parents": np.array([-1, 0, 1]),
        "base": np.tile(np.eye(4)[:3], (3, 1, 1)),
        "translation": np.tile([0.0, 1.0, 0.0], (3, 1)),
        "rotation": np.tile([0.0, 0.0, half, half], (3, 1)),
        "scale": np.ones((3, 3)),
        "fixed": np.array([], np.int64),
        "matrices": np.zeros((0, 3, 4)),
        "levels": (np.array([0]), np.array([1]), np.array([2])),
        "joints": np.array([1, 2]),
        "inverse_bind": np.tile(np.eye(4)[:3], (2, 1, 1)),
        "weights": np.array([0.25, 0.5]),
        "animations": (),
    }
    return Motion(**(values | changed))


def square(affine: Array) -> Array:
    return np.concatenate([affine, [[0, 0, 0, 1]]])


def test_a_tree_is_the_product_of_its_matrices_at_rest():
    base = np.tile(np.eye(4)[:3], (3, 1, 1))
    base[0, :, 3] = (5.0, 0.0, 0.0)
    made = motion(base=base)
    now = stance(made, -1, 0.0)
    local = square(placed(made.translation, made.rotation, made.scale)[0])
    world = square(base[0]) @ local
    for number in range(3):
        np.testing.assert_allclose(now.world_from_node[number], world[:3], atol=1e-12)
        world = world @ local
    np.testing.assert_array_equal(now.palette, now.world_from_node[1:])
    np.testing.assert_array_equal(now.weights, (0.25, 0.5))


def test_a_palette_undoes_the_bind_pose():
    still = stance(motion(), -1, 0.0)
    inverse = np.stack([np.linalg.inv(square(m))[:3] for m in still.world_from_node[1:]])
    now = stance(motion(inverse_bind=inverse), -1, 0.0)
    np.testing.assert_allclose(now.palette, np.tile(np.eye(4)[:3], (2, 1, 1)), atol=1e-12)


def test_tracks_change_their_targets_and_leave_the_motion_as_it_was():
    tracks = (
        Track(
            Property.TRANSLATION, Interpolation.STEP, np.array([2, 0]), np.array([0.0]),
            np.array([[[7.0, 8, 9], [1, 2, 3]]]),
        ),
        Track(
            Property.WEIGHTS, Interpolation.LINEAR, np.array([1]), np.array([0.0, 1.0]),
            np.array([[[0.0]], [[1.0]]]),
        ),
    )  # fmt: skip
    made = motion(animations=(Animation("both", 1.0, tracks),), rotation=np.eye(4)[[3, 3, 3]])
    now = stance(made, 0, 0.75)
    np.testing.assert_array_equal(now.world_from_node[:, :, 3], [(1, 2, 3), (1, 3, 3), (8, 11, 12)])
    np.testing.assert_array_equal(now.weights, (0.25, 0.75))
    np.testing.assert_array_equal(stance(made, -1, 0.75).weights, (0.25, 0.5))
    np.testing.assert_array_equal(made.translation, np.tile([0.0, 1.0, 0.0], (3, 1)))


def test_a_node_given_as_a_matrix_stays_as_given():
    matrix = np.arange(12.0).reshape(1, 3, 4)
    now = stance(motion(fixed=np.array([0]), matrices=matrix), -1, 0.0)
    np.testing.assert_array_equal(now.world_from_node[0], matrix[0])


def test_what_keyframes_throw_beyond_all_bounds_stays_finite():
    made = motion(scale=np.full((3, 3), 1e300), translation=np.full((3, 3), -1e300))
    now = stance(made, -1, 0.0)
    assert np.isfinite(now.world_from_node).all()
    assert np.isfinite(now.palette).all()


@given(st.integers(0, 2**32 - 1))
def test_products_are_those_of_matrices(seed: int):
    first, second = np.random.default_rng(seed).normal(size=(2, 5, 3, 4))
    for one, other, made in zip(first, second, product(first, second), strict=True):
        np.testing.assert_allclose(made, (square(one) @ square(other))[:3], atol=1e-12)
