"""Draw what hides a sun's light: one depth picture of a whole scene, kept until either moves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from render.lights import brightest_sun
from render.passes.scene_upload import (
    DRAW_COMMAND_BYTES,
    FIRST_INDEX,
    INDEX_COUNT,
    VERTEX_LAYOUTS,
    DeviceScene,
    Variant,
)
from render.passes.targets import DEPTH_FORMAT
from render.pieces import TileSpec
from render.pose import Pose
from render.scene import AlphaMode
from render.shaders import spirv
from render.shadows import sun_view
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import (
    Image,
    bind_images,
    create_buffer,
    create_image,
    create_view,
    dependency,
    image_barrier,
)
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

_UNIFORMS = np.dtype([("clip_from_world", "<f4", (4, 4)), ("texel", "<f4", 4), ("which", "<i4", 4)])
_TEXTURE = vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER
_UNIFORM = vk.VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
_GRAPHICS = vk.VK_PIPELINE_BIND_POINT_GRAPHICS
_FRAGMENT, _VERTEX = vk.VK_SHADER_STAGE_FRAGMENT_BIT, vk.VK_SHADER_STAGE_VERTEX_BIT
_MATRIX_BYTES = 64
_NO_LIGHT = -1
_HAS_BASE_COLOR, _UV_TRANSFORMS = 0, 8  # specialisation constants of shadow.frag


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Commands [first, first + draws) of a scene's casters. cut: by a MASK material's texture."""

    first: int
    draws: int
    material_set: CData | None = None
    cut: Variant | None = None


class ShadowMap:
    """The depth of a scene as its sun sees it, size x size texels; `sets` is what shaders bind.

    drawn_for: the pose and the light that it shows.
    """

    def __init__(self, device: Device, scope: ExitStack, layout: CData, size: int) -> None:
        self.size = size
        attachment, sampled = (
            vk.VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT,
            vk.VK_IMAGE_USAGE_SAMPLED_BIT,
        )
        image = create_image(device, scope, (size, size), DEPTH_FORMAT, attachment | sampled)
        bind_images(device, scope, [image])
        view = create_view(device, scope, image, aspect=vk.VK_IMAGE_ASPECT_DEPTH_BIT)
        usage = vk.VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT
        buffer = create_buffer(device, scope, _UNIFORMS.itemsize, usage, host=True)
        assert buffer.mapped is not None
        self._mapped: NDArray[np.uint8] = buffer.mapped
        [made] = allocate_sets(device, scope, layout, 1, [_TEXTURE, _UNIFORM])
        write_texture(device, made, 0, view, device.create(scope, "Sampler", _sampler()))
        write_buffer(device, made, (1, _UNIFORM), buffer)
        self.sets = ffi.new("VkDescriptorSet[1]", [made])
        self.drawn_for: tuple[Pose, bytes] | None = None
        self.begin, self.end = _barriers(image)
        area = ((0, 0), (size, size))
        depth = new(
            "VkRenderingAttachmentInfo",
            imageView=view,
            imageLayout=vk.VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL,
            loadOp=vk.VK_ATTACHMENT_LOAD_OP_CLEAR,
            storeOp=vk.VK_ATTACHMENT_STORE_OP_STORE,
        )
        depth.clearValue.depthStencil.depth = 0.0  # nothing hides anything
        self.rendering = new(
            "VkRenderingInfo", renderArea=area, layerCount=1, pDepthAttachment=depth
        )
        self.viewport = new("VkViewport", width=size, height=size, minDepth=0.0, maxDepth=1.0)
        self.scissor = new("VkRect2D", extent=(size, size))
        self.write(np.eye(4), 1.0, _NO_LIGHT)

    def write(self, clip_from_world: NDArray[np.float64], width: float, light: int) -> None:
        """What shaders know of it. width: of what it covers, metres."""
        uniforms = np.zeros(1, _UNIFORMS)
        uniforms["clip_from_world"][0] = clip_from_world.T
        uniforms["texel"][0, :3] = width / self.size, 1 / self.size, self.size
        uniforms["which"][0, 0] = light
        self._mapped[:] = uniforms.view(np.uint8)

    def forget(self) -> None:
        """It shows nothing yet, whatever was written."""
        self.drawn_for = None


class ShadowPass:
    """Pipelines that draw shadow maps; one per device.

    none: what is bound where nothing is asked to cast a shadow.
    """

    def __init__(self, device: Device, scope: ExitStack, material_layout: CData) -> None:
        self._device, self._scope = device, scope
        self.set_layout = create_set_layout(
            device, scope, [(_TEXTURE, _FRAGMENT), (_UNIFORM, _FRAGMENT)]
        )
        self._layout = create_pipeline_layout(
            device, scope, [material_layout], _VERTEX, _MATRIX_BYTES
        )
        self._vertex = create_shader(device, scope, spirv("shadow.vert"))
        self._fragment = create_shader(device, scope, spirv("shadow.frag"))
        self._pipelines: dict[tuple[bool, bool] | None, CData] = {}
        self._zero_offsets = ffi.new("uint64_t[2]")
        self.none = ShadowMap(device, scope, self.set_layout, 1)
        with device.recording() as commands:
            lib.vkCmdPipelineBarrier2(commands, self.none.begin)
            lib.vkCmdPipelineBarrier2(commands, self.none.end)

    def record(
        self, commands: CData, scene: DeviceScene, tile: TileSpec, lights: NDArray[np.float32]
    ) -> ShadowMap:
        """The map for a tile, `tile.shadows` texels wide; recorded unless it is still right.

        Its light is the brightest directional one of `lights`, packed, all that shine on the tile;
        where there is none, nothing casts a shadow.
        Called outside of rendering, after the scene has taken the tile's pose.
        """
        light = brightest_sun(lights) if tile.shadows else _NO_LIGHT
        if light == _NO_LIGHT:
            return self.none
        shadows = self._map(scene, tile.shadows)
        pose = scene.pose(tile.animation, tile.time)
        drawn_for = pose, lights[light].tobytes() + bytes([light])
        if shadows.drawn_for is None or shadows.drawn_for != drawn_for:
            view = sun_view(pose.boxes, lights[light, 0, :3])
            shadows.write(view.clip_from_world, view.width, light)
            self._draw(commands, scene, shadows, view.clip_from_world)
            shadows.drawn_for = drawn_for
            self._device.if_not_run(shadows.forget)
        return shadows

    def _map(self, scene: DeviceScene, size: int) -> ShadowMap:
        """Made at first use: draw a session's scene once before its first frame."""
        if size not in scene.shadow_maps:
            scene.shadow_maps[size] = ShadowMap(self._device, scene.scope, self.set_layout, size)
        return scene.shadow_maps[size]

    def _draw(
        self,
        commands: CData,
        scene: DeviceScene,
        shadows: ShadowMap,
        clip_from_world: NDArray[np.float64],
    ) -> None:
        lib.vkCmdPipelineBarrier2(commands, shadows.begin)
        lib.vkCmdBeginRendering(commands, shadows.rendering)
        lib.vkCmdSetViewport(commands, 0, 1, shadows.viewport)
        lib.vkCmdSetScissor(commands, 0, 1, shadows.scissor)
        # From behind too: a wall without a back hides the sun all the same.
        lib.vkCmdSetCullMode(commands, vk.VK_CULL_MODE_NONE)
        lib.vkCmdSetFrontFace(commands, vk.VK_FRONT_FACE_COUNTER_CLOCKWISE)
        lib.vkCmdBindVertexBuffers(commands, 0, 2, scene.vertex_buffers, self._zero_offsets)
        lib.vkCmdBindIndexBuffer(commands, scene.indices.handle, 0, vk.VK_INDEX_TYPE_UINT32)
        columns = ffi.new("float[16]", clip_from_world.T.ravel().tolist())
        lib.vkCmdPushConstants(commands, self._layout, _VERTEX, 0, _MATRIX_BYTES, columns)
        casters = self._casters(scene)
        for batch in casters.batches:
            lib.vkCmdBindPipeline(commands, _GRAPHICS, self._pipeline(batch.cut))
            if batch.material_set is not None:
                lib.vkCmdBindDescriptorSets(
                    commands, _GRAPHICS, self._layout, 0, 1, batch.material_set, 0, NULL
                )
            at, stride = DRAW_COMMAND_BYTES * batch.first, DRAW_COMMAND_BYTES
            lib.vkCmdDrawIndexedIndirect(commands, casters.buffer, at, batch.draws, stride)
        lib.vkCmdEndRendering(commands)
        lib.vkCmdPipelineBarrier2(commands, shadows.end)
        self._device.stopwatch.lap(commands, "shadow")

    def _casters(self, scene: DeviceScene) -> Casters:
        if scene.casters is None:
            scene.casters = Casters(self._device, scene)
        return scene.casters

    def _pipeline(self, cut: Variant | None) -> CData:
        key = (cut.maps[0], cut.uv_transforms) if cut is not None else None
        if key not in self._pipelines:
            constants = {_HAS_BASE_COLOR: int(key[0]), _UV_TRANSFORMS: int(key[1])} if key else {}
            self._pipelines[key] = create_graphics_pipeline(
                self._device,
                self._scope,
                layout=self._layout,
                vertex=self._vertex,
                fragment=self._fragment if key else None,
                constants=constants,
                vertices=VERTEX_LAYOUTS,
                targets=Targets(None, DEPTH_FORMAT),
            )
        return self._pipelines[key]


class Casters:
    """One command for each draw of a scene that hides light: all but those that blend."""

    def __init__(self, device: Device, scene: DeviceScene) -> None:
        starts = np.flatnonzero(np.diff(scene.clusters.draw, prepend=-1))
        lasts = np.append(starts[1:], len(scene.clusters.draw)) - 1
        commands = scene.command[starts].copy()  # a draw's clusters follow on each other
        commands[:, INDEX_COUNT] = scene.ends[lasts] - commands[:, FIRST_INDEX]
        ordered: list[int] = []
        self.batches: list[_Batch] = []
        for (material_set, cut), draws in _by_state(scene).items():
            self.batches.append(_Batch(len(ordered), len(draws), material_set, cut))
            ordered += draws
        size = max(DRAW_COMMAND_BYTES * len(ordered), DRAW_COMMAND_BYTES)
        usage = vk.VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT
        buffer = create_buffer(device, scene.scope, size, usage, host=True)
        assert buffer.mapped is not None
        buffer.mapped.view(np.uint32).reshape(-1, 5)[: len(ordered)] = commands[ordered]
        self.buffer = buffer.handle


def _by_state(scene: DeviceScene) -> dict[tuple[CData | None, Variant | None], list[int]]:
    """Draws by what must be bound for them: nothing for those that hide light everywhere."""
    found: dict[tuple[CData | None, Variant | None], list[int]] = {}
    for draw, index in enumerate(scene.state_of_draw.tolist()):
        state = scene.draw_states[index]
        if state.variant.transmits:
            continue
        match state.variant.alpha_mode:
            case AlphaMode.OPAQUE:
                found.setdefault((None, None), []).append(draw)
            case AlphaMode.MASK:
                found.setdefault((state.material_set, state.variant), []).append(draw)
    return found


def _sampler() -> CData:
    """Compares what is asked with what is stored: lit if nothing is nearer to the sun."""
    edge = vk.VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE
    return new(
        "VkSamplerCreateInfo",
        addressModeU=edge,
        addressModeV=edge,
        addressModeW=edge,
        compareEnable=1,
        compareOp=vk.VK_COMPARE_OP_GREATER_OR_EQUAL,
    )


def _barriers(image: Image) -> Sequence[CData]:
    """Before it is drawn, when its contents may go, and after, when shaders may look at it."""
    drawn = vk.VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL
    readable = vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL
    read = (vk.VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT, vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT)
    write = (
        vk.VK_PIPELINE_STAGE_2_EARLY_FRAGMENT_TESTS_BIT
        | vk.VK_PIPELINE_STAGE_2_LATE_FRAGMENT_TESTS_BIT,
        vk.VK_ACCESS_2_DEPTH_STENCIL_ATTACHMENT_WRITE_BIT
        | vk.VK_ACCESS_2_DEPTH_STENCIL_ATTACHMENT_READ_BIT,
    )
    aspect = vk.VK_IMAGE_ASPECT_DEPTH_BIT
    before = (read[0], 0)
    return [
        dependency(images=[image_barrier(image, layouts, source, target, aspect=aspect)])
        for layouts, source, target in (
            ((vk.VK_IMAGE_LAYOUT_UNDEFINED, drawn), before, write),
            ((drawn, readable), write, read),
        )
    ]
