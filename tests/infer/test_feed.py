"""What clients are told of sweeps and results, and that it needs no compiler."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from infer.codec import CLASSES, decode_result
from infer.sweep import decode_sweep
from infer.workload import create
from mesh.core.errors import ContentRefused


def test_the_plugin_is_fed_and_read_without_a_compiler(tmp_path):
    code = """import sys
from mesh.core.plugins import create_workload
from mesh.core.workload import Feedable
plugin = create_workload("infer", {})
assert isinstance(plugin, Feedable)
assert len(next(plugin.read_inputs(None))[1]) > 100_000
print(*[m for m in ("numba", "vulkan", "av", "render") if m in sys.modules])"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ""


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name in ("b", "a"):
        np.full((10, 4), ord(name), np.float32).tofile(tmp_path / f"{name}.bin")
    sweeps = [decode_sweep(stamp, data) for stamp, data in create({}).read_inputs(tmp_path)]
    assert [(s.stamp_us, s.points[0, 0]) for s in sweeps] == [(0, 97), (100_000, 98)]


@pytest.mark.parametrize("size", [17, 16 * 300_001], ids=["cut", "large"])
def test_a_file_that_cannot_be_a_sweep_is_named_before_any_is_read(tmp_path, size):
    (tmp_path / "0.bin").write_bytes(bytes(160))
    with (tmp_path / "1.bin").open("wb") as file:
        file.truncate(size)
    with pytest.raises(ContentRefused, match=r"1\.bin"):
        create({}).read_inputs(tmp_path)


def test_made_up_sweeps_go_on_and_are_in_order():
    inputs = create({}).read_inputs(None)
    sweeps = [decode_sweep(*next(inputs)) for _ in range(3)]
    assert [sweep.stamp_us for sweep in sweeps] == [0, 100_000, 200_000]
    assert len({sweep.points.tobytes() for sweep in sweeps}) == 3


def test_a_result_is_explained_as_it_is(bench, clip):
    frame = bench.open(clip[0], 3)
    for index in (0, 2):
        frame.accept(index, memoryview(bench.answer(frame, index)))
    frame.fill(1)
    message = frame.finish()
    result = decode_result(message)
    told = json.loads(json.dumps(create({}).explain(message)))
    assert (told["sectors"], told["missing"]) == (3, [1])
    assert told["counts"]["points"] == len(clip[0])
    assert [box["class"] for box in told["boxes"]] == [CLASSES[c] for c in result.boxes.classes]
    centres = np.array([box["centre"] for box in told["boxes"]])
    np.testing.assert_allclose(centres, result.boxes.centres, atol=1e-3)
    assert any(box["cut"] for box in told["boxes"])
    cars = sum(box["class"] == "car" for box in told["boxes"])
    assert told["summary"].startswith(f"{len(told['boxes'])} boxes: {cars} car, ")
    with pytest.raises(ContentRefused):
        create({}).explain(message[:-1])
