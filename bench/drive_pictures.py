"""What a camera's detector that learnt from photographs finds in pictures of synthetic drives.

    python -m bench.drive_pictures [--quick] [--json FILE] [--out FOLDER]

Needs $FRAMEMESH_DATA/models/FastestDet.onnx, onnxruntime and a Vulkan device. Pictures of several
drives are drawn by the render workload; FastestDet looks at them as its authors run it, and the
simulated detector (`infer.drives.simulated_detector`) at what the camera sees of each thing. Things
that show less than half, or are lower than 25 pixels, need not be found; a box is right by an IoU
of 0.5. --out keeps the pictures with FastestDet's boxes in them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bench.detection.fastestdet import FastestDet
from bench.detection.measure import LEAST_PIXELS, Found, Tally, Truth, same_pictures, tally
from bench.report import Report, arguments
from infer.drives.photographs import Photographer
from infer.drives.recording import Truth as DriveTruth
from infer.drives.recording import frames
from infer.drives.rig import CAMERA, LIDAR
from infer.frames.bundle import SensorFrame
from infer.fusion.objects import CLASSES, PEDESTRIAN, VEHICLE
from infer.fusion.pictures import View, view_of

ROOT = Path(__file__).resolve().parent.parent
MODEL = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data") / "models/FastestDet.onnx"
DRIVES, QUICK_DRIVES, PICTURES = 10, 2, 4  # of each drive
PERIOD_US = 3_000_000
MOST_HIDDEN = 0.5
HEIGHTS = ((LEAST_PIXELS, 50.0), (50.0, 100.0), (100.0, np.inf))  # pixels
KINDS = (VEHICLE, PEDESTRIAN)


def pictures(drives: int, folder: Path) -> Iterator[tuple[int, SensorFrame, DriveTruth]]:
    """Frames with pictures, a few of each drive; folder: for scenes on their way."""
    with Photographer(folder) as photographer:
        for seed in range(drives):
            drive = frames(seed, PICTURES, period_us=PERIOD_US, photographer=photographer)
            for frame, truth in drive:
                yield seed, frame, truth


def count(totals: dict[tuple[int, int], Tally], name: str, truth: DriveTruth, view: View) -> None:
    """Add a picture's, by class and by the height of what is there; -1 for all, with false ones."""
    boxes = truth.picture.boxes
    high = boxes[:, 3] - boxes[:, 1]
    shows = truth.picture.visible >= 1 - MOST_HIDDEN
    large = view.boxes[:, 3] - view.boxes[:, 1] >= LEAST_PIXELS
    for kind in KINDS:
        for number, (low, top) in enumerate((*HEIGHTS, (LEAST_PIXELS, np.inf))):
            whole = number == len(HEIGHTS)
            found = Found(view.boxes, view.kinds, view.scores, large & whole)
            needed = Truth(boxes, truth.kinds, shows & (high >= low) & (high < top))
            total = totals.setdefault((kind, -1 if whole else number), Tally())
            tally(total, name, kind, found, needed, same_pictures)


def drawn(frame: SensorFrame, view: View) -> Image.Image:
    """The picture with boxes in it."""
    image = Image.fromarray(frame.cameras[0].pixels())
    pen = ImageDraw.Draw(image)
    for box, kind in zip(view.boxes.tolist(), view.kinds.tolist(), strict=True):
        pen.rectangle(box, outline=(255, 40, 40), width=2)
        pen.text((box[0] + 3, box[1] + 2), CLASSES[kind], fill=(255, 255, 255))
    return image


def report_found(report: Report, by: dict[str, dict[tuple[int, int], Tally]]) -> None:
    """Recall by height and precision, of each detector."""
    rows: list[list[str | float]] = []
    for detector, totals in by.items():
        for kind in KINDS:
            figures = [totals[kind, number].at(0.0) for number in (*range(len(HEIGHTS)), -1)]
            whole = figures[-1]
            recalls = [one.recall for one in figures]
            rows.append([detector, CLASSES[kind], *recalls, whole.precision, whole.objects])
            report.figure(f"{CLASSES[kind]}_recall_{detector}", whole.recall)
            report.figure(f"{CLASSES[kind]}_precision_{detector}", whole.precision)
    spans = [f"recall {low:.0f}-{top:.0f} px" for low, top in HEIGHTS[:-1]]
    last = f"recall {HEIGHTS[-1][0]:.0f} px on"
    report.table(["detector", "class", *spans, last, "recall", "precision", "things"], rows)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the pictures there")
    options = arguments(__doc__, parser=parser)
    if not MODEL.exists():
        print(f"left out: no {MODEL} (FRAMEMESH_DATA names the folder)")
        return 1 if os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1" else 0
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    drives = QUICK_DRIVES if options.quick else DRIVES
    report = Report("drive_pictures", seeds=range(drives))
    network, by = FastestDet(MODEL.read_bytes()), {"fastestdet": {}, "simulated": {}}
    with tempfile.TemporaryDirectory() as folder:
        for seed, frame, truth in pictures(drives, Path(folder)):
            camera, name = frame.calibration.cameras[CAMERA], f"{seed}-{frame.stamp_us}"
            pose = frame.calibration.pose(CAMERA, LIDAR)
            found = view_of(camera, pose, network.detect(frame.cameras[0].pixels()))
            count(by["fastestdet"], name, truth, found)
            count(by["simulated"], name, truth, view_of(camera, pose, truth.detections))
            if options.out is not None:
                drawn(frame, found).save(options.out / f"{name}.png")
    report_found(report, by)
    report.finish(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
