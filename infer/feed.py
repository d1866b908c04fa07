"""What clients need to feed sweeps and to say what came back; loads no compiler."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infer.codec import CLASSES, CUT, Boxes, decode_result
from infer.readers import kitti
from infer.sweep import encode_sweep
from infer.synthetic import drive
from mesh.core.workload import Buffer


def read_sweeps(source: Path | None) -> Iterator[tuple[int, bytes]]:
    """The sweeps of a folder of KITTI's, or a made-up drive without end; see Feedable.

    Raises ContentRefused, before the first for a folder without sweeps or with one cut short.
    """
    if source is None:
        return ((i * kitti.PERIOD_US, encode_sweep(drive(i))) for i in itertools.count())
    paths = kitti.list_sweeps(source)
    for path in paths:
        kitti.check_size(path)
    return _read(paths)


def _read(paths: Sequence[Path]) -> Iterator[tuple[int, bytes]]:
    for index, path in enumerate(paths):
        yield index * kitti.PERIOD_US, encode_sweep(kitti.read_points(path))


def explain(message: Buffer) -> dict[str, Any]:
    """A result (infer.codec) as JSON-ready facts. Raises ContentRefused."""
    result = decode_result(message)
    boxes = result.boxes
    found = Counter(CLASSES[c] for c in boxes.classes.tolist())
    counted = ", ".join(f"{found[name]} {name}" for name in CLASSES[1:] + CLASSES[:1])
    return {
        "summary": f"{len(boxes.yaws)} boxes: {counted}",
        "stamp_us": result.stamp_us,
        "sectors": result.sectors,
        "missing": [s for s in range(result.sectors) if result.missing >> s & 1],
        "counts": asdict(result.counts),
        "times_us": asdict(result.times),
        "boxes": [_box(boxes, i) for i in range(len(boxes.yaws))],
    }


def _box(boxes: Boxes, index: int) -> Mapping[str, Any]:
    """One box: metres and radians in the sensor's frame."""
    return {
        "class": CLASSES[boxes.classes[index]],
        "centre": [round(float(v), 3) for v in boxes.centres[index]],
        "size": [round(float(v), 3) for v in boxes.sizes[index]],
        "yaw": round(float(boxes.yaws[index]), 4),
        "score": round(float(boxes.scores[index]), 3),
        "points": int(boxes.points[index]),
        "cut": bool(boxes.flags[index] & CUT),
    }
