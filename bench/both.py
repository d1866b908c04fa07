"""Pictures and sweeps on the same two workers: our queues beside FIFO ones, then a worker dies.

Two meshes of real processes run side by side, each a gateway and two workers with one device queue
(software Vulkan and the CPU's kernels share the unit); they differ in `[device] queue` alone. A
640x360 stream at 15 fps is watched by a real WebRTC viewer while a sensor sends 5 sweeps a second.
The meshes take turns in slices, in the order ABBA, each slice with sessions of its own from the
same seed: the same camera path, sweeps and phases, and a drift of the machine hits both alike.
The idle mesh only pings. A first slice of each is thrown away, and the first second of every one.

On time is what the client has whole before the deadline, counted from where the gateway opened the
frame; see bench/cycles.py. Pictures have two periods, as in a session that asks for nothing else,
and are cut into 12 tiles, of about one quantum (5 ms) each on a software renderer. At their default
deadline, one period of 200 ms, sweeps would not be late under either queue. So they get 40 ms, and
are the tighter class: by arrival, a sweep waits behind all tiles of a picture that has 133 ms,
which are more than 30 ms of work for each worker.

The second part kills a worker (SIGKILL) under our queues, starts it again, and counts from the
signal: the cycles that were missed until one that was due after the gateway noticed came on time,
and when the worker takes its share of both again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

import uvloop

from bench.cycles import Cycle, Fate, Wrongs, miss_pct
from bench.death import Death, kill
from bench.mixed import WORKLOADS, Both, Load, Scan, kitti, playing, scans, two_workers
from bench.report import Report, arguments
from clients.cli.demo import DemoMesh
from mesh.core.loop import monotonic_us

QUEUES = {"ours": "edf", "fifo": "fifo"}
LOAD = Load(tiles=12, picture_deadline_ms=133, sweep_deadline_ms=40)
SEED = 3
SETTLE_S = 1.0
STAGES = ("open", "pieces", "compose", "encode", "send")
QUANTILES = (0.50, 0.95, 0.99)


@dataclass
class Record:
    """What became of everything that was due under one queue, by workload."""

    cycles: dict[str, list[Cycle]]
    wrongs: dict[str, Wrongs]

    @classmethod
    def empty(cls) -> Record:
        return cls({name: [] for name in WORKLOADS}, {name: Wrongs() for name in WORKLOADS})

    def add(self, both: Both, from_us: int, until_us: int) -> None:
        """One slice more."""
        for name, cycles in both.cycles(from_us, until_us).items():
            self.cycles[name] += cycles
        for name, wrongs in both.wrongs().items():
            self.wrongs[name] += wrongs


async def compare(
    meshes: Mapping[str, DemoMesh], scans: Sequence[Scan], *, slices: int, slice_s: float
) -> dict[str, Record]:
    """So many slices of each mesh, in turn."""
    thrown_away = Record.empty()
    for mesh in meshes.values():
        await play_slice(mesh, scans, thrown_away, seed=SEED, seconds=SETTLE_S)
    records = {name: Record.empty() for name in meshes}
    for number in range(slices):
        names = list(meshes) if number % 2 == 0 else list(reversed(meshes))
        for name in names:
            await play_slice(
                meshes[name], scans, records[name], seed=SEED + number, seconds=slice_s
            )
    return records


async def play_slice(
    mesh: DemoMesh, scans: Sequence[Scan], record: Record, *, seed: int, seconds: float
) -> None:
    """Both sessions for so long, once both workers take part."""
    async with playing(mesh, LOAD, scans, seed=seed) as both:
        await both.joined()
        await asyncio.sleep(SETTLE_S)
        from_us = monotonic_us()
        await asyncio.sleep(seconds)
        until_us = monotonic_us()
        await asyncio.sleep(both.rest_s)
        record.add(both, from_us, until_us)


# --- the report ---------------------------------------------------------------------------------


def report_misses(report: Report, records: Mapping[str, Record]) -> None:
    """What was due and what became of it, ours beside FIFO."""
    rows: list[list[str | float]] = []
    for workload in WORKLOADS:
        for queue, record in records.items():
            cycles = record.cycles[workload]
            fates = [cycle.fate for cycle in cycles]
            share = miss_pct(cycles)
            rows.append(
                [workload, queue, len(cycles), *(fates.count(fate) for fate in Fate), share]
            )
            report.figure(f"{workload}_miss_pct_{queue}", share)
    report.table(["workload", "queue", "due", *(fate.value for fate in Fate), "missed %"], rows)


def report_stages(report: Report, records: Mapping[str, Record]) -> None:
    """Where the time went, p50/p95/p99 in milliseconds."""
    rows: list[list[str | float]] = []
    for workload in WORKLOADS:
        for queue, record in records.items():
            cycles = [c for c in record.cycles[workload] if c.took_us]
            times = {
                "opened to client": [c.took_us for c in cycles],
                **{stage: [c.stages[stage] for c in cycles] for stage in STAGES},
                "a piece's wait": [wait for c in cycles for _, wait, _ in c.pieces],
                "a piece's run": [run for c in cycles for _, _, run in c.pieces],
            }
            for stage, taken in times.items():
                ms = [quantile(taken, q) / 1000 for q in QUANTILES]
                rows.append([workload, queue, stage, *ms])
            report.figure(
                f"{workload}_p99_ms_{queue}", quantile(times["opened to client"], 0.99) / 1000
            )
    report.table(["workload", "queue", "stage", "p50 ms", "p95 ms", "p99 ms"], rows)


def quantile(values: Sequence[int], q: float) -> float:
    """The smallest value that a share q of them does not exceed; 0 of none."""
    return sorted(values)[max(0, ceil(q * len(values)) - 1)] if values else 0.0


def report_death(report: Report, deaths: Sequence[Death]) -> None:
    """The worst of several deaths."""
    rows: list[list[str | float]] = []
    for workload in WORKLOADS:
        each = [death.missed[workload] for death in deaths]
        worst = {
            "missed": max(m.missed for m in each),
            "for_ms": max(m.for_ms for m in each),
            "next_late": sum(not m.next_on_time for m in each),
            "alone_pct": max(m.alone_pct for m in each),
            "starting_pct": max(m.starting_pct for m in each),
            "back_s": max(m.back_s for m in each),
            "share_pct": 100 * min(m.share for m in each),
        }
        rows.append([workload, *worst.values()])
        for key, value in worst.items():
            report.figure(f"kill_{workload}_{key}", value)
    report.figure("kill_noticed_ms", max(death.noticed_ms for death in deaths))
    report.table(
        [
            "worker killed",
            "missed",
            "for ms",
            "next late",
            "missed alone %",
            "at start %",
            "back s",
            "share after %",
        ],
        rows,
    )


def report_wrongs(report: Report, found: Sequence[Mapping[str, Wrongs]]) -> bool:
    """What must be nought, over all parts; whether anything was not."""
    rows: list[list[str | float]] = []
    total = {name: sum((each[name] for each in found), Wrongs()) for name in WORKLOADS}
    for workload, wrongs in total.items():
        rows.append([workload, *asdict(wrongs).values()])
        for key, value in asdict(wrongs).items():
            report.figure(f"{workload}_{key}", value)
    report.table(["workload", "wrong", "repeated", "backwards"], rows)
    return any(wrongs.any for wrongs in total.values())


async def measure(report: Report, clip: Path | None, *, quick: bool) -> bool:
    """Every part; whether anything was wrong."""
    inputs = await asyncio.to_thread(scans, clip)
    async with AsyncExitStack() as stack:
        meshes = {
            name: await stack.enter_async_context(two_workers(queue))
            for name, queue in QUEUES.items()
        }
        slices, slice_s = (3, 4.0) if quick else (6, 10.0)
        records = await compare(meshes, inputs, slices=slices, slice_s=slice_s)
        report_misses(report, records)
        report_stages(report, records)
        deaths = [
            await kill(meshes["ours"], LOAD, inputs, seed=SEED + number)
            for number in range(1 if quick else 3)
        ]
        report_death(report, deaths)
    found = [each.wrongs for each in (*records.values(), *deaths)]
    return report_wrongs(report, found)


def main() -> int:
    options = arguments(__doc__)
    clip = kitti()
    report = Report(
        "both",
        config={**asdict(LOAD), "sweeps": "KITTI" if clip is not None else "synthetic"},
        seeds=[SEED],
    )
    wrong = uvloop.run(measure(report, clip, quick=options.quick))
    report.finish(options)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
