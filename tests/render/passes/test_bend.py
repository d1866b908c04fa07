"""Bent on the device, a scene looks as its vertices bent by numpy do, whatever the tiling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mesh.core.errors import ContentRefused
from render.camera import Orbit
from render.passes.bend import check_range
from render.scene import Scene
from tests.render.bending import bending_scene, still

SIZE = (192, 128)
POSE = Orbit(0.6, 0.3, 6.0, (0.0, 1.2, 0.0))


@pytest.mark.parametrize("time", [0.0, 0.4, 1.9, 2.5])
@pytest.mark.parametrize(
    ("flat", "skinned", "morphed"),
    [
        (False, True, False),
        (False, False, True),
        (False, True, True),
        (True, True, True),
        (True, False, True),
    ],
)
def test_the_picture_is_that_of_vertices_bent_by_numpy(
    studio, view_of: Callable, time: float, flat: bool, skinned: bool, morphed: bool
):
    scene = bending_scene(flat=flat, skinned=skinned, morphed=morphed)
    view = view_of(POSE, SIZE, animation=0, time=time)
    ours = studio.shoot(scene, view, SIZE).rgba.astype(int)
    expected = studio.shoot(still(scene, 0, time), view_of(POSE, SIZE), SIZE).rgba.astype(int)
    background = np.abs(expected - expected[0, 0]).max(axis=2) <= 1
    assert background.mean() < 0.95
    differs = np.abs(ours - expected).max(axis=2) > 3
    assert differs.mean() < 0.004  # edges move by a float's rounding


def test_poses_differ_and_come_back(studio, view_of: Callable):
    scene = bending_scene()
    seen = [
        studio.shoot(scene, view_of(POSE, SIZE, animation=0, time=time), SIZE).i420
        for time in (0.0, 1.0, 0.0)
    ]
    assert seen[0] == seen[2] != seen[1]


def test_rest_is_the_weights_and_places_of_the_scene(studio, view_of: Callable):
    scene = bending_scene()
    at_rest = studio.shoot(scene, view_of(POSE, SIZE), SIZE).rgba.astype(int)
    expected = studio.shoot(still(scene, -1, 0.0), view_of(POSE, SIZE), SIZE).rgba.astype(int)
    assert (np.abs(at_rest - expected).max(axis=2) > 3).mean() < 0.004


@pytest.mark.parametrize("seed", range(3))
def test_a_moving_frame_does_not_depend_on_its_tiling(
    studio, view_of: Callable, random_tiling: Callable, fox: Scene, seed: int
):
    pose = Orbit(1.0, 0.2, 220.0, (0.0, 40.0, 0.0))
    for scene, camera, time in ((fox, pose, 0.31 + seed), (bending_scene(), POSE, 0.9 * seed)):
        view = view_of(camera, SIZE, animation=seed if scene is fox else 0, time=time)
        whole = studio.shoot(scene, view, SIZE)
        cut = studio.shoot(scene, view, SIZE, random_tiling(SIZE, 9, seed))
        assert cut.i420 == whole.i420
        assert cut.rgba.tobytes() == whole.rgba.tobytes()


def test_a_mesh_larger_than_a_device_can_bind_is_refused(studio):
    device = studio.renderer._device
    check_range(device, device.max_storage_range)
    with pytest.raises(ContentRefused, match="binds at most"):
        check_range(device, device.max_storage_range + 1)
