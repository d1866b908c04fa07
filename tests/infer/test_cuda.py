"""The CUDA target without a GPU: PTX for sm_90 of every kernel, and a sweep in the simulator."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from numba import types

SCRIPT = Path(__file__).parent / "on_simulator.py"
KERNELS = 14
WHOLE_NUMBERS = """
    p lowest ground occupied cell_of n parents number start filled member xs ys cosines sines
"""


@pytest.fixture(scope="module")
def ptx():
    """PTX by kernel. Device functions ask for a GPU's capability: it is told here."""
    cuda = importlib.import_module("numba.cuda")  # numba-cuda's, once installed
    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    ours = importlib.import_module("infer.kernels.cuda")

    patch = pytest.MonkeyPatch()
    device = SimpleNamespace(compute_capability=(9, 0))
    patch.setattr(dispatcher, "get_current_device", lambda: device)
    arrays = dict.fromkeys(WHOLE_NUMBERS.split(), types.Array(types.int32, 1, "C"))
    arrays |= {
        "points": types.Array(types.float32, 2, "C"),
        "bins": types.Array(types.uint16, 1, "C"),
        "columns": types.Array(types.int32, 2, "C"),
        "clusters": types.Array(types.int64, 2, "C"),
        "border": types.Array(types.int32, 2, "C"),
        "halo": types.Array(types.int32, 2, "C"),
        "scores": types.Array(types.int64, 1, "C"),
    }  # fmt: skip
    compiled = {}
    for name, kernel in vars(ours).items():
        if name.startswith("each_") or name == "begin":
            code = kernel.py_func.__code__
            taken = code.co_varnames[: code.co_argcount]
            signature = types.void(*(arrays[argument] for argument in taken))
            compiled[name], _ = cuda.compile_ptx(kernel.py_func, signature, cc=(9, 0))
    patch.undo()
    return compiled


def test_every_kernel_compiles_for_a_gpu_nobody_has_here(ptx):
    assert len(ptx) == KERNELS
    for text in ptx.values():
        assert ".target sm_90" in text
        assert ".visible .entry" in text


def test_no_kernel_computes_in_float64(ptx):
    assert [name for name, text in ptx.items() if ".f64" in text] == []


def test_shared_numbers_change_atomically_on_a_gpu(ptx):
    """The bodies' plain `add` and `lower` are replaced, in kernels called from kernels too."""
    for name, words in {
        "each_lowest": ".min.s32",
        "each_sorted": ".add",
        "each_united": ".min.s32",
        "each_gathered": ".add.u64",
    }.items():
        atomic = [line for line in ptx[name].splitlines() if "atom." in line or "red." in line]
        assert any(words in line for line in atomic), (name, atomic)


def test_the_simulator_says_what_the_cpu_says(tmp_path, bench, same):
    """2,000 points, whole and in sectors: equal, not merely close; all is integer arithmetic."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["api"] == "cuda"
    assert said["software"] is True
    assert said["unit"] == "cpu"
    assert said["boxes"] >= 3
    assert said["cpu"] == said["cuda whole"] == said["cuda in sectors"]


def test_a_simulator_that_nobody_asked_for_is_not_offered_as_a_gpu(monkeypatch):
    """The environment may switch it on; only the setting offers it."""
    code = """
from infer.workload import create
from mesh.core.errors import DeviceUnavailable
print(*(info.api for info in create({}).find_devices()))
try:
    create({"api": "cuda"}).find_devices()
except DeviceUnavailable as problem:
    print(problem)
"""
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    offered, refused = done.stdout.splitlines()
    assert offered == "cpu"
    assert "NUMBA_ENABLE_CUDASIM is set" in refused
