"""A vehicle's own pipeline: the same executor in a device process of its own, on fewer points."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from infer.codec import Result, decode_result
from infer.session import InferSession
from infer.sweep import encode_sweep
from infer.synthetic import scan, street
from infer.workload import InferOptions, InferWorkload, create
from mesh.core.config import NodeConfig, default_cache_dir
from mesh.core.errors import DeviceLost
from mesh.core.workload import CutHint
from mesh.device.supervisor import Device, DeviceLimits, Recall, open_device

log = logging.getLogger(__name__)

KILL_US = 2_000_000  # a sweep that holds the process for longer costs it its life
CALIBRATIONS = 4
# What the mesh's devices have too: a local pipeline must not starve who talks to the mesh.
NICE = 5
_SESSION = "local"
_NOTHING = memoryview(b"")


class LocalPipeline:
    """See `open_local`. One sweep at a time.

    took_us: how long it took for a full sweep at the start, by wall clock; so often.
    """

    def __init__(
        self, device: Device, work: InferSession, stride: int, ready: Callable[[bool], None]
    ) -> None:
        """stride: every so manieth point is looked at. ready: told whether it can be asked."""
        self._device, self._work, self._stride = device, work, stride
        self._ready = ready
        self._stamp_us = 0
        self._recall = Recall()
        self._serving = False
        self.took_us: list[int] = []

    @property
    def pid(self) -> int:
        """Its process."""
        return self._device.pid

    async def calibrate(self) -> None:
        """Find out how long it takes, and serve from then on. Raises DeviceLost, DeviceUnavailable.

        Times of the first sweep, which loads and compiles, are thrown away.
        """
        await self._device.prepare(_SESSION, InferWorkload.name, self._work.setup.spec, {})
        points = await asyncio.to_thread(lambda: scan(street()))
        for number in range(CALIBRATIONS + 1):
            began = time.monotonic_ns()
            await self.run(points)
            if number:
                self.took_us.append((time.monotonic_ns() - began) // 1000)
        self._serving = True
        self._ready(self._device.state == "ready")

    def changed(self, device: Device) -> None:
        """The process came or went."""
        if self._serving:
            self._ready(device.state == "ready")

    async def run(self, points: NDArray[np.float32]) -> Result:
        """What is in a sweep, float32 (n, 4). Raises DeviceLost, or PieceAbandoned after `stop`."""
        self._stamp_us += 1
        self._recall = recall = Recall()
        thinned = points[:: self._stride]
        self._work.offer_input(self._stamp_us, memoryview(encode_sweep(thinned)))
        frame = self._work.open_frame(0, 0, CutHint(devices=1), _NOTHING, _NOTHING)
        for piece in frame.pieces:
            inputs = self._device.lease_input(len(piece.inputs))
            if inputs is None:
                raise DeviceLost(
                    what="the local pipeline cannot look at a sweep",
                    why="its process is gone",
                    fix="It is started again; until then tracks are extrapolated.",
                )
            inputs.view[:] = memoryview(piece.inputs).cast("B")
            try:
                done = await self._device.run(
                    _SESSION,
                    InferWorkload.name,
                    piece.spec,
                    piece.output_bytes,
                    inputs=inputs,
                    kill_after_us=KILL_US,
                    recall=recall,
                )
            finally:
                if recall.inputs is not None:
                    recall.inputs.release()
            frame.accept(piece.index, done.lease.view)
            done.lease.release()
        return decode_result(frame.finish())

    def stop(self) -> None:
        """Nobody wants what it is at."""
        self._recall.abandon()


@asynccontextmanager
async def open_local(
    options: InferOptions, stride: int, ready: Callable[[bool], None]
) -> AsyncIterator[LocalPipeline]:
    """A calibrated pipeline, and a process that is replaced when it ends.

    options: the session's, of which the cut is left out. ready: called on the loop whenever it can
    be asked, or cannot. Raises DeviceUnavailable, DeviceLost.
    """
    [info] = create({"api": "cpu"}).find_devices()
    work = await asyncio.to_thread(
        lambda: InferSession(options.spec(), sectors=1, rate_hz=options.rate_hz, deadline_us=0)
    )
    # Where a node that runs here, with a node's default name, keeps its compiled kernels too.
    limits = DeviceLimits(cache_dir=default_cache_dir() / NodeConfig().name, nice=NICE)
    pipelines: list[LocalPipeline] = []

    def changed(device: Device) -> None:
        log.info("local pipeline: %s", device.state)
        for pipeline in pipelines:
            pipeline.changed(device)

    async with open_device(
        info.unit, [info], {InferWorkload.name: {"api": "cpu"}}, limits=limits, changed=changed
    ) as device:
        pipeline = LocalPipeline(device, work, stride, ready)
        pipelines.append(pipeline)
        await pipeline.calibrate()
        yield pipeline
