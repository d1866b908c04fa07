"""A scene's triangles in the world, in any pose, as the tree orders them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from render.motion import Stance
from render.pathtrace import bvh
from render.pose import world_positions
from render.scene import AlphaMode, Scene

TRIANGLE = np.dtype(  # as pathtrace_scene.glsl declares it
    [
        ("a", "<f4", 3),
        ("vertex_a", "<u4"),
        ("b", "<f4", 3),
        ("vertex_b", "<u4"),
        ("c", "<f4", 3),
        ("vertex_c", "<u4"),
        ("draw", "<u4"),
        ("material", "<u4"),
        ("flags", "<u4"),
        ("number", "<u4"),
    ]
)
DOUBLE_SIDED, HAS_TANGENTS, CUTS = 1, 2, 4  # flags
REBUILD = 1.4  # times the cost per ray a tree was built with
_FARTHEST = 1e15  # metres: squares and products of what lies there are still finite


class Geometry:
    """The triangles of one scene and the tree over them.

    Keeps the scene's vertices only if they can move.
    """

    def __init__(self, scene: Scene, first_vertex: Sequence[int]) -> None:
        """first_vertex: by draw, into the buffer that shading reads vertices from."""
        self._scene = scene
        counts = [len(scene.primitives[draw.primitive].indices) // 3 for draw in scene.draws]
        self._first = np.cumsum([0, *counts]).tolist()
        self.count: int = self._first[-1]
        self._records = np.zeros(self.count, TRIANGLE)
        self._records["number"] = np.arange(self.count)
        for number, draw in enumerate(scene.draws):
            mesh = scene.primitives[draw.primitive]
            material = scene.materials[mesh.material]
            part = self._records[self._part(number)]
            corners = mesh.indices.reshape(-1, 3) + np.uint32(first_vertex[number])
            for name, column in zip(("vertex_a", "vertex_b", "vertex_c"), corners.T, strict=True):
                part[name] = column
            part["draw"], part["material"] = number, mesh.material
            part["flags"] = (
                DOUBLE_SIDED * material.double_sided
                | HAS_TANGENTS * (mesh.tangents is not None)
                | CUTS * (material.alpha_mode is not AlphaMode.OPAQUE or material.blends)
            )
        self._mirrored = np.zeros(len(scene.draws), np.bool_)
        self._tree: bvh.Tree | None = None
        self._cost = 0.0

    def take(
        self, stance: Stance | None, mirrored: NDArray[np.bool_]
    ) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Nodes (bvh.NODE) and triangles (TRIANGLE, in the tree's order) of a pose.

        stance: of the scene's motion. mirrored: by draw, whether its triangles' winding is. What a
        ray meets does not depend on the poses taken before: only how soon it is found.
        """
        self._place(stance, mirrored)
        corners = np.stack([self._records[name] for name in "abc"])
        low, high = corners.min(axis=0), corners.max(axis=0)
        if self._tree is None or bvh.cost(self._tree, low, high) > REBUILD * self._cost:
            self._tree = bvh.build(low, high)
            self._cost = bvh.cost(self._tree, low, high)
        return bvh.pack(self._tree, low, high), self._records[self._tree.order]

    def _place(self, stance: Stance | None, mirrored: NDArray[np.bool_]) -> None:
        """Bring all corners that may have moved to where they are."""
        scene = self._scene
        for number, draw in enumerate(scene.draws):
            if self._tree is not None and not (draw.node >= 0 or draw.bends):
                continue
            mesh = scene.primitives[draw.primitive]
            points = world_positions(draw, mesh, stance)
            points = np.nan_to_num(points, posinf=_FARTHEST, neginf=-_FARTHEST)
            points = points.clip(-_FARTHEST, _FARTHEST).astype(np.float32)
            part = self._records[self._part(number)]
            if mirrored[number] != self._mirrored[number]:
                second = part["vertex_b"].copy()
                part["vertex_b"], part["vertex_c"] = part["vertex_c"], second
            order = (0, 2, 1) if mirrored[number] else (0, 1, 2)
            corners = mesh.indices.reshape(-1, 3)
            for name, column in zip("abc", order, strict=True):
                part[name] = points[corners[:, column]]
        self._mirrored = mirrored.copy()

    def _part(self, draw: int) -> slice:
        return slice(self._first[draw], self._first[draw + 1])
