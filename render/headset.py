"""What a headset's eyes see: views with asymmetric frusta from a head's pose. Pure."""

from __future__ import annotations

import math
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
    turn: radians about the head's +Y, to the left, from where the head looks to the view's axis.
    tangents: of the angles from that axis to the left, right, upper and lower edge; those to the
        left and down are negative, as in OpenXR's XrFovf.
    """

    right: float
    turn: float
    tangents: tuple[float, float, float, float]

    def middle(self) -> tuple[float, float]:
        """Where the head looks, in the view, from its left and top: shares of its sides."""
        left, right, up, down = self.tangents
        return (math.tan(self.turn) - left) / (right - left), up / (up - down)

    def axes(self) -> Matrix:
        """The view's right, up and back in the head's frame, as columns: float64 (3, 3)."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


@dataclass(frozen=True, slots=True)
class Headset:
    """The eyes that a session draws for, left first, and their near plane (metres)."""

    eyes: tuple[Eye, ...]
    near: float

    def views(self, pose: HeadPose) -> list[View]:
        """What each eye sees."""
        made = []
        for eye in self.eyes:
            axes, position = pose.axes() @ eye.axes(), beside(pose, eye.right)
            view_from_world = np.eye(4)
            view_from_world[:3, :3] = axes.T
            view_from_world[:3, 3] = -axes.T @ position
            made.append(View(frustum(eye.tangents, self.near) @ view_from_world, position))
        return made


def eyes_of(
    which: Which,
    ipd: float,
    cant: float = 0.0,
    *,
    outwards: float,
    inwards: float,
    up: float,
    down: float,
) -> tuple[Eye, ...]:
    """Both eyes or one of them, mirror images of each other.

    ipd: metres between them. cant: radians that each view's axis is turned outwards. The others:
    tangents of the angles from that axis to the edges at the temple, at the nose, above and below;
    > 0.
    """
    left = Eye(-ipd / 2, cant, (-outwards, inwards, up, -down))
    right = Eye(ipd / 2, -cant, (-inwards, outwards, up, -down))
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
