"""Draw one tile of a scene: metallic-roughness shading with depth, culled to the tile.

A tile is a scissor on the whole frame's viewport, never a projection of its own, and the order of
draws is the view's whatever the tile: so a pixel's bytes do not depend on the tiling.

Draws are indirect: the host writes one small record per cluster, and one command draws all that
share a state. What tells draws apart, their placements, comes by instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from render.camera import Matrix
from render.clusters import visible
from render.drawlist import Batch, DrawList, draw_list
from render.lights import PACKED, Lighting, lighting, lights_of
from render.passes.environment import DeviceEnvironment, EnvironmentPass
from render.passes.scene_upload import (
    DRAW_COMMAND_BYTES,
    FIRST_INDEX,
    INDEX_COUNT,
    MATERIAL_BINDINGS,
    VERTEX_LAYOUTS,
    DeviceScene,
    Variant,
)
from render.passes.shadow import ShadowMap, ShadowPass
from render.passes.targets import COLOR_FORMAT, DEPTH_FORMAT, FrameTargets
from render.pieces import TileSpec
from render.scene import MAX_LIGHTS, AlphaMode
from render.shaders import spirv
from render.tiles import Rect
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import create_buffer, dependency, image_barrier
from render.vulkan.pipeline import (
    Targets,
    allocate_sets,
    create_graphics_pipeline,
    create_pipeline_layout,
    create_set_layout,
    create_shader,
    write_buffer,
    write_texture,
)

VIEW = np.dtype(
    [
        ("clip_from_world", "<f4", (4, 4)),  # column-major: transposed
        ("eye", "<f4", 4),  # w: 0 for a parallel projection
        ("ambient", "<f4", 4),  # w: exposure
        ("sky", "<f4", 4),  # factor, cosine and sine of its turn, last level
        ("counts", "<i4", 4),  # lights, tone mapping
        ("lights", "<f4", (MAX_LIGHTS + 1, *PACKED)),
    ]
)
_TEXTURE = vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER
_UNIFORM = vk.VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
_GRAPHICS = vk.VK_PIPELINE_BIND_POINT_GRAPHICS
_STRIDE = DRAW_COMMAND_BYTES
_LIGHTING, _SKY, _SHADOWS = 9, 10, 13  # specialisation constants of raster.frag


def drawn_rect(rect: Rect) -> Rect:
    """The tile and, unless it starts at the frame's edge, two columns to its left.

    Left-sited chroma reads one column to the left; two keep 2x2 quads whole.
    """
    grow = 2 if rect.x else 0
    return Rect(rect.x - grow, rect.y, rect.width + grow, rect.height)


class RasterTargets:
    """Frame targets with the structures every tile's recording needs, made once.

    A tile changes `rendering.renderArea` and `color.clearValue` and nothing else.
    """

    def __init__(self, targets: FrameTargets, size: tuple[int, int] | None = None) -> None:
        """size: (width, height) of a smaller frame, drawn into the targets' corner."""
        attachment = vk.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL
        depth_attachment = vk.VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL
        self.width, self.height = size or (targets.width, targets.height)
        self.begin = _begin_barriers(targets)
        self.end = _end_barriers(targets)
        self.samples = targets.samples
        sampled = targets.sampled
        # What is shown is the mean of a pixel's samples, in linear light, after tone mapping: so a
        # bright sample counts for no more than can be shown. Depth is the first sample's, because
        # that is what every driver can give back.
        self.color = _attachment(
            targets.color_view,
            attachment,
            sampled and sampled.color_view,
            vk.VK_RESOLVE_MODE_AVERAGE_BIT,
        )
        depth = _attachment(
            targets.depth_view,
            depth_attachment,
            sampled and sampled.depth_view,
            vk.VK_RESOLVE_MODE_SAMPLE_ZERO_BIT,
            keep=targets.keeps_depth,
        )
        depth.clearValue.depthStencil.depth = 0.0  # infinitely far
        self.rendering = new(
            "VkRenderingInfo",
            layerCount=1,
            colorAttachmentCount=1,
            pColorAttachments=self.color,
            pDepthAttachment=depth,
        )
        self.viewport = new(
            "VkViewport", width=self.width, height=self.height, minDepth=0.0, maxDepth=1.0
        )
        self.scissor = new("VkRect2D")


def _attachment(
    view: CData, layout: int, sampled: CData | None, resolve: int, *, keep: bool = True
) -> CData:
    """An attachment that is cleared, and whose samples, if it has several, end in `view`."""
    store = vk.VK_ATTACHMENT_STORE_OP_STORE if keep else vk.VK_ATTACHMENT_STORE_OP_DONT_CARE
    info = new(
        "VkRenderingAttachmentInfo",
        imageView=view,
        imageLayout=layout,
        loadOp=vk.VK_ATTACHMENT_LOAD_OP_CLEAR,
        storeOp=store,
    )
    if sampled is not None:
        info.imageView, info.storeOp = sampled, vk.VK_ATTACHMENT_STORE_OP_DONT_CARE
        if keep:
            info.resolveMode, info.resolveImageView = resolve, view
            info.resolveImageLayout = layout
    return info


class _Drawn(NamedTuple):
    """What pipelines are made for, beside materials: the light, whether of a sky too, samples of a
    pixel, and whether a light casts shadows.
    """

    lit_by: Lighting
    lit_by_sky: bool
    samples: int
    shadowed: bool


class RasterPass:
    """Pipelines and the per-tile uniforms; one per device."""

    def __init__(self, device: Device, scope: ExitStack, environments: EnvironmentPass) -> None:
        self._device, self._scope = device, scope
        self._no_environment = environments.none
        both = vk.VK_SHADER_STAGE_VERTEX_BIT | vk.VK_SHADER_STAGE_FRAGMENT_BIT
        view_bindings = ((_UNIFORM, both), (_TEXTURE, vk.VK_SHADER_STAGE_FRAGMENT_BIT))
        view_layout = create_set_layout(device, scope, view_bindings)
        self.material_layout = create_set_layout(device, scope, MATERIAL_BINDINGS)
        self._shadows = ShadowPass(device, scope, self.material_layout)
        self._layout = create_pipeline_layout(
            device,
            scope,
            [view_layout, self.material_layout, environments.set_layout, self._shadows.set_layout],
        )
        self._vertex = create_shader(device, scope, spirv("raster.vert"))
        self._fragment = create_shader(device, scope, spirv("raster.frag"))
        self._pipelines: dict[tuple[Variant, _Drawn], CData] = {}
        self._backdrop_vertex = create_shader(device, scope, spirv("backdrop.vert"))
        self._backdrop_fragment = create_shader(device, scope, spirv("backdrop.frag"))
        self._backdrops: dict[int, CData] = {}  # by samples

        usage = vk.VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT
        uniforms = create_buffer(device, scope, VIEW.itemsize, usage, host=True)
        assert uniforms.mapped is not None
        self._uniforms: NDArray[np.uint8] = uniforms.mapped
        self._view: NDArray[np.void] = np.zeros(1, VIEW)
        self._view_bytes: NDArray[np.uint8] = self._view.view(np.uint8)
        self._fields = {name: self._view[name][0] for name in VIEW.names or ()}
        view_sets = allocate_sets(device, scope, view_layout, 1, [_UNIFORM, _TEXTURE])
        write_buffer(device, view_sets[0], (0, _UNIFORM), uniforms)
        write_texture(device, view_sets[0], 1, environments.reflectances, environments.sampler)
        self._view_set = ffi.new("VkDescriptorSet[1]", view_sets)

        self._zero_offsets = ffi.new("uint64_t[2]")

    def record(
        self,
        commands: CData,
        targets: RasterTargets,
        scene: DeviceScene,
        environment: DeviceEnvironment | None,
        tile: TileSpec,
    ) -> int:
        """Record the drawing of a tile into the colour target; returns the clusters drawn.

        environment: what `tile.sky` is of; without one there is no such light.
        Afterwards the colour target may be sampled in compute shaders.
        """
        pose = scene.pose(tile.animation, tile.time)
        lights = lights_of(scene.lights, tile)
        shadows = self._shadows.record(commands, scene, tile, lights)
        around = environment or self._no_environment
        clip_from_world, rect = tile.matrix(), tile.region()
        self._set_view(tile, clip_from_world, lights, around.last_level)
        lit_by_sky = environment is not None and tile.sky > 0
        self._begin(commands, targets, tile)
        seen = visible(pose.boxes, clip_from_world, targets.width, targets.height, rect)
        self._bind_scene(commands, scene, around, shadows)
        if lit_by_sky and tile.sky_shown:
            self._draw_backdrop(commands, targets.samples)
        order = scene.order(tile.clip_from_world)
        draws = draw_list(seen, scene.clusters.block, scene.states, order)
        _write_commands(scene, draws)
        shadowed = shadows is not self._shadows.none
        drawn = _Drawn(lighting(lights), lit_by_sky, targets.samples, shadowed)
        self._draw(commands, scene, draws.batches, self._pipelines_of(scene, drawn))
        lib.vkCmdEndRendering(commands)
        lib.vkCmdPipelineBarrier2(commands, targets.end)
        return int(np.count_nonzero(seen))

    def _draw_backdrop(self, commands: CData, samples: int) -> None:
        if samples not in self._backdrops:
            self._backdrops[samples] = create_graphics_pipeline(
                self._device,
                self._scope,
                layout=self._layout,
                vertex=self._backdrop_vertex,
                fragment=self._backdrop_fragment,
                constants={},
                vertices=(),
                targets=Targets(COLOR_FORMAT, DEPTH_FORMAT, samples),
                depth=False,
            )
        lib.vkCmdBindPipeline(commands, _GRAPHICS, self._backdrops[samples])
        lib.vkCmdSetCullMode(commands, vk.VK_CULL_MODE_NONE)
        lib.vkCmdSetFrontFace(commands, vk.VK_FRONT_FACE_COUNTER_CLOCKWISE)
        lib.vkCmdDraw(commands, 3, 1, 0, 0)

    def _pipelines_of(self, scene: DeviceScene, drawn: _Drawn) -> list[CData]:
        """One per state of the scene."""
        if drawn not in scene.pipelines:
            scene.pipelines[drawn] = [
                self._pipeline(state.variant, drawn) for state in scene.draw_states
            ]
        return scene.pipelines[drawn]

    def _pipeline(self, variant: Variant, drawn: _Drawn) -> CData:
        """Made at first use: draw a session's scene once before its first frame."""
        key = variant, drawn
        if key not in self._pipelines:
            constants = {
                _LIGHTING: int(drawn.lit_by),
                _SKY: int(drawn.lit_by_sky),
                _SHADOWS: int(drawn.shadowed),
            }
            self._pipelines[key] = create_graphics_pipeline(
                self._device,
                self._scope,
                layout=self._layout,
                vertex=self._vertex,
                fragment=self._fragment,
                constants=variant.constants() | constants,
                vertices=VERTEX_LAYOUTS,
                targets=Targets(COLOR_FORMAT, DEPTH_FORMAT, drawn.samples),
                blend=variant.alpha_mode is AlphaMode.BLEND or variant.transmits,
            )
        return self._pipelines[key]

    def _set_view(
        self,
        tile: TileSpec,
        clip_from_world: Matrix,
        lights: NDArray[np.float32],
        last_level: int,
    ) -> None:
        """Write the tile's uniforms."""
        view = self._fields
        view["clip_from_world"][:] = clip_from_world.T
        view["eye"][:] = (*tile.eye, 0.0 if tile.parallel else 1.0)
        view["ambient"][:] = (*tile.ambient, tile.exposure)
        view["lights"][: len(lights)] = lights
        view["sky"][:] = (tile.sky, *tile.sky_turn, last_level)
        view["counts"][:2] = len(lights), tile.tone_mapping
        self._uniforms[:] = self._view_bytes  # at once: the device's memory may be slow to write

    def _begin(self, commands: CData, targets: RasterTargets, tile: TileSpec) -> None:
        drawn = drawn_rect(tile.region())
        area = ((drawn.x, drawn.y), (drawn.width, drawn.height))
        targets.color.clearValue.color.float32 = (*tile.background, 1.0)
        targets.rendering.renderArea = area
        targets.scissor.offset, targets.scissor.extent = area
        lib.vkCmdPipelineBarrier2(commands, targets.begin)
        lib.vkCmdBeginRendering(commands, targets.rendering)
        lib.vkCmdSetViewport(commands, 0, 1, targets.viewport)
        lib.vkCmdSetScissor(commands, 0, 1, targets.scissor)

    def _bind_scene(
        self, commands: CData, scene: DeviceScene, around: DeviceEnvironment, shadows: ShadowMap
    ) -> None:
        lib.vkCmdBindVertexBuffers(commands, 0, 2, scene.vertex_buffers, self._zero_offsets)
        lib.vkCmdBindIndexBuffer(commands, scene.indices.handle, 0, vk.VK_INDEX_TYPE_UINT32)
        lib.vkCmdBindDescriptorSets(
            commands, _GRAPHICS, self._layout, 0, 1, self._view_set, 0, NULL
        )
        lib.vkCmdBindDescriptorSets(commands, _GRAPHICS, self._layout, 2, 1, around.sets, 0, NULL)
        lib.vkCmdBindDescriptorSets(commands, _GRAPHICS, self._layout, 3, 1, shadows.sets, 0, NULL)

    def _draw(
        self,
        commands: CData,
        scene: DeviceScene,
        batches: Sequence[Batch],
        pipelines: Sequence[CData],
    ) -> None:
        """Draw each batch, binding what differs from the one before.

        A scene's equal things are the same objects, so identity tells what differs.
        """
        draw, buffer, states = (
            lib.vkCmdDrawIndexedIndirect,
            scene.command_buffer.handle,
            scene.draw_states,
        )
        pipeline = material = cull_mode = front_face = None
        for index, first, draws in batches:
            state = states[index]
            if pipelines[index] is not pipeline:
                pipeline = pipelines[index]
                lib.vkCmdBindPipeline(commands, _GRAPHICS, pipeline)
            if state.material_set is not material:
                material = state.material_set
                lib.vkCmdBindDescriptorSets(
                    commands, _GRAPHICS, self._layout, 1, 1, material, 0, NULL
                )
            if state.cull_mode != cull_mode:
                cull_mode = state.cull_mode
                lib.vkCmdSetCullMode(commands, cull_mode)
            if state.front_face != front_face:
                front_face = state.front_face
                lib.vkCmdSetFrontFace(commands, front_face)
            draw(commands, buffer, _STRIDE * first, draws, _STRIDE)


def _write_commands(scene: DeviceScene, draws: DrawList) -> None:
    """A run's command is its first cluster's, up to where its last one ends."""
    made = scene.command.take(draws.first, axis=0)
    made[:, INDEX_COUNT] = scene.ends.take(draws.last) - made[:, FIRST_INDEX]
    scene.commands[: len(made)] = made


_COLOR_WRITE = (
    vk.VK_PIPELINE_STAGE_2_COLOR_ATTACHMENT_OUTPUT_BIT,
    vk.VK_ACCESS_2_COLOR_ATTACHMENT_WRITE_BIT | vk.VK_ACCESS_2_COLOR_ATTACHMENT_READ_BIT,
)
_DEPTH_WRITE = (
    vk.VK_PIPELINE_STAGE_2_EARLY_FRAGMENT_TESTS_BIT
    | vk.VK_PIPELINE_STAGE_2_LATE_FRAGMENT_TESTS_BIT,
    vk.VK_ACCESS_2_DEPTH_STENCIL_ATTACHMENT_WRITE_BIT,
)


# Depth is resolved where colour is written (Vulkan 1.3, VK_KHR_depth_stencil_resolve).
_RESOLVE = tuple(depth | color for depth, color in zip(_DEPTH_WRITE, _COLOR_WRITE, strict=True))


def _begin_barriers(targets: FrameTargets) -> CData:
    """What the last tile did to the targets is done; their contents may go."""
    undefined = vk.VK_IMAGE_LAYOUT_UNDEFINED
    to_color = (undefined, vk.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL)
    to_depth = (undefined, vk.VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL)
    read = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, 0)
    aspect = vk.VK_IMAGE_ASPECT_DEPTH_BIT
    barriers = [
        image_barrier(targets.color, to_color, read, _COLOR_WRITE),
        image_barrier(targets.depth, to_depth, _RESOLVE, _RESOLVE, aspect=aspect),
    ]
    if (sampled := targets.sampled) is not None:
        barriers += [
            image_barrier(sampled.color, to_color, _COLOR_WRITE, _COLOR_WRITE),
            image_barrier(sampled.depth, to_depth, _DEPTH_WRITE, _DEPTH_WRITE, aspect=aspect),
        ]
    return dependency(images=barriers)


def _end_barriers(targets: FrameTargets) -> CData:
    """What was drawn may be read by compute shaders."""
    color = vk.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL
    depth = vk.VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL
    readable = vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL
    read = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT)
    barriers = [image_barrier(targets.color, (color, readable), _COLOR_WRITE, read)]
    if targets.keeps_depth:
        aspect = vk.VK_IMAGE_ASPECT_DEPTH_BIT
        barriers.append(
            image_barrier(targets.depth, (depth, readable), _RESOLVE, read, aspect=aspect)
        )
    return dependency(images=barriers)
