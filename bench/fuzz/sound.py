"""What `render.scene.Scene` promises, asserted of a scene that was let in."""

from __future__ import annotations

import numpy as np

from render.clusters import cluster_scene
from render.pose import Poser
from render.scene import Primitive, Scene

_MOST_POSED = 100_000  # vertices: of larger scenes the poses are left out, for time


def assert_sound(scene: Scene) -> None:
    """Every index points at something, every number is finite, and it can be posed."""
    assert scene.draws
    assert scene.materials
    assert np.isfinite(scene.bounds_min).all()
    assert np.isfinite(scene.bounds_max).all()
    for draw in scene.draws:
        assert 0 <= draw.primitive < len(scene.primitives)
        if draw.node < 0 and draw.skin < 0:
            assert np.isfinite(np.linalg.inv(draw.world_from_mesh.astype(float))).all()
        if draw.skin >= 0:
            influences = scene.primitives[draw.primitive].influences
            assert scene.motion is not None
            assert influences is not None
            assert draw.skin + int(influences.joints.max()) < len(scene.motion.joints)
    for primitive in scene.primitives:
        assert 0 <= primitive.material < len(scene.materials)
        _assert_sound_mesh(primitive)
        for slot in scene.materials[primitive.material].slots():
            assert slot.texture < len(scene.textures)
            assert (primitive.uv0, primitive.uv1)[slot.uv_set] is not None
    for texture in scene.textures:
        assert texture.image < len(scene.images)
    if sum(len(primitive.positions) for primitive in scene.primitives) < _MOST_POSED:
        _assert_poses(scene)


def _assert_sound_mesh(mesh: Primitive) -> None:
    count = len(mesh.positions)
    assert len(mesh.indices) % 3 == 0
    assert len(mesh.indices) > 0
    assert mesh.indices.max() < count
    assert np.isfinite(mesh.positions).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, rtol=1e-4)
    for array in (mesh.tangents, mesh.uv0, mesh.uv1, mesh.colors):
        assert array is None or (len(array) == count and np.isfinite(array).all())
    if mesh.influences is not None:
        assert len(mesh.influences.joints) == len(mesh.influences.weights) == count
        np.testing.assert_allclose(mesh.influences.weights.sum(axis=1), 1.0, rtol=1e-4)
    if mesh.morph is not None:
        assert mesh.morph.positions.shape[1] == count
        assert np.isfinite(mesh.morph.positions).all()


def _assert_poses(scene: Scene) -> None:
    """As a gateway and a device pose it, at rest and into its animations."""
    poser = Poser(scene, cluster_scene(scene))
    animations = () if scene.motion is None else scene.motion.animations
    for number in range(-1, min(len(animations), 4)):
        for time in (0.0, 0.7) if number >= 0 else (0.0,):
            pose = poser.at(number, time)
            still = [index for index, draw in enumerate(scene.draws) if draw.skin < 0]
            assert np.isfinite(pose.world_from_mesh[still]).all()
