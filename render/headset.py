"""What a headset's eyes see: views with asymmetric frusta from a head's pose. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from render.camera import Matrix, View
from render.headpose import HeadPose, beside

Which: TypeAlias = Literal["stereo", "left", "right"]


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye, and the edges of what it sees.

    right: metres from the middle between the eyes to the head's right.
    tangents: of the angles from straight ahead to the left, right, upper and lower edge; those to
        the left and down are negative, as in OpenXR's XrFovf.
    """

    right: float
    tangents: tuple[float, float, float, float]

    def middle(self) -> tuple[float, float]:
        """Where straight ahead lies in the view, from its left and top: shares of its sides."""
        left, right, up, down = self.tangents
        return -left / (right - left), up / (up - down)


@dataclass(frozen=True, slots=True)
class Headset:
    """The eyes that a session draws for, left first, and their near plane (metres)."""

    eyes: tuple[Eye, ...]
    near: float

    def views(self, pose: HeadPose) -> list[View]:
        """What each eye sees."""
        axes = pose.axes()
        made = []
        for eye in self.eyes:
            position = beside(pose, eye.right)
            view_from_world = np.eye(4)
            view_from_world[:3, :3] = axes.T
            view_from_world[:3, 3] = -axes.T @ position
            made.append(View(frustum(eye.tangents, self.near) @ view_from_world, position))
        return made


def eyes_of(
    which: Which, ipd: float, *, outwards: float, inwards: float, up: float, down: float
) -> tuple[Eye, ...]:
    """Both eyes or one of them, mirror images of each other.

    ipd: metres between them. The others: tangents of the angles from straight ahead to the edges
    at the temple, at the nose, above and below; > 0.
    """
    left = Eye(-ipd / 2, (-outwards, inwards, up, -down))
    right = Eye(ipd / 2, (-inwards, outwards, up, -down))
    return {"stereo": (left, right), "left": (left,), "right": (right,)}[which]


def frustum(tangents: tuple[float, float, float, float], near: float) -> Matrix:
    """clip_from_view of a perspective without a far plane whose axis need not be its middle.

    tangents: as of `Eye`. near: metres, > 0. See `render.camera`.
    """
    left, right, up, down = tangents
    across, upright = right - left, up - down
    return np.array(
        [
            [2 / across, 0.0, (right + left) / across, 0.0],
            [0.0, -2 / upright, -(up + down) / upright, 0.0],
            [0.0, 0.0, 0.0, near],
            [0.0, 0.0, -1.0, 0.0],
        ]
    )
