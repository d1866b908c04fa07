"""Where a headset is: what a client sends, and what it is told its frame was drawn from. Pure.

The frame is the scene's world (metres, right-handed, +Y up); a head at rest looks along -Z, as in
WebXR and OpenXR. A client that tracks in a space of its own says where that lies in the world by
sending poses in the world.
"""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused
from render.camera import Orbit
from render.scene import Vec3, as_vec3

UNIT_TOLERANCE = 1e-2  # of a quaternion's length: float32 trackers drift by much less

Coordinate: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]
Component: TypeAlias = Annotated[float, Meta(ge=-1.1, le=1.1)]
Quaternion: TypeAlias = tuple[Component, Component, Component, Component]


class HeadPose(msgspec.Struct, frozen=True):
    """A head, between its eyes, at the instant that a frame is to be shown.

    id: the client's own. position: metres, world frame. orientation: world from head, a unit
    quaternion (x, y, z, w). display_us: that instant, on the client's clock; only echoed.
    """

    id: Annotated[int, Meta(ge=0, lt=2**32)]
    position: tuple[Coordinate, Coordinate, Coordinate]
    orientation: Quaternion
    display_us: Annotated[int, Meta(ge=-(2**53), le=2**53)] = 0

    def axes(self) -> NDArray[np.float64]:
        """The head's right, up and back in the world, as columns: float64 (3, 3)."""
        x, y, z, w = self.orientation
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )

    def normalised(self) -> HeadPose:
        """With an orientation of unit length. Raises ContentRefused if it is far from that."""
        length = math.hypot(*self.orientation)
        if not abs(length - 1) <= UNIT_TOLERANCE:
            raise ContentRefused(
                what="the pose is refused",
                why=f"its orientation has length {length:.3g}",
                fix="Send a unit quaternion: x, y, z, w.",
            )
        x, y, z, w = (part / length for part in self.orientation)
        return msgspec.structs.replace(self, orientation=(x, y, z, w))


def head_of(orbit: Orbit) -> HeadPose:
    """The head of somebody who looks as an orbit camera does."""
    # About +Y by yaw, then about the head's own +X by -pitch.
    sin_yaw, cos_yaw = math.sin(orbit.yaw / 2), math.cos(orbit.yaw / 2)
    sin_pitch, cos_pitch = math.sin(-orbit.pitch / 2), math.cos(-orbit.pitch / 2)
    return HeadPose(
        id=0,
        position=as_vec3(np.array(orbit.eye())),
        orientation=(
            cos_yaw * sin_pitch,
            sin_yaw * cos_pitch,
            -sin_yaw * sin_pitch,
            cos_yaw * cos_pitch,
        ),
    )


def beside(pose: HeadPose, right: float) -> Vec3:
    """The point `right` metres to the head's right, world frame."""
    return as_vec3(np.array(pose.position) + right * pose.axes()[:, 0])
