"""A Vulkan device that renders tiles: the passes put together, without sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from render.depth import depth_bytes
from render.passes.bend import BendPass
from render.passes.depth import DepthPass, read_depth
from render.passes.environment import DeviceEnvironment, EnvironmentPass
from render.passes.i420 import I420Pass, read_planes
from render.passes.raster import RasterPass, RasterTargets, drawn_rect
from render.passes.scene_upload import DeviceScene
from render.passes.targets import FrameTargets
from render.passes.upscale import UpscalePass
from render.pathtrace.scene import TracedScene
from render.pathtrace.tracer import PathTracer, Sums
from render.pieces import Antialias, TileSpec
from render.scene import Scene
from render.tiles import Rect
from render.upscale import FULL, SCALES, Scale, scaled_size, source_rect
from render.vulkan.api import CData, lib, new, vk
from render.vulkan.device import Device, open_device
from render.vulkan.instance import Instance, PhysicalDevice
from render.vulkan.memory import create_buffer, dependency, image_barrier


@dataclass(frozen=True, slots=True)
class TileTimes:
    """How a tile was made.

    passes_us: microseconds on the device by pass, in the order they ran: "bend" vertices, draw the
    "shadow" map, "raster" or "trace" the tile, and what makes it a result, "finish". What did not
    have to run is left out. clusters: what was left after culling.
    """

    passes_us: dict[str, int]
    clusters: int


def _go_on() -> None:
    """Nobody has a word to say."""


class _Passes(NamedTuple):
    """What every canvas is bound to."""

    convert: I420Pass
    upscale: UpscalePass
    reduce: DepthPass


class Canvas:
    """Frame targets with what the passes need bound to them; see `Renderer.create_canvas`."""

    def __init__(
        self, device: Device, passes: _Passes, size: tuple[int, int], block: int, samples: int
    ) -> None:
        with ExitStack() as scope:
            self.targets = FrameTargets(device, *size, keeps_depth=block > 0, samples=samples)
            scope.callback(self.targets.close)
            self._raster = {
                scale: RasterTargets(self.targets, scaled_size(size, scale)) for scale in SCALES
            }
            self.convert = passes.convert.bind(scope, self.targets)
            self.upscaled = passes.upscale.bind(scope, self.targets)
            self.convert_upscaled = passes.convert.bind(scope, self.targets, self.upscaled.view)
            self.picture = self.targets.color  # the one that the last tile ended in
            self.depth = passes.reduce.bind(scope, self.targets, block) if block else None
            self.block = block
            self._sums: Sums | None = None
            self._scope = scope.pop_all()

    def tile_bytes(self, rect: Rect) -> int:
        """Size of a tile's result: its colour, and its depth where that is wanted."""
        return rect.i420_bytes + depth_bytes(rect, self.block)

    def raster(self, scale: Scale) -> RasterTargets:
        """For frames drawn at a scale."""
        return self._raster[scale]

    def drawn(self, tile: TileSpec) -> TileSpec:
        """What is to be drawn for a tile: itself, or what it needs of the smaller frame."""
        if tile.scale == FULL:
            return tile
        size = self.targets.width, self.targets.height
        small = scaled_size(size, tile.scale)
        rect = source_rect(drawn_rect(tile.region()), size, small)
        return msgspec.structs.replace(tile, rect=tuple(rect))

    def sums(self, tracer: PathTracer) -> Sums:
        """What a path tracer sums samples in; made at first use, kept."""
        if self._sums is None:
            self._sums = tracer.create_sums(self.targets)
            self._scope.callback(self._sums.close)
        return self._sums

    def close(self) -> None:
        """Free everything."""
        self._scope.close()


class Renderer:
    """Renders tiles of uploaded scenes on one device; for one thread.

    Scenes, environments and canvases must be closed before the renderer is.
    """

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self._device = device
        self._bend = BendPass(device, scope)
        self._environments = EnvironmentPass(device, scope)
        self._raster = RasterPass(device, scope, self._environments)
        self._passes = _Passes(
            I420Pass(device, scope), UpscalePass(device, scope), DepthPass(device, scope)
        )
        self._tracer = PathTracer(device, scope, self._environments, self._bend)

    def upload(self, scene: Scene) -> DeviceScene:
        """Bring a scene to the device. Raises ContentRefused.

        What it needs beside is made when it is first drawn: draw it once before its first frame.
        """
        return DeviceScene(self._device, self._raster.material_layout, self._bend.set_layout, scene)

    def upload_traced(self, loaded: DeviceScene, scene: Scene) -> TracedScene:
        """What path tracing needs beside; close it before `loaded`. Raises ContentRefused."""
        return self._tracer.upload(loaded, scene)

    def load_environment(self, pixels: NDArray[np.float16]) -> DeviceEnvironment:
        """Bring an environment (height, width, 4) to the device. Raises ContentRefused."""
        return self._environments.load(pixels)

    def create_canvas(
        self, width: int, height: int, *, block: int = 0, samples: Antialias = 1
    ) -> Canvas:
        """Targets for frames of width x height pixels, both even.

        block: of the depth that tiles bring with them (`render.depth`), 0 for none. samples: of a
        pixel in the raster pass; canvases of several cannot be traced into.
        """
        return Canvas(self._device, self._passes, (width, height), block, samples)

    def render(
        self,
        canvas: Canvas,
        scene: DeviceScene,
        tile: TileSpec,
        output: memoryview,
        environment: DeviceEnvironment | None = None,
    ) -> TileTimes:
        """Draw a tile and write its packed I420 planes to `output`, then its depth if any.

        output: `Canvas.tile_bytes` long. environment: what lights it by `tile.sky`.
        """
        targets, rect = canvas.targets, tile.region()
        scene.pose(tile.animation, tile.time)
        stopwatch = self._device.stopwatch
        with self._device.recording() as commands:
            stopwatch.start(commands)
            bent = scene.take_bend_due()
            if bent is not None:
                self._bend.record(commands, bent)
                stopwatch.lap(commands, "bend")
            clusters = self._raster.record(
                commands, canvas.raster(tile.scale), scene, environment, canvas.drawn(tile)
            )
            stopwatch.lap(commands, "raster")
            self._show(commands, canvas, tile)
            if canvas.depth is not None:
                raster = canvas.raster(tile.scale)
                small = raster.width, raster.height
                self._passes.reduce.record(commands, canvas.depth, rect, small)
            stopwatch.lap(commands, "finish")
        read_planes(targets, rect, output)
        if canvas.depth is not None:
            read_depth(canvas.depth, rect, output[rect.i420_bytes :])
        return TileTimes(stopwatch.read_us(), clusters)

    def trace(
        self,
        canvas: Canvas,
        scene: TracedScene,
        tile: TileSpec,
        output: memoryview,
        environment: DeviceEnvironment | None = None,
        *,
        check: Callable[[], None] = _go_on,
    ) -> TileTimes:
        """Path trace a tile, otherwise as `render`; `tile.samples` is at least 1. It has no depth.

        Samples are kept: a tile that wants more of them, and else shows the same, costs the rest.
        check: called between submissions, some milliseconds apart; may raise to end the work.
        """
        targets, drawn, sums = canvas.targets, canvas.drawn(tile), canvas.sums(self._tracer)
        passes_us = self._tracer.trace(sums, scene, environment, drawn, check=check)
        with self._device.recording() as commands:
            self._device.stopwatch.start(commands)
            self._tracer.resolve(commands, canvas.raster(tile.scale), sums, scene, drawn.region())
            self._show(commands, canvas, tile)
            self._device.stopwatch.lap(commands, "finish")
        read_planes(targets, tile.region(), output)
        passes_us.update(self._device.stopwatch.read_us())
        return TileTimes(dict(passes_us), 0)

    def _show(self, commands: CData, canvas: Canvas, tile: TileSpec) -> None:
        """Record what makes planes of a drawn tile, by way of the full size if it is smaller."""
        rect, targets = tile.region(), canvas.targets
        if tile.scale == FULL:
            canvas.picture = targets.color
            self._passes.convert.record(commands, canvas.convert, rect)
            return
        canvas.picture = canvas.upscaled.picture
        small = scaled_size((targets.width, targets.height), tile.scale)
        self._passes.upscale.record(commands, canvas.upscaled, drawn_rect(rect), small)
        self._passes.convert.record(commands, canvas.convert_upscaled, rect)

    @property
    def memory_bytes(self) -> int:
        """What is allocated on the device now."""
        return self._device.memory_bytes

    def save_pipelines(self) -> bool:
        """Keep compiled pipelines for the next process; call it when a scene has been drawn."""
        return self._device.save_pipelines()

    def read_rgba(self, canvas: Canvas) -> NDArray[np.uint8]:
        """The last drawn tile in the whole picture, sRGB-encoded: uint8 (height, width, 4).

        Call it once, directly after `render`; outside the tile the pixels are undefined. For
        tests and stills.
        """
        targets = canvas.targets
        size = targets.width * targets.height * 4
        region = new(
            "VkBufferImageCopy",
            imageSubresource=(vk.VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1),
            imageExtent=(targets.width, targets.height, 1),
        )
        layouts = (
            vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL,
            vk.VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
        )
        barrier = image_barrier(
            canvas.picture,
            layouts,
            (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, 0),
            (vk.VK_PIPELINE_STAGE_2_COPY_BIT, vk.VK_ACCESS_2_TRANSFER_READ_BIT),
        )
        with ExitStack() as scope:
            usage = vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
            buffer = create_buffer(self._device, scope, size, usage, host=True)
            with self._device.recording() as commands:
                lib.vkCmdPipelineBarrier2(commands, dependency(images=[barrier]))
                lib.vkCmdCopyImageToBuffer(
                    commands, canvas.picture.handle, layouts[1], buffer.handle, 1, region
                )
            assert buffer.mapped is not None
            return buffer.mapped.reshape(targets.height, targets.width, 4).copy()


@contextmanager
def open_renderer(
    instance: Instance, physical: PhysicalDevice, cache: Path | None = None
) -> Iterator[Renderer]:
    """A renderer on exactly that device. cache: see `open_device`. Raises DeviceUnavailable."""
    with open_device(instance, physical, cache) as device, ExitStack() as scope:
        yield Renderer(device, scope)
