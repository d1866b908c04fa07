"""LiDAR points in cameras' pictures: projection, and painting with what the pictures say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infer.kernels.bodies.painting import CAMERA_FIELDS, HEIGHT, LEAST_DEPTH, NOT_SEEN, WIDTH
from infer.kernels.threads import kernels_for
from infer.perception.clouds import checked
from mesh.core.errors import Misuse

MOST_POINTS = (1 << 31) - 1


@dataclass(frozen=True, slots=True, eq=False)
class PinholeView:
    """A camera as points see it. pixel_from_lidar: (3, 4), projects points to u d, v d, depth d.

    That is KITTI's P2 R0_rect Tr_velo_to_cam, or a camera's matrix times camera_from_lidar. Pixels'
    centres are whole numbers. least_depth_m: what is nearer, or behind, is not seen.
    """

    pixel_from_lidar: ArrayLike
    width: int
    height: int
    least_depth_m: float = 0.1

    def parameters(self) -> NDArray[np.float32]:
        """What kernels take. Raises Misuse for another shape."""
        matrix = np.asarray(self.pixel_from_lidar, np.float64)
        if matrix.shape != (3, 4) or not np.isfinite(matrix).all() or self.least_depth_m <= 0:
            raise Misuse(
                what="this is no camera",
                why=f"its matrix is {matrix.shape}, from {self.least_depth_m} m on",
                fix="Give a finite (3, 4) matrix and a depth above 0.",
            )
        values = np.empty(CAMERA_FIELDS, np.float32)
        values[: matrix.size] = matrix.ravel()
        values[WIDTH], values[HEIGHT] = self.width, self.height
        values[LEAST_DEPTH] = self.least_depth_m
        return values


def project(
    points: NDArray[np.float32], camera: PinholeView, *, threads: int = 1
) -> NDArray[np.float32]:
    """u, v and depth of float32 (n, 4) points, float32 (n, 3); u and v 0 from behind."""
    points = checked(points, MOST_POINTS)
    pixels = np.empty((len(points), 3), np.float32)
    kernels_for(threads).project_points(points, camera.parameters(), pixels, threads)
    return pixels


@dataclass(frozen=True, slots=True)
class Painted:
    """channels: as the pictures', (n, c), 0 where no camera sees a point.

    seen_by: int32 (n,), which camera, -1 for none.
    """

    channels: NDArray[np.float32]
    seen_by: NDArray[np.int32]


def paint(
    points: NDArray[np.float32],
    cameras: list[tuple[PinholeView, NDArray[np.float32]]],
    *,
    threads: int = 1,
) -> Painted:
    """Give each point what the first camera that sees it says of its nearest pixel.

    cameras: each with its picture, float32 (height, width, c): colours, or a class's scores. What
    hides a point from the camera but not from the LiDAR is not looked for. Raises Misuse for
    pictures of other sizes.
    """
    points = checked(points, MOST_POINTS)
    channels = cameras[0][1].shape[-1] if cameras else 0
    painted = np.zeros((len(points), channels), np.float32)
    seen_by = np.full(len(points), NOT_SEEN, np.int32)
    pixels = np.empty((len(points), 3), np.float32)
    for number, (camera, picture) in enumerate(cameras):
        if picture.shape != (camera.height, camera.width, channels) or picture.dtype != np.float32:
            raise Misuse(
                what=f"the picture of camera {number} does not fit",
                why=f"it is {picture.dtype} {picture.shape}",
                fix=f"Give float32 ({camera.height}, {camera.width}, {channels}).",
            )
        parameters = camera.parameters()
        image = np.ascontiguousarray(picture).view()
        image.flags.writeable = False
        kernels_for(threads).project_points(points, parameters, pixels, threads)
        kernels_for(threads).paint_points(
            number, parameters, pixels, image, painted, seen_by, threads
        )
    return Painted(painted, seen_by)
