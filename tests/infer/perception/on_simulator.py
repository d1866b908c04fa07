"""Run by test_cuda in a process of its own, because Numba's simulator is chosen when it is loaded.

Holds what the simulated CUDA device makes of one small sweep against what the CPU's loops make of
it: whole numbers are equal, others agree to the last bits of float32. Prints what was compared.
The loops run as plain Python here, which saves compiling them; compiled, they are held against the
references by the other tests.
"""

import os

os.environ["NUMBA_DISABLE_JIT"] = "1"

import numpy as np

from infer.cuda_devices import simulator

simulator()

from infer.kernels.gpu import motion as motion_there  # noqa: E402
from infer.kernels.gpu import nms as nms_there  # noqa: E402
from infer.kernels.gpu import painting as painting_there  # noqa: E402
from infer.kernels.gpu import plane as plane_there  # noqa: E402
from infer.kernels.gpu import radar as radar_there  # noqa: E402
from infer.kernels.gpu import rectangles as rectangles_there  # noqa: E402
from infer.kernels.gpu import tracks as tracks_there  # noqa: E402
from infer.kernels.gpu.components import CudaClusterer  # noqa: E402
from infer.kernels.gpu.occupancy import CudaOccupancy  # noqa: E402
from infer.kernels.gpu.range_image import CudaRangeImager  # noqa: E402
from infer.kernels.gpu.voxels import CudaVoxeliser  # noqa: E402
from infer.perception.area import Area  # noqa: E402
from infer.perception.clusters import Clusterer  # noqa: E402
from infer.perception.ground import GroundFinder, PlaneSearch  # noqa: E402
from infer.perception.motion import Motion, deskew  # noqa: E402
from infer.perception.nms import iou, suppress  # noqa: E402
from infer.perception.occupancy import Belief, OccupancyGrid  # noqa: E402
from infer.perception.painting import PinholeView, paint  # noqa: E402
from infer.perception.radar import Radar, associate  # noqa: E402
from infer.perception.range_image import RangeImager, View  # noqa: E402
from infer.perception.rectangles import fit_rectangles, grouped_by  # noqa: E402
from infer.perception.voxels import Voxeliser, VoxelSpace  # noqa: E402
from infer.track.assignment import assigned  # noqa: E402
from infer.track.overlap import overlaps  # noqa: E402
from infer.track.tracks import Beliefs, born  # noqa: E402
from infer.track.turning import born_turning  # noqa: E402

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
    times = np.linspace(-50_000, 50_000, POINTS).astype(np.int32)
    turning = Motion.constant((15, 0, 0), (0, 0, 0.35))
    here = deskew(points, times, turning)
    np.testing.assert_allclose(here, motion_there.deskew(points, times, turning), atol=TINY)


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


def range_image(points):
    view = View(16, 64, 20, -60)
    here, there = RangeImager(view).picture(points), CudaRangeImager(view).picture(points)
    assert (here.index != there.index).sum() <= 2  # square roots are float64's in the simulator
    assert (here.index >= 0).sum() > 200


def occupancy(points):
    yard, belief = Area(8, 0.5), Belief()
    labels = np.where(points[:, 2] > -1.6, 2, 1).astype(np.uint8)
    here, there = OccupancyGrid(yard, belief, POINTS), CudaOccupancy(yard)
    for stamp_us, moved in enumerate((0, 1)):
        keep = np.exp(-stamp_us / 1e6 / belief.fade_s)
        field = np.array((0, 0, belief.ceiling_m, keep, belief.hit, belief.free, belief.most))
        here.update(points, labels, (moved * yard.cell_m, 0.0), stamp_us)
        log_odds = there.update(points, labels, field.astype(np.float32), (0, moved))
        assert (np.abs(here.log_odds - log_odds) > TINY).sum() <= 2
    assert (here.log_odds < 0).sum() > 50
    assert (here.log_odds > 0).sum() > 10


def painting(points):
    matrix = np.array([[50, -100, 0, 0], [50, 0, -100, 0], [1, 0, 0, 0]])
    picture = np.random.default_rng(1).uniform(0, 1, (100, 100, 3)).astype(np.float32)
    cameras = [(PinholeView(matrix, 100, 100), picture)]
    here, there = paint(points, cameras), painting_there.paint(points, cameras)
    np.testing.assert_array_equal(here.seen_by, there.seen_by)
    np.testing.assert_array_equal(here.channels, there.channels)
    assert (here.seen_by == 0).sum() > 20


def nms(points):
    boxes = np.abs(points[200:240, [0, 1, 3, 3, 2]]) * np.float32(1.5)
    scores = points[200:240, 3]
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    scores = scores[: len(boxes)]
    np.testing.assert_allclose(
        iou(boxes[:9], boxes[9:]), nms_there.iou(boxes[:9], boxes[9:]), atol=1e-5
    )
    kept = suppress(boxes, scores, 0.05)
    np.testing.assert_array_equal(kept, nms_there.suppress(boxes, scores, 0.05))
    assert 5 < len(kept) < len(boxes)


def radar(points):
    seen = points[201:249, :2]
    away, azimuth = np.hypot(*seen.T), np.arctan2(seen[:, 1], seen[:, 0])
    zero = np.zeros_like(away)
    targets = np.stack((away, azimuth, zero, zero, zero), axis=1)
    objects = np.zeros((6, 4), np.float32)
    objects[:, :2] = seen[::8]
    covariances = np.repeat(np.eye(4, dtype=np.float32)[None], 6, axis=0)
    here = associate(targets, objects, covariances, Radar())
    there = radar_there.associate(targets, objects, covariances, Radar())
    np.testing.assert_array_equal(here.object_of, there.object_of)
    np.testing.assert_array_equal(here.target_of, there.target_of)
    np.testing.assert_allclose(here.distances, there.distances, atol=1e-4)
    assert (here.object_of >= 0).sum() > 6


def followed(begin):
    """Six objects seen three times, here and there, one of them the wrong way round."""
    rng, believes = np.random.default_rng(2), Beliefs()
    boxes = rng.normal(size=(6, 7)) * (20, 20, 1, 0.2, 0.2, 0.2, 2) + (0, 0, 0, 4, 2, 1.5, 0)
    here = there = begin(0.0, np.arange(6), boxes, np.ones(6), believes)
    for k in range(1, 3):
        seen = boxes + rng.normal(scale=0.2, size=boxes.shape)
        seen[0, 6] += np.pi
        here = here.at(0.1 * k, believes).corrected(seen, np.ones(6), believes)
        there = tracks_there.advanced(there, 0.1 * k, believes)
        there = tracks_there.corrected(there, seen, np.ones(6), believes)
    here, there = here.at(0.5, believes), tracks_there.advanced(there, 0.5, believes)
    for name, known in here.state().items():
        np.testing.assert_allclose(known, getattr(there, name), rtol=1e-4, atol=1e-4)
    assert np.abs(here.velocity).max() > 0.1


def tracks(points):
    followed(born)


def turning_tracks(points):
    followed(born_turning)


def assignments(points):
    rng = np.random.default_rng(4)
    boxes = rng.uniform((-5, -5, -1, 1, 1, 1, -3), (5, 5, 1, 5, 3, 2, 3), (9, 7))
    for generalised in (False, True):
        rated = overlaps(boxes[:4], boxes[3:], generalised)
        found = tracks_there.overlaps(boxes[:4], boxes[3:], generalised)
        np.testing.assert_allclose(rated, found, atol=1e-5)
    costs = np.stack((-rated, rng.normal(size=(4, 6))))
    best = np.stack([assigned(problem) for problem in costs])
    np.testing.assert_array_equal(best, tracks_there.assigned(costs))


def rectangles(points):
    of_point = np.full(POINTS, -1, np.int32)
    of_point[1:50], of_point[200:240] = 0, 2
    groups = grouped_by(of_point, 3)
    here, there = fit_rectangles(points, *groups), rectangles_there.fit_rectangles(points, *groups)
    np.testing.assert_allclose(here.angles, there.angles)
    np.testing.assert_allclose(here.sides, there.sides, atol=1e-5)
    assert here.sides[0].any()


COMPARED = (
    voxels,
    motion,
    ground_and_clusters,
    range_image,
    occupancy,
    painting,
    nms,
    radar,
    tracks,
    turning_tracks,
    assignments,
    rectangles,
)

if __name__ == "__main__":
    scene = sweep()
    for compare in COMPARED:
        compare(scene)
        print(compare.__name__)
