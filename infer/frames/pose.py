"""Rigid motions that know between which frames of reference they go.

`Pose("world", "ego", ...)` is `world_from_ego`: it takes coordinates in `ego` to coordinates in
`world`, and says where the ego frame stands in the world. Poses are composed by name,
`world_from_ego @ ego_from_lidar`, and what does not fit together is an error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mesh.core.errors import Misuse

_TOLERANCE = 1e-3  # of a rotation read from text: KITTI's have seven digits


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """target_from_source. rotation: float64 (3, 3); translation: float64 (3,), metres.

    Both are read-only. Raises Misuse if they are no rigid motion.
    """

    target: str
    source: str
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, shape in (("rotation", (3, 3)), ("translation", (3,))):
            array = np.array(getattr(self, name), np.float64)
            if array.shape != shape or not np.isfinite(array).all():
                raise self._wrong(f"its {name} has the shape {array.shape}, or is not finite")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        away = np.abs(self.rotation @ self.rotation.T - np.eye(3)).max()
        if away > _TOLERANCE or np.linalg.det(self.rotation) < 0:
            raise self._wrong("its rotation turns right angles into others, or mirrors")

    @property
    def name(self) -> str:
        """As in code: `world_from_ego`."""
        return f"{self.target}_from_{self.source}"

    @classmethod
    def identity(cls, target: str, source: str) -> Pose:
        """The two frames coincide."""
        return cls(target, source, np.eye(3), np.zeros(3))

    @classmethod
    def from_matrix(cls, target: str, source: str, matrix: ArrayLike) -> Pose:
        """Of a (3, 4) or (4, 4) matrix. Raises Misuse."""
        rows = np.asarray(matrix, np.float64)
        return cls(target, source, rows[:3, :3], rows[:3, 3])

    @classmethod
    def from_quaternion(
        cls, target: str, source: str, wxyz: ArrayLike, translation: ArrayLike
    ) -> Pose:
        """Of a quaternion (w, x, y, z) of any length but 0 (Hamilton's). Raises Misuse."""
        q = np.asarray(wxyz, np.float64)
        length = float(np.linalg.norm(q)) if q.shape == (4,) else 0.0
        if not 1e-6 < length < np.inf:
            raise Misuse(
                what=f"{target}_from_{source} is no rigid motion",
                why=f"{q.tolist()} is no quaternion that turns anything",
                fix="Give w, x, y, z, not all zero.",
            )
        w, x, y, z = q / length
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        return cls(target, source, rotation, np.asarray(translation, np.float64))

    def quaternion(self) -> NDArray[np.float64]:
        """(w, x, y, z) of length 1, w >= 0.

        I. Y. Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix",
        Journal of Guidance, Control and Dynamics 23(6), 2000: the eigenvector of a matrix, which
        also makes the best of a rotation that was rounded.
        """
        r = self.rotation
        k = np.array(
            [
                [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
                [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
                [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], 0],
                [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], np.trace(r)],
            ]
        )
        x, y, z, w = np.linalg.eigh(k / 3)[1][:, -1]  # of the lower triangle
        found = np.array([w, x, y, z])
        return found if w >= 0 else -found

    def matrix(self) -> NDArray[np.float64]:
        """(4, 4), homogeneous."""
        made = np.eye(4)
        made[:3, :3], made[:3, 3] = self.rotation, self.translation
        return made

    def inverse(self) -> Pose:
        """source_from_target."""
        back = self.rotation.T
        return Pose(self.source, self.target, back, -back @ self.translation)

    def __matmul__(self, other: Pose) -> Pose:
        """a_from_b @ b_from_c is a_from_c. Raises Misuse if the names do not meet."""
        if self.source != other.target:
            raise Misuse(
                what=f"{self.name} @ {other.name} means nothing",
                why=f"one takes coordinates in {self.source}, the other gives them in "
                f"{other.target}",
                fix="Compose a_from_b @ b_from_c; `inverse` turns one around.",
            )
        return Pose(
            self.target,
            other.source,
            self.rotation @ other.rotation,
            self.rotation @ other.translation + self.translation,
        )

    def apply(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Positions (..., 3) in `source` as positions in `target`."""
        moved: NDArray[np.float64] = points @ self.rotation.T + self.translation
        return moved

    def between(self, later: Pose, share: float) -> Pose:
        """A part of the way to a later pose of the same frames: constant speed and turn rate.

        share: 0 is this pose, 1 the later; others go on before and beyond. Raises Misuse.
        """
        if (self.target, self.source) != (later.target, later.source):
            raise Misuse(
                what=f"there is no way from {self.name} to {later.name}",
                why="they are of different frames of reference",
                fix="Interpolate between poses of the same two frames.",
            )
        # On the unit quaternions, the shorter way round (K. Shoemake, "Animating rotation with
        # quaternion curves", SIGGRAPH 1985).
        one, other = self.quaternion(), later.quaternion()
        cosine = float(one @ other)
        if cosine < 0:
            other, cosine = -other, -cosine
        angle = np.arccos(min(cosine, 1.0))
        if angle < 1e-9:
            turned = one
        else:
            turned = np.sin((1 - share) * angle) * one + np.sin(share * angle) * other
        moved = (1 - share) * self.translation + share * later.translation
        return Pose.from_quaternion(self.target, self.source, turned, moved)

    def _wrong(self, why: str) -> Misuse:
        return Misuse(
            what=f"{self.name} is no rigid motion", why=why, fix="Check where it was read from."
        )
