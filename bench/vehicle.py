"""One vehicle of `bench.offload`, in a process of its own: drives cycles and writes down each one.

Reads its orders from the command line, says "ready" and what gateway is its home, begins when a
line comes on its standard input, and writes what became of its cycles to a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from pathlib import Path

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

import framemesh
from infer.readers.kitti import list_sweeps, read_points
from infer.synthetic import scan, street
from mesh.core.loop import monotonic_us

SWEEPS = 8
# A vehicle's computer is its own; here it shares the machine with the mesh.
NICE = -10


class Orders(msgspec.Struct, frozen=True):
    """What to do. clip: a folder of KITTI's sweeps, "" for made-up ones. out: where to write."""

    urls: tuple[str, ...]
    rate_hz: float
    deadline_ms: float
    seconds: float
    clip: str
    out: str


class Record(msgspec.Struct, frozen=True):
    """One cycle. Times are microseconds of the machine's monotonic clock.

    cycle: as the answer says. begun_us: just before it was asked for; answered_us: when whoever
    asked had the answer in hand. home: the gateway that counts as the vehicle's by then.
    """

    cycle: int
    mark: str
    begun_us: int
    answered_us: int
    objects: int
    sent_to: tuple[str, ...]
    home: str


class Log(msgspec.Struct, frozen=True):
    """All of a vehicle. asked: cycles; given: answers, as the vehicle counts them."""

    asked: int
    given: int
    moves: int
    improved: int
    records: list[Record]


def sweeps(clip: str) -> list[NDArray[np.float32]]:
    """The first of a folder, or made-up ones."""
    if clip:
        return [read_points(path) for path in list_sweeps(Path(clip))[:SWEEPS]]
    return [scan(street(seed), seed=seed) for seed in range(SWEEPS)]


async def drive(orders: Orders) -> Log:
    """A sweep each period, from the word go until the time is over."""
    scans = sweeps(orders.clip)
    records: list[Record] = []
    asked = 0
    options = {"rate_hz": orders.rate_hz, "deadline_ms": orders.deadline_ms}
    async with framemesh.offload(orders.urls, **options) as vehicle:
        for points in scans:  # what is slow the first time is over before it counts
            await vehicle.cycle(points)
        before = sum(vehicle.counts.values())
        gc.collect()
        gc.freeze()
        print(f"ready {vehicle.home or ''}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        start_us = monotonic_us()
        for number in range(round(orders.seconds * orders.rate_hz)):
            due_us = start_us + round(number * 1e6 / orders.rate_hz)
            await asyncio.sleep(max(0, due_us - monotonic_us()) / 1e6)
            asked += 1
            begun_us = monotonic_us()
            answer = await vehicle.cycle(scans[number % len(scans)])
            records.append(
                Record(
                    answer.cycle,
                    answer.mark,
                    begun_us,
                    monotonic_us(),
                    len(answer.objects),
                    answer.sent_to,
                    vehicle.home or "",
                )
            )
        given = sum(vehicle.counts.values()) - before
        return Log(asked, given, vehicle.moves, vehicle.improved, records)


def main() -> None:
    orders = msgspec.json.decode(sys.argv[1], type=Orders)
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    log = uvloop.run(drive(orders))
    Path(orders.out).write_bytes(msgspec.json.encode(log))


if __name__ == "__main__":
    main()
