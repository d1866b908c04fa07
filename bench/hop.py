"""What the road costs: one tile in this process, in a device process, on another node.

The same 1280x720 frame in 4 tiles, one tile at a time, three ways in turn, round by round, so
that a busy moment of the machine hits all three alike. "Added" is the difference of the medians
of a tile's wall time to the way before; "road" is a tile's wall time less the time inside the
executor, measured in the same call.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from bench.report import Report, arguments
from bench.workernode import SESSION, worker_node
from mesh.core.plugins import create_workload
from mesh.core.workload import CutHint, Piece, SessionRequest, SessionWork
from mesh.device.supervisor import open_device

SIZE = (1280, 720)
TILES = 4
LONG_US = 60_000_000
WARM_UP = 5  # rounds

# One tile there and back: (its wall time, the part inside the executor), microseconds.
Way = Callable[[Piece], Awaitable[tuple[float, float]]]


def now_us() -> float:
    return time.perf_counter_ns() / 1000


def open_work() -> SessionWork:
    options = {"width": SIZE[0], "height": SIZE[1], "tiles": TILES, "fps": 30}
    return create_workload("render", {}).open_session(SessionRequest("render", options))


def cut(work: SessionWork) -> list[Piece]:
    assert work.picture is not None
    canvas = memoryview(bytearray(work.picture.nbytes))
    return list(work.open_frame(0, 0, CutHint(TILES), canvas, memoryview(b"")).pieces)


@asynccontextmanager
async def in_process(work: SessionWork) -> AsyncIterator[Way]:
    """The executor called directly."""
    workload = create_workload("render", {})
    executor = workload.open_executor(workload.find_devices()[0])
    assets = {a.digest: memoryview(a.data) for a in work.setup.assets}
    executor.prepare(SESSION, work.setup.spec, assets)
    output = memoryview(bytearray(SIZE[0] * SIZE[1] * 3 // 2))

    async def run(piece: Piece) -> tuple[float, float]:
        began = now_us()
        executor.run(SESSION, piece.spec, memoryview(piece.inputs), output[: piece.output_bytes])
        took = now_us() - began
        return took, took

    yield run
    executor.close()


@asynccontextmanager
async def device_process(work: SessionWork) -> AsyncIterator[Way]:
    """A supervised device process of this node; the result is left in shared memory."""
    infos = create_workload("render", {}).find_devices()[:1]
    async with open_device("bench", infos, {"render": {}}, changed=lambda _: None) as device:
        assets = {a.digest: a.data for a in work.setup.assets}
        await device.prepare(SESSION, "render", work.setup.spec, assets)

        async def run(piece: Piece) -> tuple[float, float]:
            began = now_us()
            result = await device.run(
                SESSION, "render", piece.spec, piece.output_bytes, kill_after_us=LONG_US
            )
            took = now_us() - began
            result.lease.release()
            return took, result.run_us

        yield run


@asynccontextmanager
async def loopback_node(work: SessionWork) -> AsyncIterator[Way]:
    """A worker in a process of its own, over the real link; the result ends in our buffer."""
    async with worker_node(work) as node:

        async def run(piece: Piece) -> tuple[float, float]:
            began = now_us()
            done, _ = await node.run(piece)
            return now_us() - began, done.run_us

        yield run


async def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    work = open_work()
    pieces = cut(work)
    times: dict[str, list[tuple[float, float]]] = {}
    async with AsyncExitStack() as stack:
        ways = {
            "in process": await stack.enter_async_context(in_process(work)),
            "device process": await stack.enter_async_context(device_process(work)),
            "loopback node": await stack.enter_async_context(loopback_node(work)),
        }
        for number in range(-WARM_UP, rounds):
            for name, run in ways.items():
                for piece in pieces:
                    took = await run(piece)
                    if number >= 0:
                        times.setdefault(name, []).append(took)
    return times


def main() -> None:
    options = arguments(__doc__)
    os.environ.setdefault("LP_NUM_THREADS", "2")
    rounds = 30 if options.quick else 200
    times = uvloop.run(measure(rounds))
    wall = {name: statistics.median(t for t, _ in took) / 1000 for name, took in times.items()}
    road = {name: statistics.median(t - r for t, r in took) / 1000 for name, took in times.items()}
    here, device, node = wall["in process"], wall["device process"], wall["loopback node"]
    report = Report("hop", config={"size": SIZE, "tiles": TILES, "rounds": rounds})
    report.table(
        ["way", "p50 ms", "added ms", "road ms"],
        [
            ["in process", here, 0.0, 0.0],
            ["device process", device, device - here, road["device process"]],
            ["loopback node", node, node - device, road["loopback node"]],
        ],
    )
    report.figure("in_process_ms_p50", here)
    report.figure("device_process_added_ms_p50", device - here)
    report.figure("loopback_node_added_ms_p50", node - device)
    report.figure("device_process_road_ms_p50", road["device process"])
    report.figure("loopback_node_road_ms_p50", road["loopback node"])
    report.finish(options)


if __name__ == "__main__":
    main()
