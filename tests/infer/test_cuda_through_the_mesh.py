"""A sweep through a whole mesh to a CUDA device: SDK, links, node and device processes.

Held against the CPU's answer with no tolerance at all: after the rounding to units of 1/1024 m
everything is integer arithmetic, so every byte but the times is equal.
"""

from __future__ import annotations

import socket

import numpy as np
import pytest

import framemesh
from clients.cli.demo import DemoMesh
from infer.codec import decode_result
from infer.sweep import encode_sweep
from infer.synthetic import street
from mesh.device.probe import probe

OPTIONS = {"reach_m": 16, "rate_hz": 0.1, "deadline_ms": 10_000}
KILL_MS = 60_000  # the simulator takes seconds for what a GPU does in one millisecond


@pytest.fixture
async def cuda_settings(request):
    """The setting that has a node offer CUDA; the test is skipped where it would offer none."""
    settings = {"api": request.param}
    report = await probe({"infer": settings})
    if not report.found:
        pytest.skip(report.why_not["infer"])
    return settings


@pytest.fixture
async def mesh(cuda_settings, tmp_path, device_cache, monkeypatch):
    """A gateway, `worker-1` with the CPU, and `worker-2` with CUDA and nothing else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(device_cache))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    mesh = DemoMesh.lay_out(tmp_path, workers=2, port=port, workloads=["infer"])
    # The last table of each file is [workloads.infer].
    for name, api in {"worker-1": "cpu", "worker-2": cuda_settings["api"]}.items():
        with (tmp_path / f"{name}.toml").open("a") as file:
            file.write(f'api = "{api}"\n[device]\nkill_ms = {KILL_MS}\n')
    async with mesh.running():
        await mesh.ready()
        yield mesh


async def answer(mesh, api, sweep):
    """(result, the nodes that made it, what the gateway says of the session)."""
    async with framemesh.connect(mesh.page_url(), "infer", api=api, **OPTIONS) as session:
        result = await session.ask(sweep)
        [status] = (await mesh.status())["sessions"]
    assert result.facts["filled"] == 0
    return decode_result(result.data), result.facts["makers"], status


@pytest.mark.parametrize(
    ("cuda_settings", "points"),
    [
        ("cuda-simulator", 2_000),
        pytest.param("cuda", 2_000, marks=pytest.mark.gpu),
        pytest.param("cuda", 100_000, marks=pytest.mark.gpu),
    ],
    indirect=["cuda_settings"],
)
async def test_a_cuda_device_answers_what_the_cpu_answers(mesh, points, scene, make_bench, same):
    """One mesh has both; a session gets the kind it asks for and no other."""
    cloud = scene(street())
    cloud = cloud[(np.abs(cloud[:, :2]) < OPTIONS["reach_m"]).all(axis=1)]
    cloud = cloud[np.linspace(0, len(cloud) - 1, min(points, len(cloud))).astype(int)]
    sweep = encode_sweep(cloud)
    by_cuda, cuda_makers, status = await answer(mesh, "cuda", sweep)
    assert by_cuda.counts.points == len(cloud)
    assert len(by_cuda.boxes.yaws) > 3
    [maker] = cuda_makers
    assert maker.startswith("worker-2@")
    assert status["ready"] == [maker]
    [(refused, why)] = status["failed"].items()
    assert refused.startswith("worker-1@")
    assert "it asks for cuda, and this is cpu" in why
    by_cpu, cpu_makers, _ = await answer(mesh, "cpu", sweep)
    assert [maker.partition("@")[0] for maker in cpu_makers] == ["worker-1"]
    same(by_cpu, by_cuda)
    same(make_bench(**OPTIONS)(cloud), by_cuda)
