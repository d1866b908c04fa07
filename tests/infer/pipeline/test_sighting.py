"""What goes up of a frame: one scan, its skew taken out where times and motion are known."""

from __future__ import annotations

import numpy as np
import pytest

from infer.frames.bundle import SensorFrame
from infer.frames.calibration import Calibration
from infer.frames.measurements import EgoPose, LidarScan
from infer.frames.pose import Pose
from infer.perception import se3
from infer.pipeline.sighting import Preparation, sensor_pose

TWIST = np.array([15.0, 0.2, 0, 0, 0, np.radians(20)])  # of the LiDAR, its own frame
EGO_FROM_LIDAR = Pose("ego", "lidar", np.eye(3), np.array([1.0, 0, 1.7]))
MOUNTED = Calibration((EGO_FROM_LIDAR,))


def pose_at(seconds: float) -> EgoPose:
    lidar = Pose.from_matrix("world", "lidar", se3.exp(TWIST * seconds))
    return EgoPose("gnss", round(seconds * 1e6), lidar @ EGO_FROM_LIDAR.inverse())


def frame(k: int, ego: EgoPose | None, *, timed: bool = True, calibration=MOUNTED) -> SensorFrame:
    """A tenth of a second after the one before: what stands still, as a moving LiDAR sees it."""
    rng = np.random.default_rng(3)
    world = np.concatenate((rng.uniform(-40, 40, (500, 3)), np.ones((500, 1))), axis=1)
    times_us = np.linspace(-50_000, 50_000, 500).astype(np.int32)
    motions = se3.exp(np.outer(k / 10 + times_us / 1e6, TWIST))
    points = np.zeros((500, 4), np.float32)
    points[:, :3] = np.einsum("nij,nj->ni", np.linalg.inv(motions), world)[:, :3]
    scan = LidarScan("top", "lidar", k * 100_000, points, times_us if timed else None)
    return SensorFrame(k * 100_000, calibration, (scan,), ego=ego)


def test_skew_is_taken_out_from_the_second_frame_on():
    preparation = Preparation()
    first, *later = [preparation.prepare(frame(k, pose_at(k / 10))) for k in range(3)]
    assert not first.deskewed
    for k, sighting in enumerate(later, 1):
        assert sighting.deskewed
        world = sighting.world_from_sensor.apply(sighting.scan.points[:, :3])
        skewed = sighting.world_from_sensor.apply(frame(k, None).lidars[0].points[:, :3])
        truth = np.random.default_rng(3).uniform(-40, 40, (500, 3))
        assert np.abs(world - truth).max() < 1e-3
        assert np.abs(skewed - truth).max() > 0.5


@pytest.mark.parametrize(
    ("second", "options"),
    [
        (frame(1, pose_at(0.1), timed=False), {}),
        (frame(1, None), {}),
        (frame(1, pose_at(0.1)), {"compensated": True}),
        (frame(1, pose_at(30.0)), {}),  # the pose jumps
        (frame(20, pose_at(2.0)), {}),  # nothing for so long
        (frame(0, pose_at(0.0)), {}),
        (frame(1, pose_at(0.1), calibration=Calibration(())), {}),
    ],
    ids=["no times", "no pose", "compensated", "jump", "gap", "same time", "not mounted"],
)
def test_what_is_not_known_to_be_skewed_stays_as_it_is(second, options):
    preparation = Preparation(**options)
    preparation.prepare(frame(0, pose_at(0.0)))
    sighting = preparation.prepare(second)
    assert not sighting.deskewed
    np.testing.assert_array_equal(sighting.scan.points, second.lidars[0].points)


def test_the_sensor_is_where_the_vehicle_carries_it():
    here = sensor_pose(frame(1, pose_at(0.1)), "lidar")
    np.testing.assert_allclose(here.matrix(), se3.exp(TWIST * 0.1), atol=1e-9)
    assert sensor_pose(frame(1, None), "lidar") is None
    assert sensor_pose(frame(1, pose_at(0.1)), "another") is None
    assert Preparation().prepare(SensorFrame(0, MOUNTED)) is None
