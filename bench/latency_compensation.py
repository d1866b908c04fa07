"""How right a late answer is: boxes 100 ms old, as they are and carried to now.

    python -m bench.latency_compensation [--quick] [--json FILE]

Needs $FRAMEMESH_DATA/av2: a log of Argoverse 2 with 156 annotated sweeps, 10 a second. Its boxes,
each moved about at random as a detector's would be (10 cm, 1 degree), go through our tracker in a
world that does not move. What was told of one sweep is the answer that arrives with the next: as it
is (`stale`: in the vehicle's frame of then, taken for now's), moved by the vehicle's own motion
alone (`ego`), and carried to now by its tracks as well (`carried`); beside it what is told of the
new sweep itself (`fresh`). Accuracy is the mean IoU (volume) with the annotated boxes of the
objects that both sweeps show. `recovered_share` is how much of what staleness costs is won back;
`..._turning` with objects that turn as they go (CTRV) instead of going straight on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.report import Report, arguments
from infer.frames.pose import Pose
from infer.readers.av2 import Boxes, Log
from infer.track.overlap import YAW, overlaps
from infer.track.tracker import Rules, Tracker

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data") / "av2"
SEED = 7
NOISE = np.array([0.1, 0.1, 0.05, 0.05, 0.05, 0.05, np.radians(1)])
MOVING = 1.0  # m/s
WAYS = ("stale", "ego", "carried", "fresh")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Instant:
    """An annotated sweep. names: str (n,). boxes: float64 (n, 7), vehicle's frame."""

    time_s: float
    names: NDArray[np.str_]
    boxes: Floats
    world_from_ego: Pose


def instants(log: Log) -> Iterator[Instant]:
    """In order of time; objects that a sensor saw at all."""
    for stamp_us, found in sorted(log.annotations().items()):
        ego = log.ego(stamp_us)
        assert ego is not None, "annotated sweeps have poses"
        seen = found.points > 0
        yield Instant(stamp_us / 1e6, found.tracks[seen], _rows(found)[seen], ego.pose)


def _rows(found: Boxes) -> Floats:
    return np.column_stack([found.centres, found.sizes, found.yaws])


def carried(boxes: Floats, motion: Pose) -> Floats:
    """Boxes in another frame whose z points the same way, as roads go."""
    moved = boxes.copy()
    moved[:, :3] = motion.apply(boxes[:, :3])
    moved[:, YAW] += np.arctan2(motion.rotation[1, 0], motion.rotation[0, 0])
    return moved


def answers(found: list[Instant], rules: Rules) -> dict[str, list[tuple[float, float]]]:
    """By way: of each object in each sweep but the first, its IoU and speed."""
    random, tracker = np.random.default_rng(SEED), Tracker(rules)
    rated: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    before = None
    for now in found:
        measured = now.boxes + random.normal(size=now.boxes.shape) * NOISE
        world = carried(measured, now.world_from_ego)
        told = tracker.step(now.time_s, world, np.ones(len(world)))
        names = now.names[tracker.sources]
        ego_from_world = now.world_from_ego.inverse()
        fresh = dict(zip(names.tolist(), carried(told.boxes, ego_from_world), strict=True))
        if before is not None:
            old, old_names, then = before
            later = old.at(now.time_s, tracker.beliefs)
            ways = {
                "stale": carried(old.boxes, then.world_from_ego.inverse()),
                "ego": carried(old.boxes, ego_from_world),
                "carried": carried(later.boxes, ego_from_world),
            }
            speeds = np.linalg.norm(old.velocity, axis=1)
            truth = dict(zip(now.names.tolist(), now.boxes, strict=True))
            for i, name in enumerate(old_names.tolist()):
                if name not in truth or name not in fresh:
                    continue
                given = np.stack([*(boxes[i] for boxes in ways.values()), fresh[name]])
                ious = overlaps(given, truth[name][None], False)[:, 0]
                for way, iou in zip(WAYS, ious.tolist(), strict=True):
                    rated[way].append((iou, float(speeds[i])))
        before = told, names, now
    return rated


def main() -> int:
    options = arguments(__doc__)
    logs = sorted(path for path in DATA.glob("*") if path.is_dir())
    if not logs:
        print(f"left out: no log in {DATA} (FRAMEMESH_DATA names the folder it is in)")
        return 1 if os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1" else 0
    found = list(instants(Log(logs[0])))[: 40 if options.quick else None]
    report = Report("latency_compensation", seeds=[SEED], config={"sweeps": len(found)})
    rows: list[list[str | float]] = []
    for model, suffix, rules in (
        ("straight on", "", Rules()),
        ("turning", "_turning", Rules(turning=True)),
    ):
        rated = answers(found, rules)
        for name, least in (("all objects", 0.0), (f"faster than {MOVING:g} m/s", MOVING)):
            mean = {
                way: float(np.mean([iou for iou, speed in values if speed >= least]))
                for way, values in rated.items()
            }
            share = (mean["carried"] - mean["stale"]) / (mean["fresh"] - mean["stale"])
            rows.append([f"{name}, {model}", *(mean[way] for way in WAYS), 100 * share])
            key = "recovered_share" if not least else "recovered_share_moving"
            report.figure(f"{key}{suffix}", share)
    report.table(["mean IoU", *WAYS, "won back %"], rows)
    report.finish(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
