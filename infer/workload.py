"""The infer workload: what the entry point names, and what a client may ask for."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from infer import cuda_devices, feed
from infer.codec import MAX_CLOUD
from infer.grid import UNITS_PER_M
from infer.pieces import MAX_SECTORS, Api, SessionSpec
from infer.uplink import Compress
from mesh.core.errors import ConfigError, DeviceUnavailable, SessionRefused
from mesh.core.offload import Door
from mesh.core.workload import Buffer, DeviceInfo, Recording, SessionRequest, Settings

# What compiles kernels is imported where it is used: clients load this file, and no compiler.
if TYPE_CHECKING:
    from infer.executor import InferExecutor
    from infer.offload.vehicle import Vehicle
    from infer.pipeline.following import Follower
    from infer.pipeline.local import LocalBoxes
    from infer.session import InferSession

CELL_SHIFTS = {0.125: 7, 0.25: 8, 0.5: 9}  # metres: cells are a power of two of units wide
FED_POINTS = 4_096  # with each result of a recording: somebody will look, and they cost 0.1 ms


class InferSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[workloads.infer]."""

    # Which devices this node offers: "cuda" never means the CPU; "auto" is all there are, but
    # Numba's simulator of a CUDA device is offered only where it is asked for.
    api: Literal[Api, "cuda-simulator"] = "auto"


class InferOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may choose; lengths in metres.

    api: which devices may serve the session. sectors: 0 for one per device. deadline_ms: from a
    sweep's opening, 0 for one period. reach_m: half the side of the square looked at.
    sensor_height_m: above the ground. near_m: nothing nearer counts (the vehicle itself).
    points: the most that go with each result for people to look at; 0 for none. compress: how
    sweeps come, "none" (infer.sweep) or "delta" (infer.uplink.packing).
    """

    api: Api = "auto"
    sectors: Annotated[int, Meta(ge=0, le=MAX_SECTORS)] = 0
    rate_hz: Annotated[float, Meta(ge=0.1, le=100)] = 10.0
    deadline_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    cell_m: Annotated[float, Meta(ge=0.125, le=0.5)] = 0.25
    reach_m: Annotated[int, Meta(ge=16, le=128)] = 64
    sensor_height_m: Annotated[float, Meta(ge=0, le=8)] = 1.73
    near_m: Annotated[float, Meta(ge=0, le=10)] = 3.0
    step_m: Annotated[float, Meta(ge=0.05, le=1)] = 0.3
    ceiling_m: Annotated[float, Meta(ge=1, le=8)] = 3.0
    min_points: Annotated[int, Meta(ge=1, le=1000)] = 5
    turned_box_m: Annotated[float, Meta(ge=1, le=32)] = 16.0
    points: Annotated[int, Meta(ge=0, le=MAX_CLOUD)] = 0
    compress: Compress = "none"

    def spec(self) -> SessionSpec:
        """The same in units. Raises SessionRefused."""
        side = round(2 * self.reach_m / self.cell_m)
        if self.cell_m not in CELL_SHIFTS or side > 1024:
            raise SessionRefused(
                what="the infer session is not opened",
                why=f"a reach of {self.reach_m} m in cells of {self.cell_m} m cannot be had",
                fix="Cells are 0.125, 0.25 or 0.5 m, and at most 1024 span the square.",
            )
        return SessionSpec(
            shift=CELL_SHIFTS[self.cell_m],
            side=side,
            height=_units(self.sensor_height_m),
            step=_units(self.step_m),
            ceiling=_units(self.ceiling_m),
            min_points=self.min_points,
            fit_limit=_units(self.turned_box_m),
            near=_units(self.near_m),
            api=self.api,
        )


class InferWorkload:
    """Boxes around what stands on the ground in LiDAR sweeps.

    See Workload, Preloading, Feedable and Followable in mesh.core.workload.
    """

    name = "infer"

    def __init__(self, settings: InferSettings) -> None:
        self._settings = settings

    def find_devices(self) -> Sequence[DeviceInfo]:
        """CUDA GPUs and the CPU, as the settings allow. Raises DeviceUnavailable."""
        if self._settings.api == "cuda-simulator":
            return [cuda_devices.simulator()]
        if self._settings.api == "cuda":
            return cuda_devices.find()
        here = _this_cpu()
        if self._settings.api == "cpu":
            return [here]
        try:
            found = cuda_devices.find()
        except DeviceUnavailable:
            return [here]
        return [here, *found]

    def open_executor(self, device: DeviceInfo) -> InferExecutor:
        """Exactly that device. Raises DeviceUnavailable."""
        simulated = device.api == "cuda" and device.software
        kind = "cuda-simulator" if simulated else device.api
        wanted = self._settings.api
        if wanted != kind and (wanted != "auto" or simulated):
            raise DeviceUnavailable(
                what=f"infer does not run on {device.name}",
                why=f"[workloads.infer] asks for {wanted}, and it is {kind}",
                fix="Change `api` there, or offer another device.",
            )
        from infer.executor import InferExecutor  # noqa: PLC0415

        return InferExecutor(device)

    def open_session(self, request: SessionRequest) -> InferSession:
        """Check the options and compile the gateway's kernels. Raises SessionRefused."""
        try:
            options = msgspec.convert(dict(request.options), InferOptions)
        except msgspec.ValidationError as problem:
            raise SessionRefused(
                what="the infer session is not opened",
                why=str(problem),
                fix=f"Options are {', '.join(InferOptions.__struct_fields__)}.",
            ) from problem
        from infer.session import InferSession  # noqa: PLC0415

        return InferSession(
            options.spec(),
            sectors=options.sectors,
            rate_hz=options.rate_hz,
            deadline_us=round(options.deadline_ms * 1000),
            points=options.points,
            compress=options.compress,
        )

    def preload(self) -> None:
        """See Preloading: opening a session compiles the gateway's kernels for all."""
        # And those that choose points, and that unpack sweeps.
        self.open_session(SessionRequest(self.name, {"points": 1, "compress": "delta"}))

    def options_for(
        self, recording: Recording, rate_hz: float | None
    ) -> Mapping[str, int | float | str]:
        """See Feedable. Raises ContentRefused."""
        return {"points": FED_POINTS, **feed.options_for(recording, rate_hz)}

    def read_inputs(self, recording: Recording) -> Iterator[tuple[int, Buffer]]:
        """A recording's LiDAR sweeps, or a made-up drive. Raises ContentRefused."""
        return feed.read_sweeps(recording)

    def follow(
        self,
        recording: Recording,
        files: Mapping[str, Path],
        *,
        local: bool = False,
        way: str = "",
    ) -> AbstractContextManager[Follower]:
        """See Followable: tracks and occupancy (infer.pipeline). Raises ConfigError, Misuse."""
        from infer.pipeline.following import follow  # noqa: PLC0415

        return follow(files, (lambda: self._local_boxes(recording)) if local else None, way)

    def _local_boxes(self, recording: Recording) -> LocalBoxes:
        from infer.executor import InferExecutor  # noqa: PLC0415
        from infer.pipeline.local import LocalBoxes  # noqa: PLC0415

        options = {**feed.options_for(recording, None), "compress": "none"}
        session = self.open_session(SessionRequest(self.name, options))
        return LocalBoxes(session, InferExecutor(_this_cpu()))

    def explain(self, result: Buffer) -> Mapping[str, Any]:
        """See Feedable. Raises ContentRefused."""
        return feed.explain(result)

    def offload(
        self, doors: Mapping[str, Door], options: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Vehicle]:
        """See mesh.core.offload.Offloading. Raises Misuse."""
        from infer.offload.vehicle import open_vehicle  # noqa: PLC0415  loads a compiler

        return open_vehicle(doors, options)


def create(settings: Settings) -> InferWorkload:
    """The workload for a [workloads.infer] table. Raises ConfigError."""
    try:
        return InferWorkload(msgspec.convert(dict(settings), InferSettings))
    except msgspec.ValidationError as problem:
        raise ConfigError(
            what="[workloads.infer] cannot be used",
            why=str(problem),
            fix="docs/configuration.md lists its keys.",
        ) from problem


def _this_cpu() -> DeviceInfo:
    return DeviceInfo(
        unit=cuda_devices.CPU_UNIT,
        api="cpu",
        name=platform.processor() or platform.machine() or "CPU",
        driver=f"numba {version('numba')}",
        index=0,
        software=True,
    )


def _units(metres: float) -> int:
    return round(metres * UNITS_PER_M)
