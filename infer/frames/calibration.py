"""Where sensors are mounted, as a tree of frames of reference, and how cameras see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infer.frames.pose import Pose
from mesh.core.errors import Misuse

MAX_FRAMES = 256


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """How a camera sees: projection (3, 4), pixels from metres in its frame, z ahead.

    size: width and height, pixels. distortion: radial k1, k2, k3; zeros where pictures are
    rectified.
    """

    projection: NDArray[np.float64]
    size: tuple[int, int]
    distortion: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def pinhole(
        cls,
        focal: tuple[float, float],
        centre: tuple[float, float],
        size: tuple[int, int],
        distortion: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Camera:
        """Of focal lengths and principal point in pixels."""
        rows = np.zeros((3, 4))
        rows[0, 0], rows[1, 1] = focal
        rows[:2, 2], rows[2, 2] = centre, 1
        return cls(rows, size, distortion)

    def project(
        self, points: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Points (n, 3) in the camera's frame as pixels (n, 2), and which are in the picture.

        A pixel's centre has whole coordinates. Distortion is radial, before the projection (Brown,
        "Decentering distortion of lenses", 1966). Of what is not ahead, the pixels mean nothing.
        """
        points = np.asarray(points, np.float64)
        ahead = points[:, 2] > 1e-6
        z = np.where(ahead, points[:, 2], 1.0)
        rays = points[:, :2] / z[:, None]
        r2 = (rays**2).sum(axis=1)
        k1, k2, k3 = self.distortion
        bent = rays * (1 + r2 * (k1 + r2 * (k2 + r2 * k3)))[:, None]
        rows = np.column_stack((bent * z[:, None], z, np.ones(len(z)))) @ self.projection.T
        depth = np.where(np.abs(rows[:, 2]) > 1e-9, rows[:, 2], 1.0)
        pixels = rows[:, :2] / depth[:, None]
        inside = (pixels >= -0.5) & (pixels < np.array(self.size) - 0.5)
        return pixels, ahead & (rows[:, 2] > 1e-9) & inside.all(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A tree of frames of reference, `poses` its edges in either direction, and the cameras.

    cameras: by sensor; what they project is in the frame of reference of their pictures. Raises
    Misuse if the poses are no tree: two ways between two frames could disagree.
    """

    poses: tuple[Pose, ...]
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    _parent: dict[str, Pose] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parent", _rooted(self.poses))

    @property
    def frames(self) -> frozenset[str]:
        """The names of all frames of reference."""
        return frozenset(name for pose in self.poses for name in (pose.target, pose.source))

    def pose(self, target: str, source: str) -> Pose:
        """target_from_source along the tree. Raises Misuse if there is no way."""
        up, down = self._to_root(source), self._to_root(target)
        if up.target != down.target:
            raise Misuse(
                what=f"{target}_from_{source} is not known",
                why="the calibration has no way between the two",
                fix=f"Its frames of reference are {', '.join(sorted(self.frames)) or 'none'}.",
            )
        return down.inverse() @ up

    def _to_root(self, name: str) -> Pose:
        """root_from_name; a name that is not in the tree is a root of its own."""
        way = Pose.identity(name, name)
        while (edge := self._parent.get(way.target)) is not None:
            way = edge @ way
        return way


def _rooted(poses: Iterable[Pose]) -> dict[str, Pose]:
    """parent_from_child of each frame of reference that is not a root. Raises Misuse."""
    edges: dict[str, list[Pose]] = {}
    for pose in poses:
        edges.setdefault(pose.target, []).append(pose)
        edges.setdefault(pose.source, []).append(pose.inverse())
    if len(edges) > MAX_FRAMES:
        raise _no_tree(f"it has {len(edges)} frames of reference, and at most {MAX_FRAMES} go")
    parent: dict[str, Pose] = {}
    seen: set[str] = set()
    for root in edges:
        waiting = [root] if root not in seen else []
        seen.add(root)
        while waiting:
            here = waiting.pop()
            came = parent[here].target if here in parent else None
            beyond = [edge for edge in edges[here] if edge.source != came]
            if len(beyond) < len(edges[here]) - (came is not None):
                raise _no_tree(f"there are two poses between {came} and {here}")
            for edge in beyond:  # edge is here_from_there
                if edge.source in seen:
                    raise _no_tree(f"there are two ways to {edge.source}")
                seen.add(edge.source)
                parent[edge.source] = edge
                waiting.append(edge.source)
    return parent


def _no_tree(why: str) -> Misuse:
    return Misuse(
        what="the calibration is refused",
        why=why,
        fix="Give one pose for each frame and its parent.",
    )
