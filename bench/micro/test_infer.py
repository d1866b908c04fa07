"""How long each kernel takes on the CPU for one synthetic sweep (64 beams, about 112,000 points).

Run: `pytest bench/micro --benchmark-only`. One thread; compiled before the first round. The stages
of a piece are timed on whole tables, so their times add up to `test_whole_sweep_on_one_device`.
"""

from __future__ import annotations

import numpy as np
import pytest

from infer.codec import boxes_of
from infer.executor import warm_up
from infer.grid import BINS, azimuth_bins
from infer.kernels.cpu import Boxes, CpuPipeline, kernels
from infer.layout import CLUSTER_FIELDS, COLUMN_FIELDS, COUNTERS, NONE
from infer.merge import Merger
from infer.partial import Partial, bound_bytes, pack, unpack
from infer.sectors import Cutter
from infer.sweep import MAX_POINTS, decode_sweep, encode_sweep
from infer.synthetic import scan, street
from infer.workload import InferOptions

NO_HALO = np.empty((0, 2), np.int32)
NO_HALO.flags.writeable = False


class Tables:
    """One sweep, and every table as it is after the last kernel."""

    def __init__(self) -> None:
        self.grid = InferOptions().spec().grid()
        self.data = encode_sweep(scan(street()))
        self.points = decode_sweep(0, self.data).points
        self.p, self.bins = self.grid.parameters(), azimuth_bins(self.grid.ground_side)
        self.lowest = np.full(self.grid.ground_cells, NONE, np.int32)
        self.ground = np.empty_like(self.lowest)
        self.occupied = np.zeros(self.grid.cells, np.int32)
        self.cell_of = np.empty(len(self.points), np.int32)
        rows = len(self.points)
        self.columns = np.empty((rows, COLUMN_FIELDS), np.int32)
        self.parents, self.number = np.empty(rows, np.int32), np.empty(rows, np.int32)
        self.clusters = np.empty((rows, CLUSTER_FIELDS), np.int64)
        self.border = np.empty((rows, 2), np.int32)
        self.n = np.zeros(COUNTERS, np.int32)
        self.boxes = Boxes()
        for step in STEPS.values():
            step(self)


def lowest(t: Tables) -> None:
    kernels.each_lowest(t.points, t.p, t.lowest)


def ground(t: Tables) -> None:
    kernels.each_ground(t.p, t.bins, t.lowest, t.ground, t.n)


def sort(t: Tables) -> None:
    kernels.each_sorted(t.points, t.p, t.ground, t.occupied, t.cell_of, t.n)


def list_cells(t: Tables) -> None:
    t.occupied[t.occupied > 0] = 1
    t.n[:] = 0
    kernels.each_listed(t.p, t.occupied, t.columns, t.parents, t.n)


def measure(t: Tables) -> None:
    kernels.each_measured(t.points, t.p, t.ground, t.occupied, t.cell_of, t.columns)


def unite(t: Tables) -> None:
    t.parents[: t.n[0]] = np.arange(t.n[0])
    kernels.each_united(t.p, t.occupied, t.columns, t.parents, t.n)


def gather(t: Tables) -> None:
    t.n[1:3] = 0
    kernels.each_numbered(t.parents, t.number, t.clusters, t.n)
    kernels.each_gathered(t.p, t.bins, t.columns, t.parents, t.number, t.clusters, t.border, t.n)


def fit(t: Tables) -> None:
    t.boxes.fit(t.p, t.columns, t.clusters, t.n)


STEPS = {
    "lowest": lowest,
    "ground": ground,
    "sort": sort,
    "list": list_cells,
    "measure": measure,
    "unite": unite,
    "gather": gather,
    "fit": fit,
}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables()


@pytest.fixture(scope="module")
def pipeline(tables) -> CpuPipeline:
    made = CpuPipeline(tables.grid, MAX_POINTS)
    warm_up(made)
    return made


def partials(tables: Tables, pipeline: CpuPipeline, sectors: int) -> list[tuple[bytes, int]]:
    """What devices answer, and for how many points."""
    answers = []
    for sector in Cutter(tables.grid).cut(tables.points, 0, sectors).sectors:
        spec, floats = sector.spec, np.frombuffer(sector.inputs, np.float32)
        points = floats[: 4 * spec.points].reshape(-1, 4)
        halo = floats[4 * spec.points :].view(np.int32).reshape(-1, 2)
        points.flags.writeable = halo.flags.writeable = False
        output = memoryview(bytearray(bound_bytes(spec.points, tables.grid)))
        nbytes = pack(pipeline.run(points, halo, spec.lo, spec.hi), tables.grid, output)
        answers.append((bytes(output[:nbytes]), spec.points))
    return answers


@pytest.mark.parametrize("step", STEPS)
def test_kernel(benchmark, tables, step):
    benchmark(STEPS[step], tables)
    assert tables.n[0] > 500


def test_whole_sweep_on_one_device(benchmark, tables, pipeline):
    found = benchmark(pipeline.run, tables.points, NO_HALO, 0, BINS)
    assert len(found.clusters) > 20


def test_check_a_sweep(benchmark, tables):
    assert benchmark(decode_sweep, 0, tables.data).masked == 0


@pytest.mark.parametrize("sectors", [2, 4, 8])
def test_cut(benchmark, tables, sectors):
    cutter = Cutter(tables.grid)
    assert len(benchmark(cutter.cut, tables.points, 0, sectors).sectors) == sectors


@pytest.mark.parametrize("sectors", [1, 2, 4, 8])
def test_merge(benchmark, tables, pipeline, sectors):
    """Read the answers, join them, fit what crosses borders, and make boxes of all."""
    merger, answers = Merger(tables.grid), partials(tables, pipeline, sectors)

    def merge() -> int:
        parts: list[Partial] = [
            unpack(memoryview(data), tables.grid, points) for data, points in answers
        ]
        return len(boxes_of(merger.merge(parts)).yaws)

    assert benchmark(merge) > 20
