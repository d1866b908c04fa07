"""Triangles in the world: where the poser puts their vertices, whatever the poses before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from render.motion import stance
from render.pathtrace.geometry import CUTS, DOUBLE_SIDED, Geometry
from render.pose import world_positions
from render.scene import AlphaMode, Draw, Material, Scene
from tests.render.bending import bending_scene


def expected_corners(scene: Scene, time: float) -> np.ndarray:
    """float32 (n, 3, 3), in the scene's order."""
    assert scene.motion is not None
    now = stance(scene.motion, 0, time)
    parts = []
    for draw in scene.draws:
        mesh = scene.primitives[draw.primitive]
        points = world_positions(draw, mesh, now).astype(np.float32)
        parts.append(points[mesh.indices].reshape(-1, 3, 3))
    return np.concatenate(parts)


def test_corners_follow_the_pose():
    scene = bending_scene()
    assert scene.motion is not None
    geometry = Geometry(scene, [0] * len(scene.draws))
    sides = np.zeros(len(scene.draws), np.bool_)
    for time in (0.0, 1.9, 0.4):
        nodes, triangles = geometry.take(stance(scene.motion, 0, time), sides)
        corners = expected_corners(scene, time)
        assert sorted(triangles["number"]) == list(range(len(corners)))
        for at, name in enumerate("abc"):
            assert np.array_equal(triangles[name], corners[triangles["number"], at])
        ends = [(nodes[f"low{side}"], nodes[f"high{side}"]) for side in (0, 1)]
        low = np.minimum(ends[0][0][0], ends[1][0][0])
        high = np.maximum(ends[0][1][0], ends[1][1][0])
        assert np.array_equal(low, corners.min(axis=(0, 1)))
        assert np.array_equal(high, corners.max(axis=(0, 1)))


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_front_of_a_mirrored_triangle_is_the_same(
    square: Callable, scene_of: Callable, mirrored: bool
):
    placed = np.diag([-1.0 if mirrored else 1.0, 1, 1, 1]).astype(np.float32)
    scene = replace(scene_of([square()], [Material()]), draws=(Draw(placed, 0),))
    _, triangles = Geometry(scene, [0]).take(None, np.array([mirrored]))
    faces = np.cross(triangles["b"] - triangles["a"], triangles["c"] - triangles["a"])
    assert (faces[:, 2] > 0).all()
    points = scene.primitives[0].positions * np.diag(placed)[:3]
    for name in "abc":
        assert np.array_equal(points[triangles[f"vertex_{name}"]], triangles[name])


def test_what_a_ray_must_know_of_a_material_is_with_its_triangles(
    square: Callable, scene_of: Callable
):
    materials = [
        Material(),
        Material(double_sided=True),
        Material(alpha_mode=AlphaMode.MASK),
        Material(alpha_mode=AlphaMode.BLEND, double_sided=True),
    ]
    scene = scene_of([square(material=at) for at in range(4)], materials)
    _, triangles = Geometry(scene, [10 * at for at in range(4)]).take(None, np.zeros(4, np.bool_))
    flags = np.array([0, DOUBLE_SIDED, CUTS, CUTS | DOUBLE_SIDED])
    assert np.array_equal(triangles["flags"], flags[triangles["material"]])
    assert np.array_equal(triangles["vertex_a"] // 10, triangles["draw"])
