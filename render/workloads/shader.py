"""The workload `shader`: a client's fragment shader, drawn by whichever devices are near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from mesh.core.workload import Asset, DeviceInfo, SessionRequest, Settings
from render.tiles import Rect
from render.workloads.picture import Moment, PictureOptions, PictureSession, options_of, table_of
from render.workloads.push import pack_push
from render.workloads.shadercode import BUILT_IN, compiled, decoded, named, require_validator

if TYPE_CHECKING:
    from render.workloads.shaderdevice import ShaderExecutor


class ShaderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table [workloads.shader]: shaders that clients may ask for, name = path."""

    shaders: dict[str, str] = {}


class ShaderOptions(PictureOptions, frozen=True, forbid_unknown_fields=True):
    """What a client asks for: a shader of the gateway's, or its own, as GLSL or as SPIR-V."""

    shader: str = BUILT_IN
    glsl: str = ""
    spirv: str = ""  # in base64


class ShaderSession(PictureSession):
    """On the gateway: the base class cuts frames into tiles, this says what a tile shows."""

    def tile_spec(self, rect: Rect, now: Moment) -> bytes:
        """The push constants of one tile: all that a shader is ever told."""
        size = self.picture.width, self.picture.height
        mouse = -now.camera.yaw * size[1], now.camera.pitch * size[1]
        return pack_push(size, rect, now.time_s, now.frame, mouse)


class ShaderWorkload:
    """What the entry point makes."""

    name = "shader"

    def __init__(self, settings: ShaderSettings) -> None:
        self._shaders = settings.shaders

    def find_devices(self) -> Sequence[DeviceInfo]:
        """Vulkan devices, where spirv-val's library is there too."""
        from render.workloads.shaderdevice import vulkan_devices  # noqa: PLC0415  loads libvulkan

        require_validator()
        return vulkan_devices()

    def open_executor(self, device: DeviceInfo) -> ShaderExecutor:
        """In a device process: no network, no files, and a limit on how long a tile may take."""
        from render.workloads.shaderdevice import ShaderExecutor  # noqa: PLC0415  loads libvulkan

        return ShaderExecutor(device)

    def open_session(self, request: SessionRequest) -> ShaderSession:
        """Called in a thread; compiler and validator run confined, in processes of their own."""
        asked = options_of(request, ShaderOptions)
        if asked.spirv:
            code = decoded(asked.spirv)
        else:
            code = compiled(asked.glsl) if asked.glsl else named(asked.shader, self._shaders)
        module = Asset("shader", code)
        kind = f"shader-{module.digest[:12]}"  # one shader's tiles cost alike, pixel by pixel
        return ShaderSession(asked, title="Shader", kind=kind, assets=[module])


def create(settings: Settings) -> ShaderWorkload:
    """The workload for its table of the configuration."""
    return ShaderWorkload(table_of(settings, "shader", ShaderSettings))
