"""A made-up scene that bends in every way, and its vertices computed by numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from render.motion import Animation, Interpolation, Motion, Property, Track, stance
from render.scene import Draw, Influences, Material, Morph, Primitive, Scene

SIDE = 24  # vertices along an edge of the sheet
TARGETS = 3


def sheet(rng: np.random.Generator, *, flat: bool, skinned: bool, morphed: bool) -> Primitive:
    """A wavy sheet of `SIDE` x `SIDE` vertices, two metres wide, facing +Z."""
    grid = np.linspace(-1, 1, SIDE)
    x, y = np.meshgrid(grid, grid)
    points = np.stack([x, y, 0.1 * np.sin(5 * x)], axis=-1).reshape(-1, 3)
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).reshape(-1, 1)
    indices = (corner + np.array([0, 1, SIDE + 1, 0, SIDE + 1, SIDE])).reshape(-1)
    if flat:
        points, indices = points[indices], np.arange(len(indices))
    count = len(points)
    normals = np.tile([0.0, 0.0, 1.0], (count, 1)) + 0.1 * rng.normal(size=(count, 3))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    # By place, so that the corners of flat triangles that meet stay together.
    share = (points[:, :1] + 1) / 2 * np.array([[1.0, 0.5, 0.25, 0]]) + [[0.1, 0, 0.1, 0]]
    bulge = [
        np.stack([np.sin(k * points[:, 1]), points[:, 0] * 0, np.cos(k * points[:, 0])], 1)
        for k in range(1, TARGETS + 1)
    ]
    return Primitive(
        positions=points.astype(np.float32),
        normals=normals.astype(np.float32),
        tangents=np.tile(np.float32([1, 0, 0, 1]), (count, 1)),
        uv0=rng.random((count, 2)).astype(np.float32),
        uv1=None,
        colors=None,
        indices=indices.astype(np.uint32),
        material=0,
        flat=flat,
        influences=Influences(
            np.tile(np.uint16([0, 1, 2, 0]), (count, 1)),
            (share / share.sum(axis=1, keepdims=True)).astype(np.float32),
        )
        if skinned
        else None,
        morph=Morph(
            (0.2 * np.stack(bulge)).astype(np.float32),
            None if flat else rng.normal(size=(TARGETS, count, 3)).astype(np.float32),
            None if flat else rng.normal(size=(TARGETS, count, 3)).astype(np.float32),
        )
        if morphed
        else None,
    )


def bending_scene(*, flat: bool = False, skinned: bool = True, morphed: bool = True) -> Scene:
    """The sheet twice: as asked, and carried by a node (which bends it by the targets only)."""
    rng = np.random.default_rng(5)
    mesh = sheet(rng, flat=flat, skinned=skinned, morphed=morphed)
    half = np.sqrt(0.5)
    times = np.array([0.0, 1.0, 2.5])
    turns = rng.normal(size=(3, 4, 4))
    tracks = (
        Track(Property.ROTATION, Interpolation.LINEAR, np.arange(4), times, turns),
        Track(Property.SCALE, Interpolation.LINEAR, np.array([0]), times,
              np.array([[[1.0, 1, 1]], [[1.0, 2, 1]], [[-1.0, 1, 1]]])),
        Track(Property.WEIGHTS, Interpolation.LINEAR, np.arange(TARGETS), times,
              rng.normal(size=(3, TARGETS, 1))),
    )  # fmt: skip
    motion = Motion(
        parents=np.array([-1, 0, 1, -1]),
        base=np.tile(np.eye(4)[:3], (4, 1, 1)),
        translation=np.array([[0.0, 0, 0], [0.3, 0.2, 0], [0.3, 0, 0.1], [0, 2.5, 0]]),
        rotation=np.tile([0.0, 0.0, half, half], (4, 1)),
        scale=np.ones((4, 3)),
        fixed=np.array([], np.int64),
        matrices=np.zeros((0, 3, 4)),
        levels=(np.array([0, 3]), np.array([1]), np.array([2])),
        joints=np.array([0, 1, 2]),
        inverse_bind=np.tile(np.eye(4)[:3], (3, 1, 1)),
        weights=np.array([0.5, 0.0, -0.25]),
        animations=(Animation("everything", 2.5, tracks),),
    )
    weights = 0 if morphed else -1
    return Scene(
        draws=(
            Draw(np.eye(4, dtype=np.float32), 0, 0, 0 if skinned else -1, weights),
            Draw(np.eye(4, dtype=np.float32), 0, 3, -1, weights),
        ),
        primitives=(mesh,),
        materials=(Material(metallic_factor=0.0, roughness_factor=0.7, double_sided=True),),
        textures=(),
        images=(),
        bounds_min=np.float32([-3, -3, -3]),
        bounds_max=np.float32([3, 5, 3]),
        motion=motion,
    )


def still(scene: Scene, animation: int, time: float) -> Scene:
    """The scene as it is at a time, computed in float64 and stored as a scene that never moves."""
    assert scene.motion is not None
    now = stance(scene.motion, animation, time)
    draws, primitives = [], []
    for draw in scene.draws:
        mesh = scene.primitives[draw.primitive]
        skinned = draw.skin >= 0
        world = np.eye(4)[:3] if skinned else now.world_from_node[draw.node]
        draws.append(Draw(np.concatenate([world, [[0, 0, 0, 1]]]).astype(np.float32), len(draws)))
        primitives.append(_still_mesh(mesh, now.palette if skinned else None, now.weights, draw))
    return Scene(
        draws=tuple(draws),
        primitives=tuple(primitives),
        materials=scene.materials,
        textures=(),
        images=(),
        bounds_min=scene.bounds_min,
        bounds_max=scene.bounds_max,
    )


def _still_mesh(
    mesh: Primitive, palette: NDArray[np.float64] | None, weights: NDArray[np.float64], draw: Draw
) -> Primitive:
    points, normals = mesh.positions.astype(float), mesh.normals.astype(float)
    assert mesh.tangents is not None
    tangents = mesh.tangents.astype(float)
    if draw.weights >= 0 and mesh.morph is not None:
        points = points + np.einsum("t,tvc->vc", weights, mesh.morph.positions)
        if mesh.morph.normals is not None and mesh.morph.tangents is not None:
            normals = normals + np.einsum("t,tvc->vc", weights, mesh.morph.normals)
            tangents[:, :3] += np.einsum("t,tvc->vc", weights, mesh.morph.tangents)
    side = 1.0
    if palette is not None:
        assert mesh.influences is not None
        blend = np.einsum("vk,vkrc->vrc", mesh.influences.weights, palette[mesh.influences.joints])
        points = np.einsum("vrc,vc->vr", blend, np.c_[points, np.ones(len(points))])
        linear = blend[:, :, :3]
        side = np.where(np.linalg.det(linear) < 0, -1.0, 1.0)[:, None]
        x, y, z = (linear[:, row] for row in range(3))
        # The inverse transpose times the determinant: joints that turn apart may flatten a vertex.
        cofactor = np.stack([np.cross(y, z), np.cross(z, x), np.cross(x, y)], axis=1)
        normals = side * np.einsum("vrc,vc->vr", cofactor, normals)
        tangents[:, :3] = np.einsum("vrc,vc->vr", linear, tangents[:, :3])
    if mesh.flat:
        corners = points.reshape(-1, 3, 3)
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.repeat(faces, 3, axis=0) * side
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    indices = mesh.indices
    if palette is not None and np.linalg.det(palette[0, :, :3]) < 0:  # the winding is mirrored
        indices = indices.reshape(-1, 3)[:, [0, 2, 1]].reshape(-1)
    return Primitive(
        points.astype(np.float32), normals.astype(np.float32), tangents.astype(np.float32),
        mesh.uv0, None, None, indices, mesh.material,
    )  # fmt: skip
