"""What of a scene is worked out for Mitsuba; `python -m bench.render_quality` draws it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.peers.mitsuba import CONE, cone, world_normals
from bench.quality_scenes import morph
from render.motion import stance
from render.package import load_scene
from render.pose import world_positions
from render.scene import Draw, Light, LightKind, Primitive


def test_a_spot_light_s_edge_is_that_of_the_extension() -> None:
    light = Light(LightKind.SPOT, np.eye(4, dtype=np.float32)[:3], inner_cone=0.2, outer_cone=0.5)
    row = cone(light)[CONE // 2, :, 0]
    angles = np.arctan(((np.arange(CONE) + 0.5) / CONE * 2 - 1) * math.tan(0.5))
    assert (row[np.abs(angles) < 0.19] == 1).all()
    assert row[0] == pytest.approx(0, abs=1e-4)
    half = (math.cos(0.2) + math.cos(0.5)) / 2
    nearest = np.abs(angles - math.acos(half)).argmin()
    assert row[nearest] == pytest.approx(0.25, abs=0.01)


def test_normals_that_no_file_gave_are_those_of_the_bent_triangles() -> None:
    corners = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    primitive = Primitive(
        positions=corners, normals=np.float32([[0, 0, 1]] * 3), tangents=None, uv0=None, uv1=None,
        colors=None, indices=np.arange(3, dtype=np.uint32), material=0, flat=True,
    )  # fmt: skip
    draw = Draw(np.eye(4, dtype=np.float32), 0)
    bent = np.float64([[0, 0, 0], [0, 0, -2], [0, 1, 0]])
    np.testing.assert_allclose(world_normals(draw, primitive, None, bent), [[1, 0, 0]] * 3)


def test_the_morphed_ball_has_the_normals_of_its_surface() -> None:
    scene = load_scene(morph())
    [draw], [primitive] = scene.draws, scene.primitives
    assert scene.motion is not None
    now = stance(scene.motion, -1, 0.0)
    places = world_positions(draw, primitive, now)
    normals = world_normals(draw, primitive, now, places)
    corners = places[primitive.indices.reshape(-1, 3)]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    wide = np.linalg.norm(faces, axis=1) > 1e-5
    faces = faces[wide] / np.linalg.norm(faces[wide], axis=1, keepdims=True)
    along = (faces * normals[primitive.indices.reshape(-1, 3)[wide, 0]]).sum(axis=1)
    assert along.min() > 0.95
