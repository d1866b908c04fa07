"""Path trace one tile: samples in short submissions, then their mean into the colour target.

A pixel's samples depend on its place in the frame, their numbers and the seed alone, and are summed
in order of number: so its bytes depend neither on the tiling nor on how the work was sliced.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import msgspec
import numpy as np
from numpy.typing import NDArray

from render.lights import sun
from render.passes.bend import BendPass
from render.passes.environment import DeviceEnvironment, EnvironmentPass
from render.passes.raster import VIEW, RasterTargets, drawn_rect
from render.passes.scene_upload import DeviceScene
from render.passes.targets import COLOR_FORMAT, DEPTH_FORMAT, FrameTargets
from render.pathtrace.scene import BINDINGS, TracedScene
from render.pathtrace.slices import Slice, Slicer
from render.pieces import TileSpec
from render.scene import Scene
from render.shaders import spirv
from render.tiles import Rect
from render.upscale import scaled_size
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import (
    Uploader,
    bind_images,
    buffer_barrier,
    create_buffer,
    create_image,
    create_view,
    dependency,
    image_barrier,
)
from render.vulkan.pipeline import (
    Targets,
    allocate_sets,
    create_compute_pipeline,
    create_graphics_pipeline,
    create_pipeline_layout,
    create_set_layout,
    create_shader,
    write_buffer,
    write_storage_image,
    write_texture,
)

SLICE_US = 10_000  # wanted: so soon is an abandoned piece noticed; no driver loses its patience
FIRST_SLICE = 1 << 14  # samples
SUM_FORMAT = vk.VK_FORMAT_R32G32B32A32_SFLOAT
WORK = np.dtype(
    [
        ("origin", "<i4", 2),
        ("size", "<i4", 2),
        ("frame", "<i4", 2),
        ("samples", "<u4"),
        ("until", "<u4"),
        ("seed", "<u4"),
        ("bounces", "<u4"),
        ("unused", "<u4", 2),
        ("background", "<f4", 4),
    ]
)
_SKY = 3  # specialisation constant of pathtrace.comp
_GROUP = 8
_TEXTURE = vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER
_UNIFORM = vk.VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
_STORAGE = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
_STORED = vk.VK_DESCRIPTOR_TYPE_STORAGE_IMAGE
_COMPUTE = vk.VK_SHADER_STAGE_COMPUTE_BIT
_BOTH = vk.VK_SHADER_STAGE_COMPUTE_BIT | vk.VK_SHADER_STAGE_FRAGMENT_BIT
_ALL = _BOTH | vk.VK_SHADER_STAGE_VERTEX_BIT
_TRACING = vk.VK_PIPELINE_BIND_POINT_COMPUTE
_DRAWING = vk.VK_PIPELINE_BIND_POINT_GRAPHICS
_ANY = (
    vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT
    | vk.VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT
    | vk.VK_PIPELINE_STAGE_2_CLEAR_BIT,
    vk.VK_ACCESS_2_SHADER_STORAGE_READ_BIT
    | vk.VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT
    | vk.VK_ACCESS_2_TRANSFER_WRITE_BIT,
)


class Sums:
    """The samples of a frame so far, summed by pixel; sets: VkDescriptorSet[1].

    Pixels keep theirs from tile to tile while the view stays: what has been paid for is not made
    again.
    """

    def __init__(self, device: Device, set_layout: CData, width: int, height: int) -> None:
        self.size, self._device = (width, height), device
        with ExitStack() as scope:
            self.images = [
                create_image(
                    device,
                    scope,
                    (width, height),
                    SUM_FORMAT,
                    vk.VK_IMAGE_USAGE_STORAGE_BIT | vk.VK_IMAGE_USAGE_TRANSFER_DST_BIT,
                )
                for _ in range(2)
            ]
            bind_images(device, scope, self.images)
            [made] = allocate_sets(device, scope, set_layout, 1, [_STORED, _STORED])
            for binding, image in enumerate(self.images):
                write_storage_image(device, made, binding, create_view(device, scope, image))
            self.sets = ffi.new("VkDescriptorSet[1]", [made])
            self._shown: tuple[object, ...] = ()
            self._scope = scope.pop_all()

    def begin(self, commands: CData, *shown: object) -> None:
        """First of a tile's recordings: forget the samples if they are of something else."""
        if self._shown == shown:
            return
        self._shown = shown
        self._device.if_not_run(self._forget)
        general = vk.VK_IMAGE_LAYOUT_GENERAL
        undefined = (vk.VK_IMAGE_LAYOUT_UNDEFINED, general)
        before = [image_barrier(image, undefined, _ANY, _ANY) for image in self.images]
        lib.vkCmdPipelineBarrier2(commands, dependency(images=before))
        nothing = new("VkClearColorValue")
        whole = new(
            "VkImageSubresourceRange",
            aspectMask=vk.VK_IMAGE_ASPECT_COLOR_BIT,
            levelCount=1,
            layerCount=1,
        )
        for image in self.images:
            lib.vkCmdClearColorImage(commands, image.handle, general, nothing, 1, whole)
        self.settle(commands)

    def _forget(self) -> None:
        self._shown = ()

    def settle(self, commands: CData) -> None:
        """What comes later sees all that was written before."""
        general = (vk.VK_IMAGE_LAYOUT_GENERAL, vk.VK_IMAGE_LAYOUT_GENERAL)
        barriers = [image_barrier(image, general, _ANY, _ANY) for image in self.images]
        lib.vkCmdPipelineBarrier2(commands, dependency(images=barriers))

    def close(self) -> None:
        """Free everything."""
        self._scope.close()


class PathTracer:
    """Pipelines and the per-tile uniforms; one per device."""

    def __init__(
        self, device: Device, scope: ExitStack, environments: EnvironmentPass, bend: BendPass
    ) -> None:
        self._device, self._scope, self._bend = device, scope, bend
        self._no_environment = environments.none
        view_bindings = ((_UNIFORM, _ALL), (_TEXTURE, _COMPUTE), *((_STORAGE, _COMPUTE),) * 3)
        view_layout = create_set_layout(device, scope, view_bindings)
        self._scene_layout = create_set_layout(device, scope, BINDINGS)
        self._sums_layout = create_set_layout(device, scope, ((_STORED, _BOTH),) * 2)
        self._layout = create_pipeline_layout(
            device,
            scope,
            [view_layout, self._scene_layout, environments.set_layout, self._sums_layout],
        )
        self._shader = create_shader(device, scope, spirv("pathtrace.comp"))
        self._pipelines: dict[tuple[tuple[int, int], ...], CData] = {}
        self._resolving: CData | None = None
        self._uploader: Uploader | None = None
        self._slicer = Slicer(SLICE_US, FIRST_SLICE)

        storage = vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
        usage = vk.VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | storage
        uniforms = create_buffer(device, scope, VIEW.itemsize, usage, host=True)
        assert uniforms.mapped is not None
        self._view: NDArray[np.void] = uniforms.mapped.view(VIEW)
        slices = create_buffer(device, scope, WORK.itemsize, storage, host=True)
        assert slices.mapped is not None
        self._work: NDArray[np.void] = slices.mapped.view(WORK)
        [made] = allocate_sets(device, scope, view_layout, 1, [k for k, _ in view_bindings])
        write_buffer(device, made, (0, _UNIFORM), uniforms)
        write_buffer(device, made, (3, _STORAGE), slices)
        write_buffer(device, made, (4, _STORAGE), uniforms)
        write_texture(device, made, 1, environments.reflectances, environments.sampler)
        self._view_set = ffi.new("VkDescriptorSet[1]", [made])
        self._lit_by: DeviceEnvironment | None = None

    def upload(self, raster: DeviceScene, scene: Scene) -> TracedScene:
        """What tracing needs of a scene that is on the device. Raises ContentRefused."""
        if self._uploader is None:  # most devices never trace
            self._uploader = Uploader(self._device, self._scope)
        return TracedScene(self._device, self._scene_layout, self._uploader, raster, scene)

    def create_sums(self, targets: FrameTargets) -> Sums:
        """For frames of that size."""
        return Sums(self._device, self._sums_layout, targets.width, targets.height)

    def trace(
        self,
        sums: Sums,
        scene: TracedScene,
        environment: DeviceEnvironment | None,
        tile: TileSpec,
        *,
        check: Callable[[], None],
    ) -> Counter[str]:
        """Bring a tile's pixels to `tile.samples` samples, in as many submissions as it takes.

        Returns the microseconds that the device took by pass, all submissions together.

        tile: its rectangle is of the frame as it is drawn, smaller by `tile.scale`.

        check: called before each; what it raises ends the work, and the samples made are kept.
        """
        scene.take(scene.raster.pose(tile.animation, tile.time))
        around = environment or self._no_environment
        lit_by_sky = environment is not None and tile.sky > 0
        self._set_view(tile, scene.raster, around)
        pipeline = self._pipeline({**scene.constants, _SKY: int(lit_by_sky)})
        drawn = drawn_rect(tile.region())
        view = msgspec.structs.replace(tile, rect=(0, 0, 0, 0), samples=0)
        passes_us: Counter[str] = Counter()
        before = 0
        for made in self._slicer.slices(drawn, tile.samples):
            check()
            began_ns = time.perf_counter_ns()
            with self._device.recording() as commands:
                self._device.stopwatch.start(commands)
                self._bend_if_due(commands, scene.raster)
                sums.begin(commands, view, scene, environment)
                lib.vkCmdBindPipeline(commands, _TRACING, pipeline)
                self._bind(commands, _TRACING, sums, scene, around)
                self._set_work(made, tile, scaled_size(sums.size, tile.scale), lit_by_sky)
                across, down = -(-made.rect.width // _GROUP), -(-made.rect.height // _GROUP)
                lib.vkCmdDispatch(commands, across, down, 1)
                sums.settle(commands)
                self._device.stopwatch.lap(commands, "trace")
            took_us = (time.perf_counter_ns() - began_ns) // 1000
            self._slicer.learn(made, before, took_us)
            passes_us.update(self._device.stopwatch.read_us())
            before = made.until if made.rect == drawn else made.until - 1
        return passes_us

    def resolve(
        self, commands: CData, targets: RasterTargets, sums: Sums, scene: TracedScene, rect: Rect
    ) -> None:
        """Record the drawing of a traced tile into the colour target.

        Afterwards the colour target may be sampled in compute shaders.
        """
        if self._resolving is None:
            self._resolving = self._create_resolving()
        drawn = drawn_rect(rect)
        area = ((drawn.x, drawn.y), (drawn.width, drawn.height))
        targets.rendering.renderArea = area
        targets.scissor.offset, targets.scissor.extent = area
        lib.vkCmdPipelineBarrier2(commands, targets.begin)
        lib.vkCmdBeginRendering(commands, targets.rendering)
        lib.vkCmdSetViewport(commands, 0, 1, targets.viewport)
        lib.vkCmdSetScissor(commands, 0, 1, targets.scissor)
        lib.vkCmdBindPipeline(commands, _DRAWING, self._resolving)
        lib.vkCmdSetCullMode(commands, vk.VK_CULL_MODE_NONE)
        lib.vkCmdSetFrontFace(commands, vk.VK_FRONT_FACE_COUNTER_CLOCKWISE)
        self._bind(commands, _DRAWING, sums, scene, self._no_environment)
        lib.vkCmdDraw(commands, 3, 1, 0, 0)
        lib.vkCmdEndRendering(commands)
        lib.vkCmdPipelineBarrier2(commands, targets.end)

    def _create_resolving(self) -> CData:
        return create_graphics_pipeline(
            self._device,
            self._scope,
            layout=self._layout,
            vertex=create_shader(self._device, self._scope, spirv("backdrop.vert")),
            fragment=create_shader(self._device, self._scope, spirv("pathtrace_resolve.frag")),
            constants={},
            vertices=(),
            targets=Targets(COLOR_FORMAT, DEPTH_FORMAT),
            depth=False,
        )

    def _pipeline(self, constants: Mapping[int, int]) -> CData:
        """Made at first use: trace a session's scene once before its first frame."""
        key = tuple(sorted(constants.items()))
        if key not in self._pipelines:
            self._pipelines[key] = create_compute_pipeline(
                self._device, self._scope, self._shader, self._layout, constants
            )
        return self._pipelines[key]

    def _set_view(self, tile: TileSpec, scene: DeviceScene, around: DeviceEnvironment) -> None:
        view = self._view[0]
        view["clip_from_world"] = tile.matrix().T
        view["eye"] = (*tile.eye, 0.0 if tile.parallel else 1.0)
        view["ambient"] = (*tile.ambient, tile.exposure)
        count = len(scene.lights)
        view["lights"][:count] = scene.lights
        if any(tile.illuminance):
            view["lights"][count] = sun(tile.towards_light, tile.illuminance)
            count += 1
        view["sky"] = (tile.sky, *tile.sky_turn, around.last_level)
        view["counts"][:2] = count, tile.tone_mapping
        if self._lit_by is not around:
            light = around.distribution
            write_buffer(self._device, self._view_set[0], (2, _STORAGE), light)
            self._lit_by = around

    def _bend_if_due(self, commands: CData, scene: DeviceScene) -> None:
        bent = scene.take_bend_due()
        if bent is None:
            return
        self._bend.record(commands, bent)
        stage = vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT
        wrote = (stage, vk.VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT)
        read = (stage, vk.VK_ACCESS_2_SHADER_STORAGE_READ_BIT)
        barrier = buffer_barrier(scene.vertices, wrote, read)
        lib.vkCmdPipelineBarrier2(commands, dependency(buffers=[barrier]))
        self._device.stopwatch.lap(commands, "bend")

    def _bind(
        self, commands: CData, point: int, sums: Sums, scene: TracedScene, around: DeviceEnvironment
    ) -> None:
        for number, sets in enumerate((self._view_set, scene.sets, around.sets, sums.sets)):
            lib.vkCmdBindDescriptorSets(commands, point, self._layout, number, 1, sets, 0, NULL)

    def _set_work(
        self, made: Slice, tile: TileSpec, frame: tuple[int, int], lit_by_sky: bool
    ) -> None:
        """What the next submission does; the one before is over."""
        work = self._work[0]
        work["origin"], work["size"], work["frame"] = made.rect[:2], made.rect[2:], frame
        work["samples"], work["until"] = tile.samples, made.until
        work["seed"], work["bounces"] = tile.seed, tile.bounces
        work["background"] = (*tile.background, float(lit_by_sky and tile.sky_shown))
