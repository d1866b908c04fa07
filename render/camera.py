"""Cameras: from an orbit pose to matrices.

Frames of reference: *world* is glTF's (metres, right-handed, +Y up). *view* is glTF's camera
frame: +X right, +Y up, looking along -Z. *clip* is Vulkan's: x right, y down, 0 <= z <= w, here
with depth reversed (z = w at the near plane, 0 at infinity). `clip_from_world` maps world to clip;
all matrices are float64 (4, 4), row-major, and multiply column vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from render.scene import Camera, Vec3, as_vec3

Matrix: TypeAlias = NDArray[np.float64]

DEFAULT_FOV = math.radians(40)
TARGET_HEIGHTS = 7  # tried between the floor and the middle
MARGIN = 1.04  # of the distance, around a box that is shown whole
MIN_ORBIT = 1e-3  # metres to the target
NEAR_FRACTION = 1e-3  # of the distance to the target: reversed float depth has precision to spare


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a tile is drawn with.

    eye: world frame, metres; of a parallel projection the direction towards it, unit length.
    """

    clip_from_world: Matrix
    eye: Vec3
    parallel: bool = False


@dataclass(frozen=True, slots=True)
class Orbit:
    """A camera that looks at a point.

    yaw: radians about +Y; at 0 the camera is on the target's +Z side, growing towards +X.
    pitch: radians above the horizontal plane. distance: metres, > 0. target: metres, world frame.
    fov: vertical field of view, radians.
    """

    yaw: float
    pitch: float
    distance: float
    target: Vec3
    fov: float = DEFAULT_FOV

    def eye(self) -> Vec3:
        """Where the camera is, world frame."""
        level = self.distance * math.cos(self.pitch)
        return (
            self.target[0] + level * math.sin(self.yaw),
            self.target[1] + self.distance * math.sin(self.pitch),
            self.target[2] + level * math.cos(self.yaw),
        )

    def view_from_world(self) -> Matrix:
        """World to view; defined at every pitch, straight up and down included."""
        cos_yaw, sin_yaw = math.cos(self.yaw), math.sin(self.yaw)
        cos_pitch, sin_pitch = math.cos(self.pitch), math.sin(self.pitch)
        axes = np.array(
            [
                [cos_yaw, 0.0, -sin_yaw],
                [-sin_pitch * sin_yaw, cos_pitch, -sin_pitch * cos_yaw],
                [cos_pitch * sin_yaw, sin_pitch, cos_pitch * cos_yaw],
            ]
        )
        view = np.eye(4)
        view[:3, :3] = axes
        view[:3, 3] = -axes @ np.array(self.eye())
        return view

    def clip_from_world(self, aspect: float) -> Matrix:
        """World to clip; aspect: width over height."""
        near = self.distance * NEAR_FRACTION
        return perspective(self.fov, aspect, near) @ self.view_from_world()

    def view(self, aspect: float) -> View:
        """What to draw with; aspect: width over height."""
        return View(self.clip_from_world(aspect), self.eye())


def camera_view(camera: Camera, world_from_camera: Matrix, aspect: float) -> View:
    """What a scene's camera sees from where it is, (3, 4); aspect: the picture's width over height.

    The height of what is seen is the camera's own, whatever aspect its file states.
    """
    axes, position = _rigid(world_from_camera)
    view_from_world = np.eye(4)
    view_from_world[:3, :3] = axes.T
    view_from_world[:3, 3] = -axes.T @ position
    if camera.fov:
        clip_from_view = (
            bounded_perspective(camera.fov, aspect, camera.near, camera.far)
            if camera.far
            else perspective(camera.fov, aspect, camera.near)
        )
        return View(clip_from_view @ view_from_world, as_vec3(position))
    clip_from_view = orthographic(camera.half_height, aspect, camera.near, camera.far)
    return View(clip_from_view @ view_from_world, as_vec3(axes[:, 2]), parallel=True)


def orbit_like(camera: Camera, world_from_camera: Matrix, centre: Vec3) -> Orbit:
    """The orbit nearest to a scene's camera (3, 4): it does not roll.

    centre: metres, world frame: the target is at its distance, straight ahead.
    """
    axes, position = _rigid(world_from_camera)
    back = axes[:, 2]
    away = float(back @ (position - centre))
    distance = (
        away if away > MIN_ORBIT else max(MIN_ORBIT, float(np.linalg.norm(position - centre)))
    )
    fov = camera.fov or 2 * math.atan(camera.half_height / distance)
    return Orbit(
        yaw=math.atan2(back[0], back[2]),
        pitch=math.asin(float(np.clip(back[1], -1, 1))),
        distance=distance,
        target=as_vec3(position - distance * back),
        fov=min(max(fov, 0.05), 2.8),
    )


def _rigid(world_from_camera: Matrix) -> tuple[Matrix, NDArray[np.float64]]:
    """Right-handed unit axes in columns (3, 3), looking along the map's -Z; and the position."""
    back = world_from_camera[:, 2] / np.linalg.norm(world_from_camera[:, 2])
    right = np.cross(world_from_camera[:, 1], back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1), world_from_camera[:, 3]


def perspective(fov: float, aspect: float, near: float) -> Matrix:
    """clip_from_view of a perspective camera without a far plane.

    fov: vertical, radians. aspect: width over height. near: metres, > 0.
    """
    focal = 1.0 / math.tan(fov / 2)
    return np.array(
        [
            [focal / aspect, 0.0, 0.0, 0.0],
            [0.0, -focal, 0.0, 0.0],
            [0.0, 0.0, 0.0, near],
            [0.0, 0.0, -1.0, 0.0],
        ]
    )


def bounded_perspective(fov: float, aspect: float, near: float, far: float) -> Matrix:
    """clip_from_view of a perspective camera that sees nothing beyond `far`; as `perspective`."""
    matrix = perspective(fov, aspect, near)
    matrix[2, 2:] = near / (far - near), near * far / (far - near)
    return matrix


def orthographic(half_height: float, aspect: float, near: float, far: float) -> Matrix:
    """clip_from_view of a parallel projection.

    half_height: metres, of the box seen. near, far: metres. Depth is 1 at near, 0 at far.
    """
    return np.array(
        [
            [1.0 / (half_height * aspect), 0.0, 0.0, 0.0],
            [0.0, -1.0 / half_height, 0.0, 0.0],
            [0.0, 0.0, 1.0 / (far - near), far / (far - near)],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def frame_bounds(low: Vec3, high: Vec3, aspect: float, fov: float = DEFAULT_FOV) -> Orbit:
    """A pose from a little above that just shows the whole box `low`..`high` (metres, world)."""
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, 8).T
    return frame_points(corners, aspect, fov, yaws=1)


def frame_points(
    points: NDArray[np.float64], aspect: float, fov: float = DEFAULT_FOV, *, yaws: int = 24
) -> Orbit:
    """A pose from a little above that shows all points, from `yaws` sides of them alike.

    points: float64 (n, 3), n >= 1, metres, world frame. The target is on the vertical axis of
    their box, at or below its centre, where the camera may come nearest.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    x, middle, z = ((low + high) / 2).tolist()
    poses = [
        _framed(
            points, Orbit(math.radians(-20), math.radians(15), 1.0, (x, y, z), fov), aspect, yaws
        )
        for y in np.linspace(low[1], middle, TARGET_HEIGHTS).tolist()
    ]
    return min(poses, key=lambda pose: pose.distance)


def _framed(points: NDArray[np.float64], pose: Orbit, aspect: float, yaws: int) -> Orbit:
    """The pose at the least distance from its target that shows all points from all sides."""
    around = (points - pose.target).T
    tan_up = math.tan(pose.fov / 2)
    distance = 1e-3
    for turn in range(yaws):
        side = replace(pose, yaw=pose.yaw + math.tau * turn / yaws)
        across, up, towards = side.view_from_world()[:3, :3] @ around
        # A point is in view if its offset from the axis is within the frustum at its depth.
        needed = towards + np.maximum(np.abs(across) / (tan_up * aspect), np.abs(up) / tan_up)
        distance = max(distance, MARGIN * float(needed.max()))
    return replace(pose, distance=distance)
