"""The sensors of the vehicle that drives: where they are and how they see."""

from __future__ import annotations

import numpy as np

from infer.frames.calibration import Calibration, Camera
from infer.frames.pose import Pose

LIDAR, CAMERA, RADAR = "lidar", "camera", "radar"  # sensors, and their frames of reference
LIDAR_HEIGHT_M = 1.73
CAMERA_PLACE = (0.27, 0.0, 1.65)
RADAR_PLACE = (2.1, 0.0, 0.55)
PICTURE = (1248, 384)
FOCAL_PX = 720.0

_AHEAD = np.array(((0.0, 0.0, 1.0), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)))  # ego from camera


def calibration() -> Calibration:
    """ego, lidar, camera (x right, y down, z ahead) and radar; all of them level, looking ahead."""
    poses = (
        Pose("ego", LIDAR, np.eye(3), np.array((0.0, 0.0, LIDAR_HEIGHT_M))),
        Pose("ego", CAMERA, _AHEAD, np.array(CAMERA_PLACE)),
        Pose("ego", RADAR, np.eye(3), np.array(RADAR_PLACE)),
    )
    return Calibration(poses, {CAMERA: pinhole()})


def pinhole() -> Camera:
    """A camera without distortion that looks through the middle of its picture."""
    width, height = PICTURE
    return Camera.pinhole((FOCAL_PX, FOCAL_PX), ((width - 1) / 2, (height - 1) / 2), PICTURE)
