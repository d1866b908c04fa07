"""The workload `external`: pictures from an engine of the worker's owner, a program of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from mesh.core.errors import DeviceUnavailable
from mesh.core.workload import PROGRAM_API, DeviceInfo, SessionRequest, Settings
from render.tiles import Rect
from render.workloads.enginetile import encode_engine_tile
from render.workloads.picture import Moment, PictureOptions, PictureSession, options_of, table_of

if TYPE_CHECKING:
    from render.workloads.engine import EngineExecutor


class ExternalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[workloads.external]. Gateways that compute nothing need none of it."""

    # The engine's path and arguments; `[device] programs` must allow it.
    command: tuple[str, ...] = ()
    title: Annotated[str, Meta(max_length=64)] = "External engine"
    pixels: Literal["rgba8", "i420"] = "rgba8"
    # How long it may load before its first frame.
    start_s: Annotated[float, Meta(gt=0, le=25)] = 10.0


class ExternalOptions(PictureOptions, frozen=True, forbid_unknown_fields=True):
    """What a client may choose. words: for the engine alone, which must not trust them."""

    words: Annotated[str, Meta(max_length=250)] = ""


class ExternalSession(PictureSession):
    """The session half."""

    def tile_spec(self, rect: Rect, now: Moment) -> bytes:
        """One tile, as the engine will be asked for it."""
        return encode_engine_tile(rect, now)


class ExternalWorkload:
    """See mesh.core.workload.Workload."""

    name = "external"

    def __init__(self, settings: ExternalSettings) -> None:
        self._settings = settings

    def find_devices(self) -> Sequence[DeviceInfo]:
        """The engine. Raises DeviceUnavailable."""
        command = self._settings.command
        if not command or not os.access(command[0], os.X_OK):
            raise DeviceUnavailable(
                what="there is no engine",
                why=f"{command[0]} cannot be run" if command else "no command is configured",
                fix="Set [workloads.external] command, and [device] programs.",
            )
        return [DeviceInfo("engine", PROGRAM_API, self._settings.title, "framemesh_frame 1", 0)]

    def open_executor(self, device: DeviceInfo) -> EngineExecutor:
        """Start the engine. Raises DeviceUnavailable, DeviceLost."""
        from render.workloads.engine import EngineExecutor  # noqa: PLC0415  device process only

        settings = self._settings
        return EngineExecutor(settings.command, settings.pixels, settings.start_s)

    def open_session(self, request: SessionRequest) -> ExternalSession:
        """Check the options. Raises SessionRefused."""
        options = options_of(request, ExternalOptions)
        title = self._settings.title
        return ExternalSession(options, title=title, kind="external", own_options=options.words)


def create(settings: Settings) -> ExternalWorkload:
    """The workload for a [workloads.external] table. Raises ConfigError."""
    return ExternalWorkload(table_of(settings, "external", ExternalSettings))
