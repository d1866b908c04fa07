"""One frame on several devices: how much sooner it is whole, and how many more there are.

A 1280x720 picture that costs one device 80 ms is cut by the gateway for the devices it has, made
on timed devices (bench/timed: they write real tiles and sleep for the rest of their time) in node
processes of their own, and merged from real links. A frame's latency is from its opening until it
is whole; speed-ups are to one device in the same run.

Unequal devices have the speeds 1, 2 and 4: `unequal_to_ideal` is what they make together with two
frames in flight, as a share of the sum of their speeds; the same for one frame's latency beside it.

The halving: one of four devices takes twice as long from one frame to the next. Frames are counted
until five in a row have their devices' finish times within 10 % of the last one's.

What the mesh itself costs is in the last table: CPU time per frame, by part. The devices only
sleep, so all of it is cutting, sending, receiving and merging; on few cores it is what bounds the
speed-up, and it depends less than the times do on what else the machine does.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import statistics
import time
from collections.abc import Mapping
from typing import Any

import uvloop

from bench.report import Report, arguments
from bench.timed.mesh import Made, ask, linked, timed_mesh, timed_session
from bench.timed.work import spent_us
from clients.cli.demo import DemoMesh
from clients.sdk.session import Session

FRAME_MS = 80.0
LABELS = ("a", "b", "c", "d", "e", "f", "g", "h")
UNEQUAL = {"a": 1.0, "b": 1 / 2, "c": 1 / 4}  # times as long: speeds 1, 2 and 4
WARM_UP = 25  # frames: links and speeds are measured by then
BALANCED = 0.10
IN_A_ROW = 5
PARTS = ("client", "gateway", "workers", "devices")


async def latencies(
    session: Session, frames: int, slower: Mapping[str, float] | None = None
) -> list[Made]:
    """One frame at a time."""
    for _ in range(WARM_UP):
        await ask(session, slower=slower)
    return [await ask(session, slower=slower) for _ in range(frames)]


async def frames_per_s(
    session: Session, frames: int, slower: Mapping[str, float] | None = None
) -> float:
    """Two frames at a time, each followed by another as soon as it is whole."""
    left = itertools.count()
    began_s = 0.0

    async def keep_asking() -> None:
        nonlocal began_s
        while (number := next(left)) < WARM_UP + frames:
            if number == WARM_UP:
                began_s = time.monotonic()
            await ask(session, slower=slower)

    async with asyncio.TaskGroup() as both:
        both.create_task(keep_asking())
        both.create_task(keep_asking())
    return frames / (time.monotonic() - began_s)


async def rebalanced(session: Session, slow: str) -> tuple[int, list[float]]:
    """Frames from a device's halving until all finish together again; the spreads seen."""
    for _ in range(WARM_UP):
        await ask(session)
    spreads = [(await ask(session, slower={slow: 2.0})).spread for _ in range(40)]
    for frame in range(len(spreads) - IN_A_ROW + 1):
        if max(spreads[frame : frame + IN_A_ROW]) < BALANCED:
            return frame, spreads
    return len(spreads), spreads


async def measure(frames: int) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    found: dict[str, Any] = {"latency": {}, "per_s": {}, "cpu_us": {}}
    async with timed_mesh(port, dict.fromkeys(LABELS, 1.0), start=("gateway",)) as mesh:
        started = 0
        for devices in (1, 2, 3, 4, 8):
            for worker in range(started, devices):
                mesh.start(f"worker-{worker + 1}")
            started = devices
            await linked(mesh, devices)
            await _with_devices(mesh, devices, frames, found)
    return found


async def _with_devices(mesh: DemoMesh, devices: int, frames: int, found: dict[str, Any]) -> None:
    async with timed_session(mesh, devices, frame_ms=FRAME_MS, kind=f"on {devices}") as session:
        if devices == 3:
            found["unequal"] = await latencies(session, frames, UNEQUAL)
            found["unequal_per_s"] = await frames_per_s(session, frames, UNEQUAL)
            return
        before = spent_us()
        found["latency"][devices] = await latencies(session, frames)
        spent = spent_us() - before
        found["cpu_us"][devices] = {p: us / (WARM_UP + frames) for p, us in spent.items()}
        if devices in (1, 8):
            found["per_s"][devices] = await frames_per_s(session, frames)
        if devices == 4:
            found["rebalance"] = await rebalanced(session, "d")


def main() -> None:
    options = arguments(__doc__)
    frames = 40 if options.quick else 300
    found = uvloop.run(measure(frames))
    report = Report("split", config={"size": (1280, 720), "frame_ms": FRAME_MS, "frames": frames})
    one_ms = _p50_ms(found["latency"][1])
    rows = []
    for devices, made in found["latency"].items():
        times = sorted(m.latency_us / 1000 for m in made)
        rows.append(
            [
                f"{devices} equal",
                statistics.median(times),
                times[int(0.99 * len(times))],
                one_ms / statistics.median(times),
                one_ms / statistics.median(times) / devices,
                100 * statistics.median(m.spread for m in made),
            ]
        )
        if devices > 1:
            report.figure(f"speedup_{devices}", one_ms / statistics.median(times))
    unequal_ms, speeds = _p50_ms(found["unequal"]), sum(1 / f for f in UNEQUAL.values())
    rows.append(
        [
            "speeds 1, 2, 4",
            unequal_ms,
            sorted(m.latency_us / 1000 for m in found["unequal"])[int(0.99 * frames)],
            one_ms / unequal_ms,
            one_ms / unequal_ms / speeds,
            100 * statistics.median(m.spread for m in found["unequal"]),
        ]
    )
    report.table(["devices", "p50 ms", "p99 ms", "speed-up", "of ideal", "spread %"], rows)
    per_s = found["per_s"]
    report.table(
        ["two in flight", "frames/s", "speed-up", "of ideal"],
        [
            ["1", per_s[1], 1.0, 1.0],
            ["8 equal", per_s[8], per_s[8] / per_s[1], per_s[8] / per_s[1] / 8],
            [
                "speeds 1, 2, 4",
                found["unequal_per_s"],
                found["unequal_per_s"] / per_s[1],
                found["unequal_per_s"] / per_s[1] / speeds,
            ],
        ],
    )
    took, spreads = found["rebalance"]
    print("\nspread in % after one of four halves its speed, frame by frame:")
    print(" ".join(f"{100 * spread:.0f}" for spread in spreads))
    cpu = found["cpu_us"]
    report.table(
        ["CPU per frame, ms", *PARTS, "all"],
        [
            [
                f"{devices} equal",
                *(us.get(part, 0.0) / 1000 for part in PARTS),
                sum(us.values()) / 1000,
            ]
            for devices, us in cpu.items()
        ],
    )
    report.figure("cpu_ms_per_frame_8", sum(cpu[8].values()) / 1000)
    report.figure("throughput_8", per_s[8] / per_s[1])
    report.figure("unequal_to_ideal", found["unequal_per_s"] / per_s[1] / speeds)
    report.figure("unequal_latency_to_ideal", one_ms / unequal_ms / speeds)
    report.figure("rebalance_frames", took)
    report.finish(options)


def _p50_ms(made: list[Made]) -> float:
    return statistics.median(m.latency_us for m in made) / 1000


if __name__ == "__main__":
    main()
