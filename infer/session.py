"""The session half: the newest sweep in, sectors out, answers merged into one result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.codec import CLASSES, Counts, Result, StageTimes, boxes_of, encode_result
from infer.grid import UNITS_PER_M, bin_degrees
from infer.layout import COUNTERS, GROUND_CELLS, GROUND_POINTS, OBSTACLE_POINTS, OUTSIDE_POINTS
from infer.merge import Merger
from infer.partial import STAGES, Partial, bound_bytes, unpack
from infer.pieces import SessionSpec, encode
from infer.sectors import Cut, Cutter, SectorCosts, sector_sizes
from infer.sweep import Sweep, decode_sweep, encode_sweep
from infer.thinning import Thinner
from infer.uplink import Compress
from infer.uplink.packing import pack_sweep, unpack_sweep
from infer.warmup import small_scene
from mesh.core.errors import ContentRefused, Misuse
from mesh.core.workload import Buffer, Contract, CutHint, Piece, SessionSetup


def kind_of(spec: SessionSpec) -> str:
    """The kind of a session's pieces: what a point costs depends on the grid."""
    return f"sweep-{spec.shift}-{spec.side}"


@dataclass(frozen=True, slots=True)
class Tools:
    """What cuts and merges for one session, with compiled kernels.

    thinner: chooses points to look at, if the client wants any.
    """

    cutter: Cutter
    merger: Merger
    thinner: Thinner | None


class SweepFrame:
    """One sweep under way; see mesh.core.workload.Frame."""

    def __init__(
        self,
        sweep: Sweep,
        spec: SessionSpec,
        tools: Tools,
        sizes: Sequence[float],
        factors: NDArray[np.float64],
    ) -> None:
        """Cut it; sizes, factors: see `Cutter.cut`."""
        began = time.perf_counter_ns()
        self._sweep, self._tools, self._grid = sweep, tools, spec.grid()
        self._cut: Cut = tools.cutter.cut(sweep.points, sweep.masked, sizes, factors)
        self._answers: dict[int, Partial] = {}
        kind = kind_of(spec)
        self.pieces: Sequence[Piece] = [
            Piece(
                index,
                kind,
                sector.units,
                encode(sector.spec),
                bound_bytes(sector.spec.points, self._grid),
                inputs=sector.inputs,
                region=(bin_degrees(sector.spec.lo), bin_degrees(sector.spec.hi)),
            )
            for index, sector in enumerate(self._cut.sectors)
        ]
        self._cut_us = (time.perf_counter_ns() - began) // 1000

    def accept(self, index: int, result: memoryview) -> None:
        """Keep a sector's answer. Raises ContentRefused."""
        points = self._cut.sectors[index].spec.points
        self._answers[index] = unpack(result, self._grid, points)

    def fill(self, index: int) -> None:
        """A sector that never came is named in the result; nothing stands in for it."""

    def finish(self) -> bytes:
        """Merge; returns the result message (infer.codec)."""
        began = time.perf_counter_ns()
        answers = list(self._answers.values())
        missing = [i for i in range(len(self.pieces)) if i not in self._answers]
        sectors = [self._cut.sectors[i].spec for i in missing]
        clusters = self._tools.merger.merge(answers, [(s.lo, s.hi) for s in sectors])
        boxes = boxes_of(clusters)
        thinner = self._tools.thinner
        cloud = thinner.thin(self._sweep.points) if thinner is not None else None
        columns, clustering, fitting = (
            max((answer.stage_us[stage] for answer in answers), default=0)
            for stage in range(STAGES)
        )
        return encode_result(
            Result(
                self._sweep.stamp_us,
                len(self.pieces),
                sum(1 << i for i in missing),
                self._counts(answers),
                StageTimes(
                    cut=self._cut_us,
                    columns=columns,
                    clusters=clustering,
                    boxes=fitting,
                    merge=(time.perf_counter_ns() - began) // 1000,
                ),
                boxes,
                cloud,
            )
        )

    def _counts(self, answers: Sequence[Partial]) -> Counts:
        counted = np.zeros(COUNTERS - GROUND_POINTS, np.int64)
        for answer in answers:
            counted += answer.counted
        return Counts(
            points=len(self._sweep.points),
            masked=self._sweep.masked,
            outside=self._cut.outside + int(counted[OUTSIDE_POINTS - GROUND_POINTS]),
            ground_points=int(counted[0]),
            obstacle_points=int(counted[OBSTACLE_POINTS - GROUND_POINTS]),
            ground_cells=int(counted[GROUND_CELLS - GROUND_POINTS]),
            obstacle_cells=sum(answer.cells for answer in answers),
        )


class InferSession:
    """One client's stream of sweeps; see mesh.core.workload.SessionWork.

    Each sweep that `offer_input` takes is cut by the `open_frame` that follows it.
    """

    picture = None

    def __init__(
        self,
        spec: SessionSpec,
        *,
        sectors: int,
        rate_hz: float,
        deadline_us: int,
        points: int = 0,
        compress: Compress = "none",
    ) -> None:
        """sectors: 0 to cut into as many as there are devices. deadline_us: 0 for one period.

        points: the most that go with each result for people to look at; 0 for none.
        compress: how sweeps come, "none" as of infer.sweep, "delta" as of infer.uplink.
        Compiles the gateway's kernels, seconds when they are not cached: call it in a thread.
        """
        self._spec = spec
        self._sectors = sectors
        self._rate_hz = rate_hz
        self._newest: Sweep | None = None
        self._last_stamp_us: int | None = None
        period_us = round(1e6 / rate_hz)
        self.contract = Contract(period_us, deadline_us or period_us, trigger="input")
        self.setup = SessionSetup(encode(spec))
        self._points, self._compress = points, compress
        self._decode = unpack_sweep if compress == "delta" else decode_sweep
        thinner = Thinner(spec.grid(), points) if points else None
        self._costs = SectorCosts()
        self._tools = Tools(Cutter(spec.grid()), Merger(spec.grid()), thinner)
        encode_scene = pack_sweep if compress == "delta" else encode_sweep
        scene = self._decode(0, encode_scene(small_scene()))
        self._tools.cutter.cut(scene.points, scene.masked, (1.0, 1.0))
        self._tools.merger.warm_up()
        if thinner is not None:
            thinner.thin(scene.points)

    def offer_input(self, stamp_us: int, data: Buffer) -> None:
        """Take a sweep (infer.sweep or infer.uplink), taken at stamp_us of the sensor's clock.

        The buffer is kept, not copied: it must not change until its frame is finished.
        Raises ContentRefused, also for a sweep that is not newer than the last.
        """
        if not -(1 << 63) <= stamp_us < 1 << 63:
            raise ContentRefused(
                what="the sweep is refused",
                why=f"its stamp {stamp_us} does not fit 64 bits",
                fix="Stamp it in microseconds of the sensor's clock.",
            )
        if self._last_stamp_us is not None and stamp_us <= self._last_stamp_us:
            raise ContentRefused(
                what="the sweep is refused",
                why=f"its stamp {stamp_us} is not above the last one's, {self._last_stamp_us}",
                fix="Send sweeps in the order they were taken, each once.",
            )
        self._newest = self._decode(stamp_us, data)
        self._last_stamp_us = stamp_us

    def describe(self) -> Mapping[str, Any]:
        """For the page: rate, the grid's reach, the names of classes."""
        grid = self._spec.grid()
        return {
            "title": "LiDAR sweeps",
            "fps": self._rate_hz,
            "sectors": self._sectors,
            "cell_m": (1 << grid.shift) / UNITS_PER_M,
            "reach_m": grid.ground_side / 2,
            "sensor_height_m": grid.height / UNITS_PER_M,
            "classes": list(CLASSES),
            "points": self._points,
            "compress": self._compress,
            "result": "FMBX/2" if self._points else "FMBX/1",
        }

    def apply_input(self, event: Mapping[str, Any], now_us: int) -> None:
        """There is nothing to steer. Raises ContentRefused."""
        raise ContentRefused(
            what="the input is refused",
            why="a stream of sweeps takes no such input",
            fix="Send sweeps.",
        )

    def open_frame(
        self, frame_id: int, now_us: int, hint: CutHint, canvas: memoryview, previous: memoryview
    ) -> SweepFrame:
        """Cut the newest sweep. Raises Misuse if there is none."""
        sweep, self._newest = self._newest, None
        if sweep is None:
            raise Misuse(
                what="no frame can be opened",
                why="no sweep has come since the last one",
                fix="Offer one first.",
            )
        sizes = sector_sizes(len(sweep.points), kind_of(self._spec), hint, self._sectors)
        return SweepFrame(sweep, self._spec, self._tools, sizes, self._costs.learn(hint))
