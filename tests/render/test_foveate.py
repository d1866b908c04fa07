"""Squeezed edges: knots, the map and its inverse, the projections of the parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from render.foveate import Axis, Fovea
from render.tiles import GRID

sides = st.integers(32, 2048).map(lambda half: 2 * half)
axes = st.builds(
    Axis.squeeze,
    sides,
    centre=st.floats(0.01, 1),
    ratio=st.floats(1, 16),
    middle=st.floats(-0.5, 1.5),
)
FOVEA = Fovea(Axis.squeeze(480, 0.4, 2.5, 0.4), Axis.squeeze(360, 0.5, 2, 0.55))


@given(axes)
def test_knots_rise_lie_on_the_grid_and_keep_the_middle_whole(axis: Axis):
    full, sent = np.array(axis.full), np.array(axis.squeezed)
    assert full[0] == sent[0] == 0
    assert (np.diff(full) > 0).all()
    assert (np.diff(sent) > 0).all()
    assert not (sent[:-1] % GRID).any()
    assert sent[-1] <= full[-1]
    assert sent[-1] % 2 == 0
    if len(full) == 2:
        assert axis.full == axis.squeezed
    else:
        assert full[2] - full[1] == sent[2] - sent[1]  # pixel for pixel


@given(sides, st.floats(0.01, 1), st.floats(1, 16), st.floats(0, 1), st.floats(0, 1))
def test_what_is_sent_is_as_long_wherever_the_middle_lies(
    side: int, centre: float, ratio: float, one: float, other: float
):
    lengths = {Axis.squeeze(side, centre, ratio, at).squeezed[-1] for at in (one, other)}
    assert len(lengths) == 1


@given(axes, st.floats(0, 1))
def test_there_and_back_is_where_one_was(axis: Axis, share: float):
    full = np.array([share * axis.full[-1]])
    np.testing.assert_allclose(axis.expand(axis.shrink(full)), full, atol=1e-9)


@given(axes)
def test_edges_are_squeezed_about_as_asked(axis: Axis):
    assume(len(axis.full) == 4)
    full, sent = np.diff(axis.full), np.diff(axis.squeezed)
    # The grid may take up to a cell more or less at either end.
    overall = (full[0] + full[2]) / (sent[0] + sent[2])
    for end in (0, 2):
        assert abs(sent[end] - full[end] / overall) <= GRID


def test_an_example_worked_by_hand():
    axis = Axis.squeeze(480, centre=0.4, ratio=2.5, middle=0.5)
    assert axis == Axis((0, 144, 336, 480), (0, 64, 256, 320))
    assert axis.expand(np.array([32.0, 100.0, 288.0])).tolist() == [72.0, 180.0, 408.0]


def test_each_part_projects_to_where_the_map_says():
    rng = np.random.default_rng(1)
    width, height = FOVEA.size
    sent = np.array(FOVEA.sent)
    places = rng.uniform(0, 1, (500, 2)) * (width, height)
    wanted = np.stack([FOVEA.x.shrink(places[:, 0]), FOVEA.y.shrink(places[:, 1])], axis=1)
    depth = rng.uniform(0.5, 9, 500)
    clip = np.column_stack([2 * places / (width, height) - 1, np.full(500, 0.5), np.ones(500)])
    clip *= depth[:, None]
    met = 0
    for part in FOVEA.parts():
        moved = clip @ part.sent_from_clip.T
        pixels = (moved[:, :2] / moved[:, 3:] + 1) / 2 * sent
        low = np.array(part.rect[:2])
        inside = ((wanted >= low) & (wanted < low + part.rect[2:])).all(axis=1)
        np.testing.assert_allclose(pixels[inside], wanted[inside], atol=1e-9)
        np.testing.assert_array_equal(moved[:, 2:], clip[:, 2:])  # depth stays
        met += int(inside.sum())
    assert met == len(places)


def test_without_squeezing_nothing_is_changed():
    [part] = Fovea.none(90, 60).parts()
    assert part.rect == (0, 0, 90, 60)
    np.testing.assert_array_equal(part.sent_from_clip, np.eye(4))
    rows, columns = Fovea.none(90, 60).cells()
    assert (rows.tolist(), columns.tolist()) == ([*range(4)], [*range(6)])


def squeezed(picture: np.ndarray) -> np.ndarray:
    """As a device would draw it: each pixel sent is what lies at its middle as looked at."""
    sent_width, sent_height = FOVEA.sent
    columns = FOVEA.x.expand(np.arange(0.5, sent_width)).astype(int)
    rows = FOVEA.y.expand(np.arange(0.5, sent_height)).astype(int)
    return picture[np.ix_(rows, columns)]


def test_the_middle_comes_back_exactly_and_the_edges_nearly():
    width, height = FOVEA.size
    y, x = np.mgrid[0:height, 0:width]
    waves = 127 + 60 * np.sin(x / 23) + 60 * np.cos(y / 17)
    noise = np.random.default_rng(2).integers(0, 256, (height, width))
    picture = np.stack([waves, noise], axis=2).astype(np.uint8)
    back = FOVEA.unsqueeze(squeezed(picture))
    assert back.shape == picture.shape
    middle = FOVEA.y.whole, FOVEA.x.whole
    assert picture[middle].size > picture.size / 8
    np.testing.assert_array_equal(back[middle], picture[middle])
    wrong = np.abs(back[..., 0].astype(int) - picture[..., 0])
    # A pixel sent stands for at most three, so it is taken up to one and a half away.
    assert wrong.max() <= 1.5 * 60 * (1 / 23 + 1 / 17) + 2
    assert 0 < wrong.mean() < 3


def test_more_ratio_is_fewer_pixels():
    areas = [
        np.prod(Fovea(Axis.squeeze(1440, 0.4, ratio), Axis.squeeze(1600, 0.4, ratio)).sent)
        for ratio in (1, 1.5, 2, 3)
    ]
    assert areas == sorted(areas, reverse=True)
    assert areas[2] / areas[0] == pytest.approx(0.7**2, rel=0.02)
