"""Splitting meshes into compact clusters of triangles, and telling which a tile can see. Pure.

A tile that draws only the clusters that may touch it repeats little of its neighbours' work.
Culling is conservative: what it leaves out covers no pixel of the tile, so it never shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from render.camera import Matrix
from render.scene import Float32Array, Scene, Uint32Array
from render.tiles import Rect

CLUSTER_TRIANGLES = 128  # small enough for tiles to share few of them
BLOCK_TRIANGLES = 512  # clusters that are drawn as one where all of them show
MARGIN_PIXELS = 4  # the column left of a tile is drawn too (chroma), and floats round


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """A primitive's triangles, reordered so that each cluster is a run of them.

    indices: uint32 (3 * triangles,). starts: int64 (n + 1,), first index of each cluster, then the
    total. block: int64 (n,), which clusters lie together, counted from 0 in order.
    low, high: float32 (n, 3), the clusters' boxes, mesh frame, metres.
    """

    indices: Uint32Array
    starts: NDArray[np.int64]
    block: NDArray[np.int64]
    low: Float32Array
    high: Float32Array


def split(
    positions: Float32Array,
    indices: Uint32Array,
    triangles: int = CLUSTER_TRIANGLES,
    block_triangles: int = BLOCK_TRIANGLES,
) -> Clusters:
    """Split triangles into clusters of at most `triangles`, by halving along the longest axis.

    positions: float32 (n, 3). indices: uint32 (3 * m,), m >= 1. block_triangles: likewise of the
    blocks that clusters are of. Within a cluster triangles keep their order; the result depends on
    nothing but the arguments.
    """
    corners = positions[indices].reshape(-1, 3, 3)
    centres = corners.mean(axis=1)
    runs: list[NDArray[np.int64]] = []
    block: list[int] = []
    blocks = 0
    waiting = [(np.arange(len(centres)), -1)]
    while waiting:
        run, of_block = waiting.pop()
        if of_block < 0 and len(run) <= max(block_triangles, triangles):
            of_block, blocks = blocks, blocks + 1
        if len(run) <= triangles:
            runs.append(np.sort(run))
            block.append(of_block)
            continue
        inside = centres[run]
        axis = int((inside.max(axis=0) - inside.min(axis=0)).argmax())
        order = run[np.argsort(inside[:, axis], kind="stable")]
        halves = order[len(order) // 2 :], order[: len(order) // 2]
        waiting += [(half, of_block) for half in halves]
    return Clusters(
        indices=np.ascontiguousarray(
            np.concatenate([indices.reshape(-1, 3)[run] for run in runs]).reshape(-1)
        ),
        starts=np.cumsum([0, *(3 * len(run) for run in runs)]),
        block=np.array(block),
        low=np.stack([corners[run].min(axis=(0, 1)) for run in runs]),
        high=np.stack([corners[run].max(axis=(0, 1)) for run in runs]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Axis-aligned boxes in the world frame: centres and half sizes, float64 (n, 3), metres."""

    centre: NDArray[np.float64]
    half: NDArray[np.float64]

    @staticmethod
    def placed(world_from_mesh: Float32Array, low: Float32Array, high: Float32Array) -> Boxes:
        """The world boxes of mesh boxes under an affine placement."""
        matrix = world_from_mesh.astype(np.float64)
        centre = (low.astype(np.float64) + high) / 2
        half = (high.astype(np.float64) - low) / 2
        return Boxes(centre @ matrix[:3, :3].T + matrix[:3, 3], half @ np.abs(matrix[:3, :3]).T)

    @staticmethod
    def joined(parts: list[Boxes]) -> Boxes:
        """All boxes of `parts`, in order."""
        return Boxes(
            np.concatenate([part.centre for part in parts]),
            np.concatenate([part.half for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DrawnClusters:
    """Every (draw, cluster) of a scene, by draw and then by cluster.

    meshes: one entry per primitive. draw, cluster: int64 (n,). block: int64 (n,), counted through
    all draws. triangles: int64 (n,).
    """

    meshes: tuple[Clusters, ...]
    draw: NDArray[np.int64]
    cluster: NDArray[np.int64]
    block: NDArray[np.int64]
    triangles: NDArray[np.int64]
    boxes: Boxes


def cluster_scene(scene: Scene) -> DrawnClusters:
    """Split every primitive and place the clusters of every draw."""
    meshes = tuple(split(mesh.positions, mesh.indices) for mesh in scene.primitives)
    placed = [meshes[draw.primitive] for draw in scene.draws]
    counts = [len(mesh.low) for mesh in placed]
    before = np.cumsum([0, *(mesh.block[-1] + 1 for mesh in placed)])
    return DrawnClusters(
        meshes=meshes,
        draw=np.repeat(np.arange(len(placed)), counts),
        cluster=np.concatenate([np.arange(count) for count in counts]),
        block=np.concatenate(
            [at + mesh.block for at, mesh in zip(before[:-1], placed, strict=True)]
        ),
        triangles=np.concatenate([np.diff(mesh.starts) // 3 for mesh in placed]),
        boxes=Boxes.joined(
            [
                Boxes.placed(draw.world_from_mesh, mesh.low, mesh.high)
                for draw, mesh in zip(scene.draws, placed, strict=True)
            ]
        ),
    )


def visible(
    boxes: Boxes, clip_from_world: Matrix, width: int, height: int, rect: Rect
) -> NDArray[np.bool_]:
    """Which boxes may touch a tile: bool (n,).

    width, height: the frame, pixels. False means the box lies behind the camera or beyond one of
    the tile's four sides, `MARGIN_PIXELS` outwards.
    """
    left = (rect.x - MARGIN_PIXELS) * 2 / width - 1
    right = (rect.x + rect.width + MARGIN_PIXELS) * 2 / width - 1
    top = (rect.y - MARGIN_PIXELS) * 2 / height - 1
    bottom = (rect.y + rect.height + MARGIN_PIXELS) * 2 / height - 1
    # Inside is where every row is >= 0: left * w <= x <= right * w, likewise y, and w > 0.
    sides = np.array(
        [[1, 0, -left], [-1, 0, right], [0, 1, -top], [0, -1, bottom], [0, 0, 1]], np.float64
    )
    planes = sides @ clip_from_world[[0, 1, 3]]
    facing = planes[:, :3]
    reach = facing @ boxes.centre.T + np.abs(facing) @ boxes.half.T + planes[:, 3:]
    inside: NDArray[np.bool_] = np.minimum.reduce(reach) >= 0
    return inside
