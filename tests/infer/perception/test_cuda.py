"""The perception kernels on CUDA without a GPU: PTX for sm_90 of each, and the simulator."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from numba import types

import infer.kernels.gpu

SCRIPT = Path(__file__).parent / "on_simulator.py"
COMPARED = [
    "voxels",
    "motion",
    "ground_and_clusters",
    "range_image",
    "occupancy",
    "painting",
    "nms",
    "radar",
    "tracks",
    "turning_tracks",
    "assignments",
    "rectangles",
]
MODULES = [info.name for info in pkgutil.iter_modules(infer.kernels.gpu.__path__)]

# What kernels take, by name.
KINDS = {
    (types.float32, 0): "steepest within most seconds",
    (types.int64, 0): "link move_rows move_columns number others others_from generalised",
    (types.float32, 1): """
        space area view field before belief camera radar distances noises variances xs ys
    """,
    (types.float32, 2): """
        points carried segments planes image pixels painted boxes turns ious targets objects
        covariances seen velocity course heights least spreads turn_scores sides
    """,
    (types.float32, 3): "features picture motion joint costs prices",
    (types.float32, 4): "scratch",
    (types.int32, 1): """
        times_us cell_of slot cells start member counts voxels low votes parents names n clusters
        index seen_by object_of
    """,
    (types.int32, 2): "count coordinates triples",
    (types.int64, 1): "closest first best members",
    (types.int64, 2): "found lowest sums nearest farthest row_of path done columns_of",
    (types.uint8, 1): "touched labels occupied hit free",
    (types.uint8, 2): "ruled_out",
}
TYPES = {
    name: types.Array(kind, axes, "C") if axes else kind
    for (kind, axes), names in KINDS.items()
    for name in names.split()
}


def kernels():
    """(module.name, function) of every kernel: those without a `_`, that the GPU starts."""
    for module in MODULES:
        found = vars(importlib.import_module(f"infer.kernels.gpu.{module}"))
        for name, value in found.items():
            if hasattr(value, "py_func") and not name.startswith("_"):
                yield f"{module}.{name}", value.py_func


@pytest.fixture(scope="module")
def ptx():
    """PTX by kernel. Device functions ask for a GPU's capability: it is told here."""
    cuda = importlib.import_module("numba.cuda")
    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    with pytest.MonkeyPatch.context() as patch:
        device = SimpleNamespace(compute_capability=(9, 0))
        patch.setattr(dispatcher, "get_current_device", lambda: device)
        compiled = {}
        for name, function in kernels():
            code = function.__code__
            taken = code.co_varnames[: code.co_argcount]
            signature = types.void(*(TYPES[argument] for argument in taken))
            compiled[name], _ = cuda.compile_ptx(function, signature, cc=(9, 0))
    return compiled


def test_every_kernel_compiles_and_none_computes_in_float64(ptx):
    assert {name.split(".")[0] for name in ptx} == set(MODULES)
    for name, text in ptx.items():
        assert ".target sm_90" in text, name
        assert ".visible .entry" in text, name
        assert ".f64" not in text, name


def test_shared_numbers_change_atomically(ptx):
    for name in (
        "voxels.each_counted",
        "plane.each_noted",
        "plane.each_voted",
        "components.each_linked",
        "radar.each_associated",
    ):
        assert "atom." in ptx[name] or "red." in ptx[name], name


def test_the_simulator_says_what_the_cpu_says():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == COMPARED
