"""Where a scene's draws and clusters are at a time: the state that culling and drawing need. Pure.

Boxes are conservative: whatever a cluster's triangles do at that time, they do it inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from render.clusters import Boxes, Clusters, DrawnClusters
from render.motion import Floats, Ints, Stance, stance
from render.scene import Draw, Influences, Morph, Primitive, Scene

REST = -1  # in place of an animation's index
_ALL = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A scene at one time.

    world_from_mesh: float64 (draws, 3, 4); for what a skin carries, of no meaning.
    boxes: of `DrawnClusters`, in its order. stance: of `Scene.motion`, None without one.
    """

    world_from_mesh: Floats
    boxes: Boxes
    stance: Stance | None


class Poser:
    """Poses one scene. Holds none of its vertices."""

    def __init__(self, scene: Scene, clusters: DrawnClusters) -> None:
        self._motion = scene.motion
        self._rest = np.stack([draw.world_from_mesh[:3] for draw in scene.draws]).astype(np.float64)
        self._carried = np.array([i for i, d in enumerate(scene.draws) if d.node >= 0], np.int64)
        self._carrier = np.array([scene.draws[i].node for i in self._carried], np.int64)
        self._boxes = clusters.boxes
        first = np.searchsorted(clusters.draw, np.arange(len(scene.draws) + 1)).tolist()
        self._moving = [
            _MovingClusters(
                draw, number, scene.primitives[draw.primitive], clusters.meshes[draw.primitive],
                slice(first[number], first[number + 1]),
            )
            for number, draw in enumerate(scene.draws)
            if draw.node >= 0 or draw.bends
        ]  # fmt: skip
        self._last: tuple[int, float, Pose] | None = None

    @property
    def moves(self) -> bool:
        """Whether poses differ at all."""
        return bool(self._moving)

    def at(self, animation: int, time: float) -> Pose:
        """The pose `time` seconds into an animation; at rest where it does not exist.

        Made once for consecutive calls with equal arguments.
        """
        if self._last is None or self._last[:2] != (animation, time):
            self._last = (animation, time, self._pose(animation, time))
        return self._last[2]

    def _pose(self, animation: int, time: float) -> Pose:
        if self._motion is None:
            return Pose(self._rest, self._boxes, None)
        now = stance(self._motion, animation, time)
        world_from_mesh = self._rest.copy()
        world_from_mesh[self._carried] = now.world_from_node[self._carrier]
        boxes = Boxes(self._boxes.centre.copy(), self._boxes.half.copy())
        for part in self._moving:
            part.place(boxes, now, world_from_mesh)
        return Pose(world_from_mesh, boxes, now)


def world_positions(
    draw: Draw, primitive: Primitive, now: Stance | None, chosen: slice = _ALL
) -> Floats:
    """Some of a draw's vertices at a time: float64 (n, 3), metres, world frame."""
    points = primitive.positions[chosen].astype(np.float64)
    maps = draw.world_from_mesh[None, :3].astype(np.float64)
    if now is not None:
        if draw.weights >= 0 and primitive.morph is not None:
            for target, moved in enumerate(primitive.morph.positions):
                points += moved[chosen] * now.weights[draw.weights + target]
        if draw.skin >= 0 and primitive.influences is not None:
            joints = primitive.influences.joints[chosen].astype(np.int64) + draw.skin
            shares = primitive.influences.weights[chosen].astype(np.float64)
            maps = np.zeros((len(points), 3, 4))
            for joint, share in zip(joints.T, shares.T, strict=True):
                maps += now.palette[joint] * share[:, None, None]
        elif draw.node >= 0:
            maps = now.world_from_node[draw.node, None]
    with np.errstate(over="ignore", invalid="ignore"):
        placed: Floats = (maps[:, :, :3] * points[:, None, :]).sum(axis=2) + maps[:, :, 3]
    return placed


class _MovingClusters:
    """The clusters of one draw that is carried or bent."""

    def __init__(
        self, draw: Draw, number: int, primitive: Primitive, clusters: Clusters, entries: slice
    ) -> None:
        self._draw, self._number, self._entries = draw, number, entries
        low, high = clusters.low.astype(np.float64), clusters.high.astype(np.float64)
        self._joints: Ints | None = None
        rows = np.arange(len(low))
        if draw.skin >= 0:
            assert primitive.influences is not None
            joints, low, high, rows = _joint_boxes(
                primitive.positions.astype(np.float64), primitive.influences, clusters
            )
            self._joints = joints + draw.skin
            self._first = np.flatnonzero(np.diff(rows, prepend=-1))
        self._low, self._high = low, high
        self._reach = None
        if draw.weights >= 0:
            assert primitive.morph is not None
            self._reach = _morph_reach(primitive.morph, clusters)[:, :, rows]

    def place(self, boxes: Boxes, now: Stance, world_from_mesh: Floats) -> None:
        """Write this draw's boxes."""
        low, high = self._low, self._high
        if self._reach is not None:
            targets = self._reach.shape[1]
            weights = now.weights[self._draw.weights : self._draw.weights + targets]
            ends = self._reach * weights[None, :, None, None]
            low = low + ends.min(axis=0).sum(axis=0)
            high = high + ends.max(axis=0).sum(axis=0)
        if self._joints is None:
            maps = world_from_mesh[self._number, None]
        else:
            maps = now.palette[self._joints]
        centre, half = _mapped(maps, (low + high) / 2, (high - low) / 2)
        if self._joints is not None:
            low = np.minimum.reduceat(centre - half, self._first)
            high = np.maximum.reduceat(centre + half, self._first)
            centre, half = (low + high) / 2, (high - low) / 2
        boxes.centre[self._entries], boxes.half[self._entries] = centre, half


def _mapped(maps: Floats, centre: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Boxes around boxes (n, 3) under affine maps (n or 1, 3, 4)."""
    turned = (maps[:, :, :3] * centre[:, None, :]).sum(axis=2) + maps[:, :, 3]
    return turned, (np.abs(maps[:, :, :3]) * half[:, None, :]).sum(axis=2)


def _joint_boxes(
    positions: Floats, influences: Influences, clusters: Clusters
) -> tuple[Ints, Floats, Floats, Ints]:
    """For each joint that moves vertices of a cluster, the box of these vertices at rest.

    Returns joints (p,), low and high (p, 3), clusters (p,); by cluster. A skinned vertex lies
    between where its joints would each put it, so inside the union of the boxes they put.
    """
    corner_cluster = np.repeat(np.arange(len(clusters.low)), np.diff(clusters.starts))
    across = influences.joints.shape[1]
    used = influences.weights[clusters.indices].reshape(-1) > 0.0
    joint = influences.joints[clusters.indices].reshape(-1)[used].astype(np.int64)
    cluster = np.repeat(corner_cluster, across)[used]
    vertex = np.repeat(clusters.indices, across)[used]
    key = cluster * 65536 + joint
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    points = positions[vertex[order]]
    chosen = order[first]
    return (
        joint[chosen],
        np.minimum.reduceat(points, first),
        np.maximum.reduceat(points, first),
        cluster[chosen],
    )


def _morph_reach(morph: Morph, clusters: Clusters) -> Floats:
    """The least and greatest displacement per target and cluster: float64 (2, targets, n, 3)."""
    corners = morph.positions[:, clusters.indices]
    starts = clusters.starts[:-1]
    reach: NDArray[np.float32] = np.stack(
        [np.minimum.reduceat(corners, starts, axis=1), np.maximum.reduceat(corners, starts, axis=1)]
    )
    return reach.astype(np.float64)
