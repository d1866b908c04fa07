"""The device half: one pipeline per grid, on the CPU or on one CUDA GPU, as was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from infer.grid import BINS, Grid
from infer.partial import Tables, pack
from infer.pieces import decode_sector, decode_session
from infer.sweep import MAX_POINTS
from infer.warmup import small_grid, small_scene
from mesh.core.errors import ContentRefused, DeviceUnavailable, Misuse
from mesh.core.workload import AssetId, DeviceInfo

MAX_SESSIONS = 64
MAX_GRIDS = 8  # different ones at once; each holds tens of megabytes of scratch


class Pipeline(Protocol):
    """Runs sectors of one grid on one device."""

    def run(self, points: NDArray[np.float32], halo: NDArray[np.int32], lo: int, hi: int) -> Tables:
        """The tables of the sector of azimuth bins lo..hi, valid until the next run."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class InferExecutor:
    """Runs sectors of sweeps on one device; see mesh.core.workload.Executor."""

    def __init__(self, device: DeviceInfo) -> None:
        """Compile the kernels by running them: a device is only ready when it can work at once.

        Raises DeviceUnavailable unless exactly that device is there.
        """
        self._api = device.api
        self._check: Callable[[], None] = lambda: None
        self._open = _opener(device, self._look_up)
        pipeline = self._open(small_grid(), len(small_scene()))
        warm_up(pipeline)
        pipeline.close()
        self._pipelines: dict[Grid, Pipeline] = {}
        self._sessions: dict[str, Grid] = {}

    def prepare(self, session: str, spec: bytes, assets: Mapping[AssetId, memoryview]) -> None:
        """Have the scratch that the session's grid needs.

        spec: a SessionSpec. assets: none. Raises ContentRefused, also where the session asks for
        another api than this device's.
        """
        wanted = decode_session(spec)
        grid = wanted.grid()
        if wanted.api not in ("auto", self._api):
            raise ContentRefused(
                what="the session cannot be prepared on this device",
                why=f"it asks for {wanted.api}, and this is {self._api}",
                fix="Run it on another device, or open the session with api 'auto'.",
            )
        if not assets and self._sessions.get(session) == grid:
            return
        self.forget(session)
        full = len(self._sessions) >= MAX_SESSIONS
        if assets or full or (grid not in self._pipelines and len(self._pipelines) >= MAX_GRIDS):
            raise ContentRefused(
                what="the session cannot be prepared",
                why=f"it brings {len(assets)} assets; {len(self._sessions)} sessions with "
                f"{len(self._pipelines)} grids are open",
                fix=f"Send no assets; {MAX_SESSIONS} sessions with {MAX_GRIDS} grids fit.",
            )
        if grid not in self._pipelines:
            self._pipelines[grid] = self._open(grid, MAX_POINTS)
        self._sessions[session] = grid

    def heed(self, check: Callable[[], None]) -> None:
        """What nobody wants ends between two kernels. See mesh.core.workload.Abandonable."""
        self._check = check

    def _look_up(self) -> None:
        self._check()

    def run(self, session: str, spec: bytes, inputs: memoryview, output: memoryview) -> int:
        """Run the sector in `spec` (a SectorSpec); writes a partial answer. See Executor."""
        grid = self._sessions.get(session)
        if grid is None:
            raise Misuse(
                what=f"no infer session {session}",
                why="it was not prepared here",
                fix="Prepare it first.",
            )
        sector, points, halo = decode_sector(spec, inputs, grid)
        return pack(self._pipelines[grid].run(points, halo, sector.lo, sector.hi), grid, output)

    def forget(self, session: str) -> None:
        """Free the session's grid if no other session has the same."""
        grid = self._sessions.pop(session, None)
        if grid is not None and grid not in self._sessions.values():
            self._pipelines.pop(grid).close()

    def close(self) -> None:
        """Free everything."""
        for session in list(self._sessions):
            self.forget(session)


def warm_up(pipeline: Pipeline) -> None:
    """Run a small scene whole and as a sector, which together reach every kernel."""
    scene = small_scene()
    halo = np.zeros((1, 2), np.int32)
    halo.flags.writeable = False
    pipeline.run(scene, halo[:0], 0, BINS)
    pipeline.run(scene, halo, 0, BINS // 2)


def _opener(device: DeviceInfo, check: Callable[[], None]) -> Callable[[Grid, int], Pipeline]:
    """What opens pipelines on exactly that device. Raises DeviceUnavailable.

    check: called between kernels. On a GPU they are all queued at once, within a fraction of a
    millisecond: there is nothing to look up from.
    """
    if device.api == "cpu":
        from infer.kernels.cpu import CpuPipeline  # noqa: PLC0415

        return partial(CpuPipeline, check=check)
    if device.api == "cuda":
        from infer.cuda_devices import choose  # noqa: PLC0415

        choose(device)
        from infer.kernels.cuda import CudaPipeline  # noqa: PLC0415

        return CudaPipeline
    raise DeviceUnavailable(
        what=f"infer does not run on {device.name}",
        why=f"its api is {device.api}",
        fix="Offer it a device of api cpu or cuda.",
    )
