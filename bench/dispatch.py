"""What it costs to have a piece done, beside its work: deciding where, and there and back.

Decision: the real driver and placer in virtual time, 16 devices, frames of 16 pieces whose run
times differ by a twentieth; wall time of opening, placing, every verdict and every answer, per
piece.

Dispatch: a no-op piece with 1 KB in and 1 KB out, to a device process and back. "Node" is a node's
own road (message, deadline queue, process, message), "process" its last part alone; beside them,
call by call in turn and on the same machine, a Ray actor (`ray.get(actor.noop.remote(...))`) and a
Ray Serve handle, both warm and asked for the same kilobytes.

"Lost between two pieces" is a device's time from the end of a piece that takes a millisecond to the
beginning of the next, which waits: handed over when the device says that it is free, or at hand
there by then, as a node does it.

"At rest" is the same call by itself every 20 ms, as a frame's pieces come: what a loop of calls
keeps in the processor's caches is gone by then.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import uvloop

from bench import rayside
from bench.report import Report, arguments
from bench.timed.frames import JOB_BYTES
from bench.timed.plugin import NAME, PieceSpec, encode
from bench.timed.roads import INPUTS, Call, device_process, dispatched, straight
from mesh.core.workload import Contract, Piece
from mesh.schedule.cost import CostModel
from mesh.schedule.driver import OpenFrame, Send, SessionDriver
from mesh.schedule.ids import DeviceKey
from mesh.schedule.placement import Placer

DEVICES = 16
PIECES = 16
PERIOD_US = 33_333
RUN_US = 4_000
NOISE = 0.05
WAY_US = 300
BATCH = 20  # calls of one road before the next has its turn
WARM_UP = 10  # rounds
PAUSE_S = 0.02
MILLISECOND = encode(PieceSpec(1_000.0, nbytes=JOB_BYTES))
RESTED = {"node", "Ray actor"}


def decisions(frames: int) -> list[float]:
    """Microseconds per piece, one value per frame."""
    placer = Placer(CostModel())
    driver = SessionDriver("bench", 1, Contract(PERIOD_US, PERIOD_US), placer, start_us=0)
    for number in range(DEVICES):
        device = DeviceKey(f"node-{number}", "gpu")
        placer.add(device, 0)
        driver.device_ready(device, 0)
    pieces = [
        Piece(index, "tile", 1.0, b"", 80_000, region=(0, 0, 16, 16)) for index in range(PIECES)
    ]
    chance, took = Random(1), []
    for frame in range(-WARM_UP, frames):
        now_us = driver.clock.next_open_us
        began = time.perf_counter_ns()
        (opened,) = [a for a in driver.tick(now_us) if isinstance(a, OpenFrame)]
        sends = [a for a in driver.pieces(opened.frame, pieces, now_us) if isinstance(a, Send)]
        runs_us = sorted(round(RUN_US * chance.lognormvariate(0.0, NOISE)) for _ in sends)
        for send, run_us in zip(sends, runs_us, strict=True):
            done_us = now_us + run_us + WAY_US
            driver.verdict(send.key, send.device)
            driver.result(
                send.key,
                send.device,
                done_us,
                queue_us=0,
                run_us=run_us,
                backlog_us=0,
                nbytes=80_000,
            )
        if frame >= 0:
            took.append((time.perf_counter_ns() - began) / 1000 / PIECES)
    return took


async def dispatches(rounds: int, others: dict[str, Call]) -> dict[str, list[float]]:
    """Microseconds of each call, by road. others: roads that are not ours."""
    took: dict[str, list[float]] = {}

    async def timed(name: str, call: Call, pause_s: float = 0.0) -> None:
        for _ in range(BATCH):
            if pause_s:
                await asyncio.sleep(pause_s)
            began = time.perf_counter_ns()
            await call()
            took.setdefault(name, []).append((time.perf_counter_ns() - began) / 1000)

    async with AsyncExitStack() as stack:
        device = await stack.enter_async_context(device_process())
        roads = {
            "node": await stack.enter_async_context(dispatched(device)),
            "process": await stack.enter_async_context(straight(device)),
            **others,
        }
        for number in range(-WARM_UP, rounds):
            if number == 0:
                took.clear()
            for name, call in roads.items():
                await timed(name, call)
        for _ in range(max(2, rounds // 20)):
            for name in sorted(RESTED & roads.keys()):
                await timed(f"{name}, at rest", roads[name], PAUSE_S)
    return took


async def between(pieces: int) -> dict[str, float]:
    """Microseconds lost between two pieces, in the mean."""
    async with device_process() as device:
        await device.prepare("ms", NAME, b"", {})

        async def work(count: int) -> int:
            """Piece after piece; the time inside the executor."""
            run_us = 0
            for _ in range(count):
                done = await device.run(
                    "ms", NAME, MILLISECOND, JOB_BYTES, kill_after_us=60_000_000
                )
                done.lease.release()
                run_us += done.run_us
            return run_us

        lost: dict[str, list[float]] = {}
        for number in range(-1, BATCH):
            for name, at_once in (("handed over", 1), ("at hand", 2)):
                began = time.perf_counter_ns()
                runs = [work(pieces // BATCH // at_once) for _ in range(at_once)]
                run_us = sum(await asyncio.gather(*runs))
                took_us = (time.perf_counter_ns() - began) / 1000
                if number >= 0:
                    lost.setdefault(name, []).append((took_us - run_us) / (pieces // BATCH))
        return {name: statistics.median(each) for name, each in lost.items()}


def with_ray(rounds: int) -> dict[str, list[float]]:
    """Everything in turn, with Ray up all the while."""
    with rayside.ray_running() as ray, rayside.serve_running() as serve:

        class Noop:
            def noop(self, data: bytes) -> bytes:
                return data

            def __call__(self, data: bytes) -> bytes:
                return data

        actor = ray.remote(num_cpus=0)(Noop).remote()
        deployment = serve.deployment(Noop, ray_actor_options={"num_cpus": 0})
        handle = serve.run(deployment.bind(), name="noop", route_prefix=None)

        async def ask_actor() -> None:
            ray.get(actor.noop.remote(INPUTS))  # blocks; its awaitable takes longer

        async def ask_serve() -> None:
            await handle.remote(INPUTS)

        others = {"Ray actor": ask_actor, "Ray Serve handle": ask_serve}
        return uvloop.run(dispatches(rounds, others))


def main() -> None:
    options = arguments(__doc__)
    rounds = 50 if options.quick else 500
    report = Report("dispatch", config={"devices": DEVICES, "pieces": PIECES, "rounds": rounds})
    decided = decisions(500 if options.quick else 5000)
    report.table(
        ["decision, per piece", "p50 us", "p99 us"],
        [["driver and placer", statistics.median(decided), _at(decided, 0.99)]],
    )
    lacking = rayside.why_not()
    took = uvloop.run(dispatches(rounds, {})) if lacking else with_ray(rounds)
    if lacking:
        print(f"\nnot beside Ray: {lacking}")
    report.table(
        ["1 KB there and back", "p50 us", "p99 us", "p99.9 us", "to ours"],
        [
            [
                name,
                *(_at(times, share) for share in (0.5, 0.99, 0.999)),
                _at(times, 0.5) / _at(took["node"], 0.5),
            ]
            for name, times in took.items()
        ],
    )
    lost_us = uvloop.run(between(400 if options.quick else 4000))
    report.table(["lost between two pieces", "us"], list(map(list, lost_us.items())))
    report.figure("between_us", lost_us["at hand"])
    report.figure("decision_us_p50", statistics.median(decided))
    report.figure("decision_us_p99", _at(decided, 0.99))
    report.figure("dispatch_us_p50", _at(took["node"], 0.5))
    report.figure("dispatch_us_p999", _at(took["node"], 0.999))
    if not lacking:
        report.figure("ray_actor_to_ours_p50", _at(took["Ray actor"], 0.5) / _at(took["node"], 0.5))
        serve_us = _at(took["Ray Serve handle"], 0.5)
        report.figure("ray_serve_to_ours_p50", serve_us / _at(took["node"], 0.5))
    report.finish(options)


def _at(times: Sequence[float], share: float) -> float:
    ordered: list[Any] = sorted(times)
    return float(ordered[min(int(share * len(ordered)), len(ordered) - 1)])


if __name__ == "__main__":
    main()
