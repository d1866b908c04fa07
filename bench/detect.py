"""What is found without a LiDAR network: vehicles by camera, by LiDAR and by both; all by LiDAR.

    python -m bench.detect [--quick] [--json FILE]

Needs $FRAMEMESH_DATA with kitti_object, av2 and models/FastestDet.onnx, and the extra `models`.
KITTI's three object frames: the camera's boxes are right by an IoU of 0.5 in the picture; the
LiDAR's, and those of both, by middles less than 1 m apart and an IoU of 0.3 seen from above. Labels
that KITTI's hard level does not ask for (hidden, cut off, small), or farther than 50 m, may be
found or not; so may what lies where nothing was labelled, or out of the picture.
`vehicle_recall_...` and `vehicle_precision_...` are of these three frames. Argoverse 2's sweeps
have no pictures here: LiDAR alone, every class, at the score that is believed, and where most is
found of which half is right.
`drives_...` are of synthetic drives with exact truth (25 frames each, half a second apart), of what
is within 50 m and shows in the picture: the camera is a detector simulated from what shows of each
thing, the LiDAR is ray-cast, and the radar, which only fusion uses, is simulated with its ghosts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.detection import av2, drives, kitti
from bench.detection.drives import SENSORS
from bench.detection.fastestdet import FastestDet
from bench.detection.measure import (
    BELIEVED,
    WITHIN_M,
    Figures,
    Found,
    Tally,
    in_picture,
    same_pictures,
    same_places,
    tally,
)
from bench.report import Report, arguments
from infer.fusion.fuser import fuse
from infer.fusion.lidar_objects import LidarDetector, Rules
from infer.fusion.objects import CLASSES, CYCLIST, PEDESTRIAN, VEHICLE
from infer.fusion.pictures import view_of

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data")
NEEDED = ("kitti_object", "av2/7fab2350", "models/FastestDet.onnx")
MOST_POINTS = 130_000
FRAMES, QUICK_FRAMES = 500, 25


def on_kitti(frames: Iterable[kitti.Frame], camera: FastestDet) -> dict[str, Tally]:
    """By sensor, of vehicles."""
    totals = {sensor: Tally() for sensor in SENSORS}
    detector = LidarDetector(MOST_POINTS)
    for frame in frames:
        detections = camera.detect(frame.image.pixels())
        pose = frame.calibration.pose("rect", "lidar")
        view = view_of(frame.calibration.cameras[kitti.CAMERA], pose, detections)
        pictures = Found(view.boxes, view.kinds, view.scores, ~frame.excused(view.boxes))
        tally(totals["camera"], frame.name, VEHICLE, pictures, frame.picture, same_pictures)
        seen = detector.detect(frame.points)
        for sensor, views in (("lidar", []), ("fused", [view])):
            objects = fuse(frame.points, seen, views)
            found, shown = in_picture(objects, view)
            found = replace(found, counted=found.counted & ~frame.excused(shown))
            tally(totals[sensor], frame.name, VEHICLE, found, frame.space, same_places)
    return totals


def on_av2(sweeps: Iterable[av2.Sweep]) -> dict[int, Tally]:
    """By class, of LiDAR alone."""
    totals = {kind: Tally() for kind in (VEHICLE, PEDESTRIAN, CYCLIST)}
    for sweep in sweeps:
        rules = Rules(origin=sweep.origin)
        seen = LidarDetector(MOST_POINTS, rules).detect(sweep.points)
        objects = fuse(sweep.points, seen, lidar=rules)
        near = np.hypot(*objects.boxes[:, :2].T) <= WITHIN_M
        found = Found(objects.boxes, objects.kinds, objects.scores, near)
        for kind, total in totals.items():
            tally(total, sweep.name, kind, found, sweep.truth, same_places)
    return totals


def row(name: str, figures: Figures) -> list[str | float]:
    """Of a table."""
    return [
        name, figures.least, figures.precision, figures.recall, figures.f1,
        figures.hits, figures.false, figures.objects,
    ]  # fmt: skip


HEADER = ["", "score from", "precision", "recall", "F1", "hits", "false", "objects"]


def report_kitti(report: Report, totals: dict[str, Tally]) -> None:
    """Print and keep what was found of KITTI's vehicles, and all that was false."""
    shown = {sensor: total.at(0.0) for sensor, total in totals.items()}
    report.table(["vehicles, KITTI", *HEADER[1:]], [row(*each) for each in shown.items()])
    for sensor, figures in shown.items():
        report.figure(f"vehicle_recall_{sensor}", figures.recall)
        report.figure(f"vehicle_precision_{sensor}", figures.precision)
        report.figure(f"vehicle_f1_{sensor}", figures.f1)
    false: list[list[str | float]] = [
        [sensor, name, score, " ".join(f"{value:.1f}" for value in box)]
        for sensor, total in totals.items()
        for name, score, box in total.false
    ]
    report.table(["false", "frame", "score", "box"], false or [["none", "", "", ""]])


def report_av2(report: Report, totals: dict[int, Tally]) -> None:
    """Print and keep what the LiDAR alone found on Argoverse 2."""
    rows = []
    for kind, total in totals.items():
        name, believed, floor = CLASSES[kind], total.at(BELIEVED), total.at_floor()
        rows += [row(name, believed), row(f"{name}, half right", floor)]
        for key in ("precision", "recall", "f1"):
            report.figure(f"av2_{name}_{key}", getattr(believed, key))
            report.figure(f"av2_{name}_{key}_floor", getattr(floor, key))
    report.table(["LiDAR alone, Argoverse 2", *HEADER[1:]], rows)


def together(figures: Iterable[Figures]) -> Figures:
    """Of several classes."""
    each = list(figures)
    hits, false = sum(one.hits for one in each), sum(one.false for one in each)
    return Figures(hits, false, sum(one.objects for one in each), 0.0)


def report_drives(report: Report, found: drives.Statistics) -> None:
    """Print and keep what was found in synthetic drives, and what the radar added."""
    rows = []
    for sensor in SENSORS:
        tallies = {CLASSES[kind]: found.tallies[sensor, kind].at(0.0) for kind in drives.KINDS}
        for name, figures in {**tallies, "all": together(tallies.values())}.items():
            rows.append(row(f"{name}, {sensor}", figures))
            for key in ("precision", "recall", "f1"):
                report.figure(f"drives_{name}_{key}_{sensor}", getattr(figures, key))
    report.table([f"{found.frames} frames of drives", *HEADER[1:]], rows)
    speeds = found.speeds
    report.figure("drives_radar_right", speeds.right / max(speeds.given, 1))
    report.figure("drives_radar_speed_error_m_s", float(np.median(np.abs(speeds.errors or [0]))))


def main() -> int:
    options = arguments(__doc__)
    if missing := [name for name in NEEDED if not (DATA / name).exists()]:
        print(f"left out: no {', '.join(missing)} in {DATA} (FRAMEMESH_DATA names the folder)")
        return 1 if os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1" else 0
    report = Report("detect", config={"model": "FastestDet"})
    camera = FastestDet((DATA / NEEDED[2]).read_bytes())
    report_kitti(report, on_kitti(kitti.frames(DATA / NEEDED[0]), camera))
    report_av2(report, on_av2(av2.sweeps(DATA / NEEDED[1])))
    report_drives(report, drives.over_drives(QUICK_FRAMES if options.quick else FRAMES))
    report.finish(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
