"""Points seen by a camera, and what its picture says of them.

`camera` is float32: the rows of pixel_from_lidar (3, 4), then width, height and the least depth.
After S. Vora et al., "PointPainting: Sequential Fusion for 3D Object Detection", CVPR 2020.
"""

# ruff: noqa: PLR0917  a kernel takes as many arrays as it works on, by position

from __future__ import annotations

import numpy as np

from infer.kernels.bodies.shared import Array

WIDTH, HEIGHT, LEAST_DEPTH = range(12, 15)
CAMERA_FIELDS = 15
NOT_SEEN = -1

EDGE_OF_PICTURE = np.float32(0)
NEAREST_PIXEL = np.float32(0.5)


def project_point(i: int, points: Array, camera: Array, pixels: Array) -> None:
    """Where point i is in the picture, u right, v down, and its depth; u and v 0 from behind."""
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    u = camera[0] * x + camera[1] * y + camera[2] * z + camera[3]
    v = camera[4] * x + camera[5] * y + camera[6] * z + camera[7]
    depth = camera[8] * x + camera[9] * y + camera[10] * z + camera[11]
    pixels[i, 2] = depth
    if depth >= camera[LEAST_DEPTH]:
        pixels[i, 0], pixels[i, 1] = u / depth, v / depth
    else:
        pixels[i, 0] = pixels[i, 1] = EDGE_OF_PICTURE


def paint_point(
    i: int, number: int, camera: Array, pixels: Array, image: Array, painted: Array, seen_by: Array
) -> None:
    """Give point i its nearest pixel's channels, if this camera sees it and none did before."""
    if seen_by[i] != NOT_SEEN or not pixels[i, 2] >= camera[LEAST_DEPTH]:
        return
    u, v = pixels[i, 0] + NEAREST_PIXEL, pixels[i, 1] + NEAREST_PIXEL
    inside = u >= EDGE_OF_PICTURE and v >= EDGE_OF_PICTURE
    if inside and u < camera[WIDTH] and v < camera[HEIGHT]:
        for channel in range(image.shape[2]):
            painted[i, channel] = image[int(v), int(u), channel]
        seen_by[i] = number
