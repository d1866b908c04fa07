"""The perception kernels on a full sweep: time, error, and libraries doing the same beside them.

The sweep is the first of the KITTI clip (114,278 points), else a synthetic one. Timed is one call,
from points in memory to the result in memory, warm (WARM_UP calls thrown away) and with its
scratch kept, as a vehicle's loop has it; medians. Ours take one thread and two, each library as
many as it likes of the two there are. All that is compared takes turns, round by round.

Error is against the NumPy float64 reference (`infer/kernels/references`) on the same sweep.

NMS, radar and tracks have made-up boxes, targets and objects, in the numbers that a busy street
has. A track's update is one instant foreseen and seen; these and their overlaps and assignment
are float64, as the tracker has them, in one thread.

The pipeline is de-skew, ground plane, clusters and their boxes, range image, occupancy, pillars,
and the sweep pipeline's own ground grid, cells, clusters and oriented boxes, one after the other.

De-skew: both Argoverse 2 sweeps, skewed in float64 by 15 m/s and 20 deg/s through the times that
their points bring, and recovered. That these files come already compensated is checked too: where
both LiDARs saw the same surface 30 ms or more apart, their points are nearest each other as
delivered, farther apart with the vehicle's own motion taken out once more.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.kernelpeers import Peer, clusterers, ground_finders, voxelisers
from bench.report import Report, arguments
from infer.grid import BINS
from infer.kernels import reference
from infer.kernels.bodies.motion import VX
from infer.kernels.cpu import CpuPipeline
from infer.kernels.references import (
    components,
    motion,
    occupancy,
    painting,
    radar,
    range_image,
    rectangles,
    rotated_iou,
    voxels,
)
from infer.kernels.references import plane as planes
from infer.kernels.references import tracks as filters
from infer.layout import CELL, FIRST, LABEL
from infer.perception import se3
from infer.perception.area import Area
from infer.perception.clusters import Clusterer, Clusters
from infer.perception.ground import GroundFinder, PlaneSearch, triples
from infer.perception.motion import Motion, deskew
from infer.perception.nms import suppress
from infer.perception.occupancy import Belief, OccupancyGrid
from infer.perception.painting import PinholeView, project
from infer.perception.radar import Radar, associate
from infer.perception.range_image import RangeImager, View
from infer.perception.rectangles import fit_boxes, fit_rectangles, grouped_by, turns
from infer.perception.voxels import Voxeliser, VoxelSpace
from infer.pieces import decode_session
from infer.readers.av2 import Log
from infer.readers.kitti import list_sweeps, read_points
from infer.synthetic import scan, street
from infer.track.assignment import assigned
from infer.track.overlap import YAW, X, Y, overlaps
from infer.track.tracks import Beliefs, Tracks, born
from infer.track.turning import born_turning, noises_of
from infer.workload import create
from mesh.core.workload import SessionRequest

DATA = Path(os.environ.get("FRAMEMESH_DATA") or Path(__file__).parents[1] / "../shared/data")
WARM_UP = 5
SEED = 0
BOXES = 300  # as a detector proposes before suppression
TARGETS, OBJECTS = 256, 64
TRACK_S = 0.1  # between instants
MOST_IOU = 0.1
THREADS = (1, 2)
TURN_US = 100_000
FROM_AHEAD = ((0, -1.0, 0, 0), (0, 0, -1.0, -0.08), (1.0, 0, 0, -0.27))  # KITTI's, but for tilts
MATRIX = np.array(((721.5, 0, 609.6), (0, 721.5, 172.9), (0, 0, 1))) @ np.array(FROM_AHEAD)
DRIVE = Motion.constant((15.0, 0, 0), (0, 0, np.radians(20)))
NO_HALO = np.empty((0, 2), np.int32)
NO_HALO.flags.writeable = False


class Steps:
    """Every kernel on one sweep with so many threads; what one makes, the next takes."""

    def __init__(self, points: NDArray[np.float32], threads: int) -> None:
        self.points, self.threads = points, threads
        n = len(points)
        self.times_us = np.linspace(-TURN_US / 2, TURN_US / 2, n).astype(np.int32)
        self.search, self.area, self.space = PlaneSearch(), Area(64, 0.25), VoxelSpace()
        self.view, self.camera = View(), PinholeView(MATRIX, 1242, 375)
        self._ground = GroundFinder(self.search, n, threads)
        self._clusterer = Clusterer(self.area, n, threads)
        self._imager = RangeImager(self.view, threads)
        self._occupancy = OccupancyGrid(self.area, Belief(), n, threads)
        self._voxeliser = Voxeliser(self.space, n, threads)
        session = create({"api": "cpu"}).open_session(SessionRequest("infer", {}))
        self.grid = decode_session(session.setup.spec).grid()
        self._boxes = CpuPipeline(self.grid, n)
        self.labels = self.ground().labels
        found = self.clusters()
        self.found = Clusters(found.of_point.copy(), found.count)
        rng = np.random.default_rng(SEED)
        low, high = (-40, -40, 0.5, 0.5, -3.2), (40, 40, 5, 2.2, 3.2)
        self.proposed = rng.uniform(low, high, (BOXES, 5)).astype(np.float32)
        self.scores = rng.random(BOXES).astype(np.float32)
        low, high = (2, -1, -0.1, -20, 0), (100, 1, 0.1, 20, 20)
        self.targets = rng.uniform(low, high, (TARGETS, 5)).astype(np.float32)
        low, high = (2, -50, -20, -2), (100, 50, 20, 2)
        self.objects = rng.uniform(low, high, (OBJECTS, 4)).astype(np.float32)
        self.covariances = np.repeat(np.eye(4, dtype=np.float32)[None], OBJECTS, axis=0)
        low, high = (-40, -40, -1, 3, 1.5, 1.4, -3), (40, 40, 1, 5, 2.2, 2, 3)
        self.seen, boxes = rng.uniform(low, high, (2, OBJECTS, 7))
        told = 0.0, np.arange(OBJECTS), boxes, np.ones(OBJECTS), Beliefs()
        self.straight, self.turning = born(*told), born_turning(*told)
        self.turning.course[:] = rng.normal(size=(OBJECTS, 2)) * (10, 0.3)
        self.costs = -self.upright()

    def deskew(self) -> NDArray[np.float32]:
        return deskew(self.points, self.times_us, DRIVE, threads=self.threads)

    def ground(self) -> Any:
        return self._ground.find(self.points)

    def clusters(self) -> Any:
        return self._clusterer.cluster(self.points, self.labels)

    def range_image(self) -> Any:
        return self._imager.picture(self.points)

    def occupancy(self) -> NDArray[np.float32]:
        self._occupancy.update(self.points, self.labels, (0.0, 0.0), 0)
        return self._occupancy.log_odds

    def pillars(self) -> Any:
        return self._voxeliser.encode(self.points)

    def projection(self) -> NDArray[np.float32]:
        return project(self.points, self.camera, threads=self.threads)

    def suppression(self) -> NDArray[np.int64]:
        return suppress(self.proposed, self.scores, MOST_IOU, threads=self.threads)

    def radar(self) -> Any:
        return associate(
            self.targets, self.objects, self.covariances, Radar(), threads=self.threads
        )

    def box_fit(self) -> NDArray[np.float64]:
        found = self.found
        return fit_boxes(self.points, found.of_point, found.count, threads=self.threads)

    def updated(self, tracks: Tracks) -> Tracks:
        later = tracks.at(TRACK_S, Beliefs())
        return later.corrected(self.seen, tracks.scores, Beliefs())

    def update(self) -> Tracks:
        return self.updated(self.straight)

    def update_turning(self) -> Tracks:
        return self.updated(self.turning)

    def upright(self) -> NDArray[np.float64]:
        return overlaps(self.straight.boxes, self.seen, True)

    def assignment(self) -> NDArray[np.int64]:
        return assigned(self.costs)

    def boxes(self) -> Any:
        """In one thread, whatever was asked for: a mesh splits it by sector."""
        return self._boxes.run(self.points, NO_HALO, 0, BINS)

    def pipeline(self) -> None:
        for step in PIPELINE:
            step(self)


PIPELINE = (
    Steps.deskew,
    Steps.ground,
    Steps.clusters,
    Steps.box_fit,
    Steps.range_image,
    Steps.occupancy,
    Steps.pillars,
    Steps.boxes,
)
NAMES = {
    "de-skew": Steps.deskew,
    "ground plane": Steps.ground,
    "clusters": Steps.clusters,
    "boxes of clusters": Steps.box_fit,
    "range image": Steps.range_image,
    "occupancy": Steps.occupancy,
    "pillars": Steps.pillars,
    "projection": Steps.projection,
    f"NMS of {BOXES} boxes": Steps.suppression,
    f"radar, {TARGETS} targets of {OBJECTS} objects": Steps.radar,
    f"Kalman, {OBJECTS} tracks": Steps.update,
    f"CTRV, {OBJECTS} tracks": Steps.update_turning,
    f"GIoU, {OBJECTS} by {OBJECTS} upright boxes": Steps.upright,
    f"assignment, {OBJECTS} by {OBJECTS}": Steps.assignment,
    "ground grid to boxes (1 thread)": Steps.boxes,
    "pipeline": Steps.pipeline,
}


def errors(steps: Steps) -> dict[str, str]:
    """What each kernel of a fresh `steps` gets wrong, in words."""
    points, labels = steps.points, steps.labels.copy()
    xyz = points[:, :3].astype(np.float64)
    said = {}
    known = motion.carry(xyz, steps.times_us, DRIVE.segments)
    said["de-skew"] = f"{1e6 * np.abs(steps.deskew()[:, :3] - known).max():.0f} um at most"
    ground, search = steps.ground(), steps.search
    low = planes.low_points(points, search.area.parameters())
    plane = planes.find(
        points,
        low,
        triples(len(low), search),
        within=search.within_m,
        steepest=search.steepest,
        fits=search.fits,
    )
    x, y, level = plane - (ground.slope_x, ground.slope_y, ground.height_m)
    said["ground plane"] = f"{1e6 * abs(level):.0f} um, {1e6 * np.hypot(x, y):.0f} um/m"
    clusters = components.cluster(points, labels, steps.area.parameters(), 2)
    wrong = (clusters != steps.clusters().of_point).sum()
    said["clusters"] = f"{wrong} points elsewhere"
    first, members = grouped_by(steps.found.of_point, steps.found.count)
    fits = fit_rectangles(points, first, members, threads=steps.threads)
    known = [
        rectangles.fitted(xyz[members[a:b], :2], turns())[1] for a, b in itertools.pairwise(first)
    ]
    wrong = (np.abs(fits.sides - known) > 1e-6).any(axis=1).sum()
    said["boxes of clusters"] = f"{wrong} of {len(known)} otherwise"
    image = range_image.picture(points, steps.view.parameters())
    wrong = (image != steps.range_image().index.ravel()).mean()
    said["range image"] = f"{wrong:.3%} of pixels"
    field = np.array((0, 0, Belief().ceiling_m), np.float32)
    hit, free = occupancy.sight(points, labels, steps.area.parameters(), field)
    fresh = OccupancyGrid(steps.area, Belief(), len(points))
    fresh.update(points, labels, (0.0, 0.0), 0)
    wrong = ((fresh.log_odds > 0) != hit).sum() + ((fresh.log_odds < 0) != (free & ~hit)).sum()
    said["occupancy"] = f"{wrong} of {hit.size} cells"
    batch = steps.pillars()
    features, counts, _ = voxels.encode(points, steps.space.parameters(), 32, 9)
    assert (counts == batch.counts).all()
    said["pillars"] = f"{1e6 * np.abs(features - batch.features).max():.0f} um at most"
    pixels = painting.project(points, MATRIX)
    shown = (pixels[:, 2] > 1) & (np.abs(pixels[:, :2]) < 2000).all(axis=1)
    said["projection"] = f"{np.abs(steps.projection() - pixels)[shown].max():.5f} px at most"
    stay = rotated_iou.suppress(steps.proposed, steps.scores, MOST_IOU)
    wrong = len(set(stay) ^ set(steps.suppression().tolist()))
    said[f"NMS of {BOXES} boxes"] = f"{wrong} boxes otherwise"
    distances = radar.squared_distances(
        steps.targets, steps.objects, steps.covariances, Radar().parameters()
    )
    off = np.abs(distances.min(axis=1, initial=Radar().gate) - steps.radar().distances).max()
    said[f"radar, {TARGETS} targets of {OBJECTS} objects"] = f"{off:.5f} of squared distance"
    said |= errors_of_tracks(steps)
    tables, seen = steps.boxes(), reference.see(points, steps.grid)
    names = dict(zip(seen.cell_of, seen.labels, strict=True))
    firsts = tables.clusters[tables.columns[:, LABEL], FIRST]
    wrong = sum(
        names.get(cell) != first
        for cell, first in zip(tables.columns[:, CELL], firsts, strict=True)
    )
    said["ground grid to boxes (1 thread)"] = f"{wrong} of {len(firsts)} cells elsewhere"
    return said


def errors_of_tracks(steps: Steps) -> dict[str, str]:
    """What the filters, overlaps and the assignment of `steps` get wrong, in words."""
    beliefs, noises = Beliefs(), noises_of(Beliefs())
    straight, turning = steps.update(), steps.update_turning()
    faced = steps.turning.at(TRACK_S, beliefs).faced(steps.seen)
    measured = beliefs.measured()
    off, off_turning, rated = [0.0], [0.0], steps.upright()
    for i in range(OBJECTS):
        for axis in (X, Y):
            known = np.array((steps.straight.boxes[i, axis], 0.0))
            spread = steps.straight.motion[i, axis][[0, 1, 1, 2]].reshape(2, 2)
            known, spread = filters.advanced(known, spread, TRACK_S, beliefs.acceleration**2)
            noise = measured[axis].reshape(1, 1)
            at = steps.seen[i, axis : axis + 1]
            known, _ = filters.corrected(known, spread, np.eye(1, 2), at, noise)
            off.append(abs(known[0] - straight.boxes[i, axis]))
        known = np.concatenate((steps.turning.boxes[i, [X, Y, YAW]], steps.turning.course[i]))
        known, spread = filters.advanced_turning(known, steps.turning.joint[i], TRACK_S, noises)
        noise, seen = np.diag(measured[[X, Y, YAW]]), faced[i, [X, Y, YAW]]
        known, _ = filters.corrected(known, spread, np.eye(3, 5), seen, noise)
        off_turning.append(np.abs(known[:2] - turning.boxes[i, :2]).max())
    shared = rated_by_reference(steps.straight.boxes, steps.seen)
    ious = np.abs(overlaps(steps.straight.boxes, steps.seen, False) - shared).max()
    said = {
        f"Kalman, {OBJECTS} tracks": f"{1e6 * max(off):.3f} um at most",
        f"CTRV, {OBJECTS} tracks": f"{1e6 * max(off_turning):.3f} um at most",
        f"GIoU, {OBJECTS} by {OBJECTS} upright boxes": f"{ious:.0e} of IoU at most",
    }
    try:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415
    except ImportError:
        return said
    least = -rated[linear_sum_assignment(-rated)].sum()
    more = -rated[np.arange(OBJECTS), steps.assignment()].sum() - least
    return said | {
        f"assignment, {OBJECTS} by {OBJECTS}": f"costs {abs(more):.0e} more than SciPy's"
    }


def rated_by_reference(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> Any:
    """IoU of volumes, (n, m), by the reference of rectangles' overlaps."""
    flat = (0, 1, 3, 4, 6)
    rated = np.zeros((len(boxes), len(others)))
    for i, j in np.ndindex(*rated.shape):
        a, b = boxes[i], others[j]
        iou = rotated_iou.iou(a[list(flat)], b[list(flat)])
        shared = iou / (1 + iou) * (a[3] * a[4] + b[3] * b[4])
        tops, bottoms = ([box[2] + side * box[5] / 2 for box in (a, b)] for side in (1, -1))
        shared *= max(min(tops) - max(bottoms), 0.0)
        rated[i, j] = shared / (np.prod(a[3:6]) + np.prod(b[3:6]) - shared)
    return rated


def in_turn(runs: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Milliseconds of each, the median over rounds of all in turn."""
    for run in runs:
        for _ in range(WARM_UP):
            run()
    took: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, times in zip(runs, took, strict=True):
            began = time.perf_counter_ns()
            run()
            times.append((time.perf_counter_ns() - began) / 1e6)
    return [statistics.median(times) for times in took]


def beside(
    report: Report, work: str, ours: Sequence[Callable[[], Any]], peers: list[Peer], options: Any
) -> float | None:
    """A table of one work; how often our faster time fits into the fastest library's."""
    rounds = 5 if options.quick else 30
    quick = [peer for peer in peers if not peer.slow]
    times = in_turn([*ours, *(peer.run for peer in quick)], rounds)
    rows: list[tuple[str, float]] = [
        (f"framemesh, {threads} threads", ms)
        for threads, ms in zip(THREADS, times[: len(ours)], strict=True)
    ]
    rows += [(peer.name, ms) for peer, ms in zip(quick, times[len(ours) :], strict=True)]
    for peer in peers:
        if peer.slow and not options.quick:
            began = time.perf_counter_ns()
            peer.run()
            rows.append((f"{peer.name} (once)", (time.perf_counter_ns() - began) / 1e6))
    best = min(times[: len(ours)])
    report.table((work, "ms", "to our best"), [(name, ms, ms / best) for name, ms in rows])
    libraries = [ms for _, ms in rows[len(ours) :]]
    return min(libraries) / best if libraries else None


def sweep() -> NDArray[np.float32]:
    """(n, 4), read-only."""
    clip = DATA / "kitti_raw_clip"
    return read_points(list_sweeps(clip)[0]) if clip.is_dir() else scan(street())


def deskew_median_cm(report: Report, folder: Path) -> float:
    """How far from where they were the points are once their skew is made and taken out again."""
    back = DRIVE.segments.copy()
    back[0, VX : VX + 6] *= -1
    rows, medians = [], []
    for frame in Log(folder).frames():
        [scanned] = frame.lidars
        assert scanned.times_us is not None
        xyz = scanned.points[:, :3].astype(np.float64)
        skewed = scanned.points.copy()
        skewed[:, :3] = motion.carry(xyz, scanned.times_us, back)
        away = 100 * np.linalg.norm(skewed[:, :3] - xyz, axis=1)
        left = deskew(skewed, scanned.times_us, DRIVE)[:, :3] - xyz
        left_cm = 100 * np.linalg.norm(left, axis=1)
        medians.append(float(np.median(left_cm)))
        rows.append((str(frame.stamp_us), float(np.median(away)), medians[-1], left_cm.max()))
    report.table(("AV2 sweep", "skewed by cm", "left cm, median", "at most"), rows)
    return max(medians)


def compensated(report: Report, folder: Path) -> None:
    """Whether Argoverse's points are already de-skewed: both LiDARs' points as evidence."""
    try:
        from scipy.spatial import cKDTree  # noqa: PLC0415
    except ImportError as problem:
        print(f"whether AV2 comes compensated is not checked: {problem}")
        return
    log = Log(folder)
    frames = list(log.frames())
    poses = []
    for frame in frames:
        assert frame.ego is not None
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = frame.ego.pose.rotation, frame.ego.pose.translation
        poses.append(pose)
    seconds = (frames[1].stamp_us - frames[0].stamp_us) / 1e6
    twist = se3.log(se3.inverse(poses[0]) @ poses[1]) / seconds
    rows = []
    for name, sign in (("as delivered", 0), ("de-skewed again", 1), ("skewed", -1)):
        apart = []
        for frame in frames:
            [scanned] = frame.lidars
            assert scanned.times_us is not None
            assert scanned.rings is not None
            moving = Motion.constant(sign * twist[:3], sign * twist[3:])
            xyz = deskew(scanned.points, scanned.times_us, moving)[:, :3]
            away = np.hypot(xyz[:, 0], xyz[:, 1])
            upper = scanned.rings < 32
            far = (away > 15) & (away < 60) & (xyz[:, 2] > 0.5)
            gap, at = cKDTree(xyz[far & ~upper]).query(xyz[far & upper], distance_upper_bound=0.5)
            found = np.isfinite(gap)
            other = scanned.times_us[far & ~upper][at[found]]
            late = np.abs(scanned.times_us[far & upper][found] - other) > 30_000
            apart.append(100 * float(np.median(gap[found][late])))
        rows.append((name, *apart))
    report.table(("AV2's two LiDARs", "sweep 1, cm apart", "sweep 2, cm apart"), rows)


def main() -> None:
    options = arguments(__doc__)
    points = sweep()
    report = Report("kernels", config={"points": len(points)}, seeds=[PlaneSearch().seed, SEED])
    one, two = (Steps(points, threads) for threads in THREADS)
    said = errors(two)
    runs = [lambda step=step, on=on: step(on) for step in NAMES.values() for on in (one, two)]
    times = iter(in_turn(runs, 5 if options.quick else 50))
    rows = [(name, next(times), next(times), said.get(name, "")) for name in NAMES]
    report.table(("kernel", "ms, 1 thread", "2 threads", "error against float64"), rows)
    took = {name: (alone, both) for name, alone, both, _ in rows}
    report.figure("voxelise_ms_1t", took["pillars"][0])
    report.figure("voxelise_ms_2t", took["pillars"][1])
    report.figure("pipeline_ms_2t", took["pipeline"][1])
    works = (
        ("voxelise_to_numpy", "pillars", voxelisers(points, two.space), Steps.pillars),
        (
            "cluster_to_best_library",
            "clusters",
            clusterers(points, two.labels, two.area),
            Steps.clusters,
        ),
        (
            "ground_to_best_library",
            "ground plane",
            ground_finders(points, two.search),
            Steps.ground,
        ),
    )
    for key, work, peers, step in works:
        ours = [lambda step=step, on=on: step(on) for on in (one, two)]
        ratio = beside(report, work, ours, list(peers), options)
        if ratio is not None:
            report.figure(key, ratio)
    folder = DATA / "av2" / "7fab2350"
    if folder.is_dir():
        report.figure("deskew_median_cm", deskew_median_cm(report, folder))
        compensated(report, folder)
    report.finish(options)


if __name__ == "__main__":
    main()
