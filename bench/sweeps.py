"""LiDAR sweeps through a whole mesh: is each result what one node says, and is it there in time?

A gateway and two workers, real processes on one machine; a client feeds KITTI sweeps at 10 Hz
through `framemesh.connect`, results come back over the same link. Latency is from just before a
sweep is handed to the link until its result is in the client's hands, and a sweep is missed if it
was refused, came back without a sector, or took longer than the deadline. The first sweeps, which
find a mesh that knows no costs yet, are counted like all others.

Stages: up, to the gateway's opening of the frame, and back, from the end of its last stage, are
differences of two processes' monotonic clocks, which are one on one machine. Cut, pieces and merge
are the gateway's. Queue and run are the slowest piece's, and columns, clusters and boxes the
slowest sector's, by the device's own clock; way is the rest of pieces: there and back.

A result is right if it has the same count and classes of boxes as one node's, centres within 1 cm
and yaws within half a degree; identical if it is the same to the last bit.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import uvloop

import framemesh
from bench.mixed import Scan, kitti, same, scans
from bench.report import Report, arguments
from bench.victim import free_port
from clients.cli.demo import DemoMesh
from clients.cli.feeding import Answer, NotTaken, feed, percentiles
from infer.codec import Boxes, Result, decode_result

RATE_HZ = 10
DEADLINE_MS = 100
CENTRE_M = 0.01
YAW_DEG = 0.5


def right(result: Result, alone: Result) -> bool:
    """Whether a result says what one node's says, within the stated tolerance."""
    one, other = result.boxes, alone.boxes
    return (
        result.missing == 0
        and len(one.yaws) == len(other.yaws)
        and np.array_equal(one.classes, other.classes)
        and bool(np.all(np.linalg.norm(one.centres - other.centres, axis=1) <= CENTRE_M))
        and bool(np.all(turned_deg(one, other) <= YAW_DEG))
    )


def turned_deg(one: Boxes, other: Boxes) -> np.ndarray:
    """Between the axes of each pair of boxes, 0..90: a box turned by 180 degrees is the same."""
    apart = np.abs(np.degrees(one.yaws - other.yaws)) % 180
    return np.minimum(apart, 180 - apart)


def stages_us(answer: Answer, result: Result) -> dict[str, int]:
    """Where the time went, in the order it did; the indented ones are parts of the one before."""
    facts = answer.result.facts
    within = facts["stages"]
    *_, queue_us, run_us = max(facts["pieces"], key=lambda piece: piece[-2] + piece[-1])
    return {
        "latency": answer.latency_us,
        "up": facts["opened_us"] - answer.sent_us,
        "cut": within["open"],
        "pieces": within["pieces"],
        "  way": within["pieces"] - queue_us - run_us,
        "  queue": queue_us,
        "  run": run_us,
        "    columns": result.times.columns,
        "    clusters": result.times.clusters,
        "    boxes": result.times.boxes,
        "merge": within["compose"],
        "back": answer.received_us - facts["opened_us"] - sum(within.values()),
    }


class Verdict:
    """What came of all sweeps."""

    def __init__(self, news: Sequence[Answer | NotTaken], scans: Sequence[Scan]) -> None:
        answers = [told for told in news if isinstance(told, Answer)]
        self.refused = len(news) - len(answers)
        self.late = sum(answer.latency_us > DEADLINE_MS * 1000 for answer in answers)
        self.incomplete = sum(answer.missing > 0 for answer in answers)
        self.missed = self.refused + sum(
            answer.latency_us > DEADLINE_MS * 1000 or answer.missing > 0 for answer in answers
        )
        self.wrong = self.identical = 0
        self.stages: dict[str, list[int]] = {}
        self.sectors: Counter[str] = Counter()
        for answer in answers:
            result, alone = (
                decode_result(answer.result.data),
                scans[answer.index % len(scans)].alone,
            )
            self.identical += same(result, alone)
            # A sweep without all of its sectors says so, and is missed rather than wrong.
            self.wrong += not answer.missing and not right(result, alone)
            self.wrong += bool(answer.missing) != bool(result.missing)
            for stage, us in stages_us(answer, result).items():
                self.stages.setdefault(stage, []).append(us)
            makers = answer.result.facts["makers"]
            self.sectors.update(makers[piece[-3]] for piece in answer.pieces if piece[-3] >= 0)
        frames = [answer.result.frame for answer in answers]
        self.out_of_order = sum(a >= b for a, b in pairwise(frames))

    def shares(self) -> dict[str, float]:
        """Of the sectors, by the worker's name."""
        total = max(1, self.sectors.total())
        return {maker.partition("@")[0]: n / total for maker, n in sorted(self.sectors.items())}


async def run(scans: Sequence[Scan], count: int) -> tuple[list[Answer | NotTaken], list[str]]:
    """Feed so many sweeps to a mesh of their own; (what was told of each, workers' names)."""
    with tempfile.TemporaryDirectory() as folder:
        mesh = DemoMesh.lay_out(
            Path(folder), workers=2, port=free_port(), workloads=("render", "infer")
        )
        async with mesh.running():
            await mesh.ready()
            news: list[Answer | NotTaken] = []

            async def told(of: Answer | NotTaken) -> None:
                news.append(of)

            options = {"rate_hz": RATE_HZ, "deadline_ms": DEADLINE_MS}
            async with framemesh.connect(mesh.page_url(), "infer", **options) as session:
                await feed(session, looped(scans, count), RATE_HZ, told)
            return news, [name for name in mesh.names if name != "gateway"]


async def looped(scans: Sequence[Scan], count: int) -> AsyncIterator[tuple[int, bytes]]:
    for index in range(count):
        yield index * 1_000_000 // RATE_HZ, scans[index % len(scans)].data


def main() -> int:
    options = arguments(__doc__)
    clip = kitti()
    inputs = scans(clip)
    count = 40 if options.quick else 300
    news, workers = uvloop.run(run(inputs, count))
    verdict = Verdict(news, inputs)
    report = Report(
        "sweeps",
        config={
            "sweeps": count,
            "rate_hz": RATE_HZ,
            "deadline_ms": DEADLINE_MS,
            "inputs": "kitti_raw_clip" if clip else "synthetic",
            "points": [len(scan.data) // 16 - 1 for scan in inputs],
            "workers": len(workers),
        },
    )
    rows: list[list[str | float]] = []
    for stage, times in verdict.stages.items():
        cuts = percentiles(times)
        rows.append([stage, *cuts.values()])
        for name, ms in cuts.items():
            report.figure(f"{stage.strip()}_ms_{name}", ms)
    report.table(["stage, ms", "p50", "p95", "p99"], rows)
    shares = verdict.shares()
    report.table(
        ["worker", "share of sectors"], [[name, shares.get(name, 0.0)] for name in workers]
    )
    counted = ("wrong", "identical", "out_of_order", "missed", "late", "incomplete", "refused")
    for name in counted:
        report.figure(name, getattr(verdict, name))
    report.figure("least_share", min(shares.get(name, 0.0) for name in workers))
    report.finish(options)
    return 1 if verdict.wrong or verdict.out_of_order else 0


if __name__ == "__main__":
    sys.exit(main())
