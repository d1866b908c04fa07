"""In a real, confined device process: the same results as here, on the CPU and in the simulator."""

from __future__ import annotations

from contextlib import asynccontextmanager

import numpy as np
import pytest

from infer.codec import decode_result
from infer.sweep import encode_sweep
from infer.workload import create
from mesh.core.errors import ContentRefused, PieceFailed
from mesh.core.workload import CutHint, SessionRequest
from mesh.device.launch import DeviceLimits, Plugins
from mesh.device.probe import probe
from mesh.device.supervisor import open_device

NOTHING = memoryview(b"")
PLUGINS = Plugins({"infer": "infer.workload:create"})
DAY_US = 60_000_000


@pytest.fixture
def opened(device_cache):
    """A device process with an infer session prepared."""

    @asynccontextmanager
    async def make(api, options, *, cache=None):
        settings = {"infer": {"api": api}}
        limits = DeviceLimits(cache_dir=cache or device_cache, readable=(device_cache,))
        report = await probe(settings, limits=limits, plugins=PLUGINS)
        assert report.found, report.why_not
        [info] = report.found["infer"]
        async with open_device(
            f"infer-{api}",
            [info],
            settings,
            limits=limits,
            changed=lambda _: None,
            plugins=PLUGINS,
        ) as device:
            session = create({}).open_session(SessionRequest("infer", options))
            await device.prepare("s", "infer", session.setup.spec, {})
            yield device, session

    return make


async def serve(device, session, points, sectors):
    session.offer_input(1, encode_sweep(points))
    frame = session.open_frame(0, 0, CutHint(sectors), NOTHING, NOTHING)
    for piece in frame.pieces:
        inputs = device.lease_input(len(piece.inputs))
        inputs.view[:] = piece.inputs
        result = await device.run(
            "s", "infer", piece.spec, piece.output_bytes, inputs=inputs, kill_after_us=DAY_US
        )
        frame.accept(piece.index, result.lease.view)
        result.lease.release()
    return decode_result(frame.finish())


async def test_a_confined_process_says_what_this_one_says(opened, bench, clip, same):
    async with opened("cpu", {}) as (device, session):
        assert not device.sandbox.missing
        assert device.opened["infer"].api == "cpu"
        same(bench(clip[0]), await serve(device, session, clip[0], 3))


async def test_a_malformed_piece_leaves_the_process_alive(opened, clip):
    async with opened("cpu", {}) as (device, session):
        pid = device.pid
        with pytest.raises(ContentRefused):
            await device.run("s", "infer", b"nonsense", 4096, kill_after_us=DAY_US)
        with pytest.raises(PieceFailed):
            spec = b"\x84\xa2lo\x00\xa2hi\xcd\x04\x00\xa6points\x00\xa4halo\x00"
            await device.run("s", "infer", spec, 16, kill_after_us=DAY_US)
        assert len((await serve(device, session, clip[0], 2)).boxes.yaws) > 50
        assert device.pid == pid


async def test_the_simulated_cuda_device_serves_2000_points(opened, make_bench, clip, same):
    """A CUDA device process where there is no GPU: software, on the CPU's unit, and equal."""
    options = {"reach_m": 16}
    points = clip[0][(np.abs(clip[0][:, :2]) < 16).all(axis=1)][::45][:2000]
    here = make_bench(**options)(points)
    assert len(here.boxes.yaws) > 3
    async with opened("cuda-simulator", options) as (device, session):
        info = device.opened["infer"]
        assert (info.api, info.software, info.unit) == ("cuda", True, "cpu")
        same(here, await serve(device, session, points, 2))
