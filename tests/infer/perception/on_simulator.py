"""Run by test_cuda in a process of its own, because Numba's simulator is chosen when it is loaded.

Holds what the simulated CUDA device makes of one small sweep against what the CPU makes of it:
whole numbers are equal, others agree to the last bits of float32. Prints what was compared.
"""

import numpy as np

from infer.cuda_devices import simulator

simulator()

from infer.kernels.gpu import motion as motion_there  # noqa: E402
from infer.kernels.gpu.voxels import CudaVoxeliser  # noqa: E402
from infer.perception.motion import Motion, deskew  # noqa: E402
from infer.perception.voxels import Voxeliser, VoxelSpace  # noqa: E402

POINTS = 600
TINY = 2e-6


def sweep():
    """Ground and walls; a few points that are no measurement, and a dense spot."""
    rng = np.random.default_rng(5)
    points = np.zeros((POINTS, 4), np.float32)
    points[:, :2] = rng.uniform(-7, 7, (POINTS, 2))
    points[:, 2] = -1.7 + rng.normal(0, 0.02, POINTS)
    points[:150, :3] = rng.uniform((3, 2, -1.7), (5, 3, 0), (150, 3))
    points[150:200, :3] = (1.1, 1.1, -1.0)
    points[::50, 0] = np.nan
    points[:, 3] = rng.uniform(0, 1, POINTS)
    points.flags.writeable = False
    return points


def voxels(points):
    space = VoxelSpace((-8, -8, -3), (8, 8, 1), (0.5, 0.5, 2.0), 5, 300, with_height=True)
    here, there = Voxeliser(space, POINTS), CudaVoxeliser(space, POINTS)
    for part in (points, points[:50]):  # what is left of the first does not show in the second
        one, other = here.encode(part), there.encode(part)
        np.testing.assert_array_equal(one.coordinates, other.coordinates)
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_allclose(one.features, other.features, atol=TINY)
        assert one.lost_voxels == other.lost_voxels


def motion(points):
    offsets = np.linspace(-0.05, 0.05, POINTS).astype(np.float32)
    turning = Motion.constant((15, 0, 0), (0, 0, 0.35))
    here = deskew(points, offsets, turning)
    np.testing.assert_allclose(here, motion_there.deskew(points, offsets, turning), atol=TINY)


if __name__ == "__main__":
    scene = sweep()
    for compare in (voxels, motion):
        compare(scene)
        print(compare.__name__)
