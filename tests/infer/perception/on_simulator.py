"""Run by test_cuda in a process of its own, because Numba's simulator is chosen when it is loaded.

Holds what the simulated CUDA device makes of one small sweep against what the CPU makes of it:
whole numbers are equal, others agree to the last bits of float32. Prints what was compared.
"""

import numpy as np

from infer.cuda_devices import simulator

simulator()

from infer.kernels.gpu import motion as motion_there  # noqa: E402
from infer.kernels.gpu import plane as plane_there  # noqa: E402
from infer.kernels.gpu.components import CudaClusterer  # noqa: E402
from infer.kernels.gpu.voxels import CudaVoxeliser  # noqa: E402
from infer.perception.area import Area  # noqa: E402
from infer.perception.clusters import Clusterer  # noqa: E402
from infer.perception.ground import GroundFinder, PlaneSearch  # noqa: E402
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


def ground_and_clusters(points):
    search = PlaneSearch(area=Area(8, 1), trials=20)
    here, there = GroundFinder(search, POINTS).find(points), plane_there.find(points, search)
    assert here.inliers == there.inliers > 300
    np.testing.assert_allclose(here.slope_x, there.slope_x, atol=1e-5)
    np.testing.assert_allclose(here.height_m, there.height_m, atol=1e-4)
    np.testing.assert_array_equal(here.labels, there.labels)
    yard = Area(8, 0.5)
    one = Clusterer(yard, POINTS).cluster(points, here.labels)
    other = CudaClusterer(yard, POINTS).cluster(points, here.labels)
    assert one.count == other.count >= 2
    pairs = set(zip(one.of_point.tolist(), other.of_point.tolist(), strict=True))
    assert len(pairs) == one.count + 1  # each number there is one number here


if __name__ == "__main__":
    scene = sweep()
    for compare in (voxels, motion, ground_and_clusters):
        compare(scene)
        print(compare.__name__)
