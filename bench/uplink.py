"""Sweeps on the way up: bytes and milliseconds beside LAZ and Draco, at the same bound.

Every codec gets the same points, positions to within 1 cm of where they were measured, and 8 bits
of intensity. LAZ and ours round to steps of one length, the longest that keep the bound. Draco's
steps are its cloud's longest side by a power of two, so it gets the fewest bits that keep the
bound, and they are up to twice as fine; `step` says how fine. What Draco does with steps as long as
ours is asked too (the longest side is said to be longer): that is the row `Draco, our step`, and
figures are ratios to it. Errors are measured, on what was decoded.

KITTI: eight full sweeps of 64 rows, in the file's order, which is the sensor's. Argoverse 2: two
sweeps of two sensors with 32 rows each, by rings (ours and LAZ; Draco sorts for itself), told from
the rear axle, so ours is given where the sensors stand. Raw is float32 x y z intensity. Encode and
decode are medians over the sweeps of the least of several rounds, one thread.
"""

from __future__ import annotations

import io
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import DracoPy
import laspy
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bench.report import Report, arguments
from infer.readers.av2 import Log
from infer.readers.kitti import list_sweeps, read_points
from infer.uplink.packing import BOUND_M, pack_sweep, step_for, unpack_sweep

STEP_M = step_for(BOUND_M) * 1e-6
DATA = Path(os.environ.get("FRAMEMESH_DATA") or "../shared/data")


@dataclass(frozen=True, slots=True)
class Cloud:
    """One sweep: points float32 (n, 4); rings where the sensor fires its lasers in turn.

    origin: where the sensor stands, metres.
    """

    points: NDArray[np.float32]
    rings: NDArray[np.integer] | None = None
    origin: tuple[float, ...] = (0.0, 0.0, 0.0)

    def sorted(self) -> NDArray[np.float32]:
        """By rings, as whoever knows them would hand it to any codec that keeps the order."""
        if self.rings is None:
            return self.points
        return self.points[np.argsort(self.rings, kind="stable")]


@dataclass(frozen=True, slots=True)
class Codec:
    """encode(cloud); decode(data): its points, in any order. step_m(cloud): of its lattice."""

    encode: Callable[[Cloud], bytes]
    decode: Callable[[bytes], NDArray[np.float32]]
    step_m: Callable[[Cloud], float]


def draco(*, our_step: bool) -> Codec:
    def bits(cloud: Cloud) -> int:
        return max(1, math.ceil(math.log2(longest(cloud) / STEP_M + 1)))

    def side(cloud: Cloud) -> float:
        return ((1 << bits(cloud)) - 1) * STEP_M if our_step else longest(cloud)

    def encode(cloud: Cloud) -> bytes:
        made: bytes = DracoPy.encode(
            cloud.points[:, :3],
            quantization_bits=bits(cloud),
            compression_level=7,
            quantization_range=side(cloud),
            quantization_origin=cloud.points[:, :3].min(axis=0),
            colors=eighths(cloud.points)[:, None],
        )
        return made

    def decode(data: bytes) -> NDArray[np.float32]:
        made = DracoPy.decode(data)
        return joined(made.points, np.asarray(made.colors).reshape(-1) / 255)

    return Codec(encode, decode, lambda cloud: side(cloud) / ((1 << bits(cloud)) - 1))


def laz() -> Codec:
    def encode(cloud: Cloud) -> bytes:
        points = cloud.sorted()
        header = laspy.LasHeader(point_format=0, version="1.2")
        header.scales, header.offsets = np.full(3, STEP_M), np.zeros(3)
        las = laspy.LasData(header)
        las.x, las.y, las.z = points[:, 0], points[:, 1], points[:, 2]
        las.intensity = eighths(points).astype(np.uint16)
        file = io.BytesIO()
        las.write(file, do_compress=True)
        return file.getvalue()

    def decode(data: bytes) -> NDArray[np.float32]:
        las = laspy.read(io.BytesIO(data))
        return joined(np.stack((las.x, las.y, las.z), axis=1), np.asarray(las.intensity) / 255)

    return Codec(encode, decode, lambda _: STEP_M)


def ours() -> Codec:
    return Codec(
        lambda cloud: pack_sweep(cloud.points, rings=cloud.rings, origin=cloud.origin),
        lambda data: unpack_sweep(0, data).points,
        lambda _: STEP_M,
    )


CODECS = {
    "framemesh": ours(),
    "LAZ": laz(),
    "Draco": draco(our_step=False),
    "Draco, our step": draco(our_step=True),
}


@dataclass
class Figures:
    """What came of one codec on one recording."""

    ratios: list[float] = field(default_factory=list)
    bytes_: list[int] = field(default_factory=list)
    encode_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    steps_mm: list[float] = field(default_factory=list)
    worst_mm: float = 0.0


def measure(codec: Codec, clouds: Sequence[Cloud], rounds: int) -> Figures:
    found = Figures()
    for cloud in clouds:
        data, encode_ms = least_ms(lambda cloud=cloud: codec.encode(cloud), rounds)
        points, decode_ms = least_ms(lambda data=data: codec.decode(data), rounds)
        found.ratios.append(len(data) / cloud.points.nbytes)
        found.bytes_.append(len(data))
        found.encode_ms.append(encode_ms)
        found.decode_ms.append(decode_ms)
        found.steps_mm.append(codec.step_m(cloud) * 1e3)
        found.worst_mm = max(found.worst_mm, worst_m(cloud.points, points) * 1e3)
    return found


def least_ms(call: Callable[[], object], rounds: int) -> tuple[object, float]:
    """(what it returns, the least time of so many calls after one that does not count)."""
    made, times = call(), []
    for _ in range(rounds):
        began = time.perf_counter()
        made = call()
        times.append((time.perf_counter() - began) * 1e3)
    return made, min(times)


def worst_m(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """How far the farthest point lies from the one that is nearest to it, either way."""
    one, other = before[:, :3].astype(np.float64), after[:, :3].astype(np.float64)
    assert len(one) == len(other)
    return max(
        float(KDTree(a).query(b, distance_upper_bound=1.0)[0].max())
        for a, b in ((one, other), (other, one))
    )


def longest(cloud: Cloud) -> float:
    """The longest side of the box around it, metres: what Draco's steps are parts of."""
    return float(np.ptp(cloud.points[:, :3], axis=0).max())


def eighths(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Intensities in 8 bits."""
    return np.rint(points[:, 3] * 255).astype(np.uint8)


def joined(positions: NDArray[np.floating], shades: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.column_stack((positions, shades)).astype(np.float32)


def recordings() -> dict[str, list[Cloud]]:
    """Those that are there."""
    found = {}
    if (clip := DATA / "kitti_raw_clip").is_dir():
        found["kitti"] = [Cloud(read_points(path)) for path in list_sweeps(clip)]
    if logs := sorted((DATA / "av2").glob("*")):
        log = Log(logs[0])
        origin = tuple(log.calibration.pose("ego", "up_lidar").translation.tolist())
        scans = [frame.lidars[0] for frame in log.frames(cameras=False)]
        found["av2"] = [Cloud(scan.points, scan.rings, origin) for scan in scans]
    return found


def main() -> int:
    options = arguments(__doc__)
    inputs, rounds = recordings(), 3 if options.quick else 15
    if not inputs:
        print("no recordings: FRAMEMESH_DATA names their folder", file=sys.stderr)
        return 1
    report = Report(
        "uplink",
        config={
            "bound_m": BOUND_M,
            "rounds": rounds,
            "points": {
                name: [len(cloud.points) for cloud in clouds] for name, clouds in inputs.items()
            },
        },
    )
    kept = True
    for name, clouds in inputs.items():
        figures = {codec: measure(CODECS[codec], clouds, rounds) for codec in CODECS}
        rows: list[list[str | float]] = [
            [
                f"{name}: {codec}", statistics.mean(of.bytes_), statistics.mean(of.ratios),
                statistics.median(of.encode_ms), statistics.median(of.decode_ms),
                statistics.mean(of.steps_mm), of.worst_mm,
            ]
            for codec, of in figures.items()
        ]  # fmt: skip
        header = ["codec", "bytes", "of raw", "encode ms", "decode ms", "step mm", "worst mm"]
        report.table(header, rows)
        mine = figures["framemesh"]
        report.figure(f"ratio_to_raw_{name}", statistics.mean(mine.ratios))
        kept &= max(mine.ratios) <= 0.25 and mine.worst_mm <= BOUND_M * 1e3
        if len(report.figures) == 1:  # of the first recording, KITTI's where it is there
            report.figure("encode_ms", statistics.median(mine.encode_ms))
            report.figure("decode_ms", statistics.median(mine.decode_ms))
            for other, key in (("Draco, our step", "draco"), ("LAZ", "laz")):
                report.figure(f"bytes_to_{key}", sum(mine.bytes_) / sum(figures[other].bytes_))
    report.finish(options)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
