"""The sun's view holds the whole scene, and nothing is wasted beside it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from render.clusters import Boxes
from render.shadows import sun_view

numbers = st.floats(-10, 10)


@given(st.integers(0, 1000), st.tuples(numbers, numbers, numbers), st.integers(1, 20))
def test_every_corner_of_every_box_lies_in_the_map(
    seed: int, towards: tuple[float, float, float], count: int
):
    random = np.random.default_rng(seed)
    sun = np.array(towards) if np.linalg.norm(towards) > 1e-3 else np.array([0.0, 1.0, 0.0])
    sun /= np.linalg.norm(sun)
    boxes = Boxes(random.normal(scale=5, size=(count, 3)), random.random((count, 3)))
    view = sun_view(boxes, sun)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = (boxes.centre[:, None] + signs * boxes.half[:, None]).reshape(-1, 3)
    seen = corners @ view.clip_from_world[:3, :3].T + view.clip_from_world[:3, 3]
    assert np.abs(seen[:, :2]).max() <= 1
    assert np.abs(seen[:, :2]).max() > 0.95  # the map is not much wider than the scene
    assert 0 <= seen[:, 2].min() < 0.05
    assert 0.95 < seen[:, 2].max() <= 1
    # A metre is as long in the map whatever the sun, and what is nearer to it is deeper in [0, 1].
    axes = view.clip_from_world[:3, :3]
    assert np.allclose(np.linalg.norm(axes[:2], axis=1), 2 / view.width)
    assert np.allclose(axes[2], sun / view.depth)


def test_a_flat_scene_has_a_map_all_the_same():
    flat = Boxes(np.zeros((1, 3)), np.array([[1.0, 0.0, 1.0]]))
    for sun in ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0]):
        view = sun_view(flat, np.array(sun))
        assert np.isfinite(view.clip_from_world).all()
        assert np.linalg.det(view.clip_from_world) != 0
