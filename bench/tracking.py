"""Our tracker on KITTI beside plain AB3DMOT, on the same detections, by AB3DMOT's own measure.

    python -m bench.tracking [--quick] [--json FILE]

Needs $FRAMEMESH_DATA/kitti_tracking: seven of the eleven validation drives, with the PointRCNN
detections of cars that AB3DMOT publishes. `samota`, `amota`, `mota`, `id_switches` are ours with
AB3DMOT's rules of when an object is told of and forgotten (three sightings, two instants unseen),
told of only where it is seen; `..._own_rules` ours as it comes; `..._turning` that with objects
that turn as they go (CTRV) instead of going straight on; `..._baseline` plain AB3DMOT's
(bench/tracks/baseline.py, from the paper). `frames_per_s` is ours, one thread, without reading
files. Published for all eleven drives: sAMOTA 93.34, MOTA 86.47, 108.7 frames/s. Four drives are
not here, and the vehicle's own motion is not known; both trackers see the same. What moves in the
frame of a vehicle that moves itself does not go where it heads, which CTRV takes for granted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.report import Report, arguments
from bench.tracks.baseline import Baseline
from bench.tracks.kitti import FRAME_S, Drive, Objects, drives
from bench.tracks.measure import Score, measured
from infer.track.tracker import Rules, Tracker

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data") / "kitti_tracking"

Step = Callable[[int, Objects], Objects]


def ours(rules: Rules) -> Step:
    """A drive's tracker."""
    tracker = Tracker(rules)

    def step(frame: int, found: Objects) -> Objects:
        told = tracker.step(frame * FRAME_S, found.boxes, found.scores)
        return Objects(told.boxes, found.pictures[tracker.sources], told.ids, told.scores)

    return step


def theirs() -> Step:
    """A drive's baseline."""
    baseline = Baseline()
    return lambda _, found: baseline.step(found)


def tracked(of: Sequence[Drive], tracker: Callable[[], Step]) -> tuple[list[list[Objects]], float]:
    """By drive and frame; and frames per second."""
    began_s, made = time.perf_counter(), []
    for drive in of:
        step = tracker()
        made.append([step(number, found) for number, found in enumerate(drive.found)])
    return made, sum(map(len, made)) / (time.perf_counter() - began_s)


def main() -> int:
    options = arguments(__doc__)
    if not DATA.exists():
        print(f"left out: no {DATA} (FRAMEMESH_DATA names the folder it is in)")
        return 1 if os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1" else 0
    found = drives(DATA)[: 2 if options.quick else None]
    report = Report("tracking", config={"drives": [drive.name for drive in found]})
    published = partial(ours, Rules(sightings=3, missed=2))
    rows: list[list[str | float]] = []
    for name, suffix, tracker in (
        ("ours, AB3DMOT's rules", "", published),
        ("ours, our rules", "_own_rules", partial(ours, Rules())),
        ("ours, turning", "_turning", partial(ours, Rules(turning=True))),
        ("AB3DMOT", "_baseline", theirs),
    ):
        tracked(found[:1], tracker)  # compiles
        made, per_s = tracked(found, tracker)
        score: Score = measured(found, made)
        figures = {"samota": score.samota, "amota": score.amota, "mota": score.mota}
        for key, value in figures.items():
            report.figure(f"{key}{suffix}", 100 * value)
        rows.append([name, *(100 * value for value in figures.values()), score.switches, per_s])
        if not suffix:
            report.figure("id_switches", score.switches)
            report.figure("frames_per_s", per_s)
    rows.append(["AB3DMOT, published, 11 drives", 93.34, "-", 86.47, "-", 108.7])
    report.table(["tracker", "sAMOTA", "AMOTA", "MOTA", "switches", "frames/s"], rows)
    report.finish(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
