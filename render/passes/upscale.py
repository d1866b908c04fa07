"""Bring a small picture, drawn into the corner of the frame's targets, to full size."""

from __future__ import annotations

from contextlib import ExitStack

from render.passes.targets import ENCODED_FORMAT, FrameTargets
from render.shaders import spirv
from render.tiles import Rect
from render.upscale import steps
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import bind_images, create_image, create_view, dependency, image_barrier
from render.vulkan.pipeline import (
    Targets,
    allocate_sets,
    create_graphics_pipeline,
    create_pipeline_layout,
    create_set_layout,
    create_shader,
    write_texture,
)

_IMAGE = vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER
_FRAGMENT = vk.VK_SHADER_STAGE_FRAGMENT_BIT
_DRAWING = vk.VK_PIPELINE_BIND_POINT_GRAPHICS
_PUSH_BYTES = 24
_COLOR_WRITE = (
    vk.VK_PIPELINE_STAGE_2_COLOR_ATTACHMENT_OUTPUT_BIT,
    vk.VK_ACCESS_2_COLOR_ATTACHMENT_WRITE_BIT,
)


class UpscaleTargets:
    """The full-size picture, and how to draw to it from `targets`; lives as long as `scope`.

    picture: R8G8B8A8, sRGB-encoded as `FrameTargets.color` is. view: as compute shaders read it.
    """

    def __init__(
        self, device: Device, scope: ExitStack, sets: CData, targets: FrameTargets
    ) -> None:
        self.sets = sets
        self.size = targets.width, targets.height
        self.picture = create_image(
            device,
            scope,
            self.size,
            ENCODED_FORMAT,
            vk.VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT
            | vk.VK_IMAGE_USAGE_SAMPLED_BIT
            | vk.VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
        )
        bind_images(device, scope, [self.picture])
        self.view = create_view(device, scope, self.picture)
        attachment = vk.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL
        self.begin = _begin_barriers(targets, self)
        self.end = _end_barrier(self)
        self.rendering = new(
            "VkRenderingInfo",
            layerCount=1,
            colorAttachmentCount=1,
            pColorAttachments=new(
                "VkRenderingAttachmentInfo",
                imageView=self.view,
                imageLayout=attachment,
                loadOp=vk.VK_ATTACHMENT_LOAD_OP_DONT_CARE,
                storeOp=vk.VK_ATTACHMENT_STORE_OP_STORE,
            ),
        )
        self.viewport = new("VkViewport", width=self.size[0], height=self.size[1], maxDepth=1.0)
        self.scissor = new("VkRect2D")


class UpscalePass:
    """The pipeline; one per device."""

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self._device = device
        self._set_layout = create_set_layout(device, scope, [(_IMAGE, _FRAGMENT)])
        self._layout = create_pipeline_layout(
            device, scope, [self._set_layout], _FRAGMENT, _PUSH_BYTES
        )
        self._pipeline = create_graphics_pipeline(
            device,
            scope,
            layout=self._layout,
            vertex=create_shader(device, scope, spirv("upscale.vert")),
            fragment=create_shader(device, scope, spirv("upscale.frag")),
            constants={},
            vertices=(),
            targets=Targets(ENCODED_FORMAT, vk.VK_FORMAT_UNDEFINED),
            depth=False,
        )
        self._sampler = device.create(scope, "Sampler", new("VkSamplerCreateInfo"))

    def bind(self, scope: ExitStack, targets: FrameTargets) -> UpscaleTargets:
        """What is drawn from `targets`; lives as long as `scope`."""
        [made] = allocate_sets(self._device, scope, self._set_layout, 1, [_IMAGE])
        write_texture(self._device, made, 0, targets.encoded_view, self._sampler)
        sets = ffi.new("VkDescriptorSet[1]", [made])
        return UpscaleTargets(self._device, scope, sets, targets)

    def record(
        self, commands: CData, bound: UpscaleTargets, rect: Rect, small: tuple[int, int]
    ) -> None:
        """Record the drawing of `rect` of the full picture from the small one, (width, height).

        The colour target must be readable by compute shaders, and hold `source_rect` of it.
        Afterwards `bound.view` may be sampled in compute shaders.
        """
        area = rect[:2], rect[2:]
        bound.rendering.renderArea = area
        bound.scissor.offset, bound.scissor.extent = area
        lib.vkCmdPipelineBarrier2(commands, bound.begin)
        lib.vkCmdBeginRendering(commands, bound.rendering)
        lib.vkCmdSetViewport(commands, 0, 1, bound.viewport)
        lib.vkCmdSetScissor(commands, 0, 1, bound.scissor)
        lib.vkCmdBindPipeline(commands, _DRAWING, self._pipeline)
        lib.vkCmdSetCullMode(commands, vk.VK_CULL_MODE_NONE)
        lib.vkCmdSetFrontFace(commands, vk.VK_FRONT_FACE_COUNTER_CLOCKWISE)
        lib.vkCmdBindDescriptorSets(commands, _DRAWING, self._layout, 0, 1, bound.sets, 0, NULL)
        across, down = map(steps, bound.size, small)
        push = ffi.new("int32_t[6]", [across[0], down[0], across[1], down[1], *small])
        lib.vkCmdPushConstants(commands, self._layout, _FRAGMENT, 0, _PUSH_BYTES, push)
        lib.vkCmdDraw(commands, 3, 1, 0, 0)
        lib.vkCmdEndRendering(commands)
        lib.vkCmdPipelineBarrier2(commands, bound.end)


def _begin_barriers(targets: FrameTargets, bound: UpscaleTargets) -> CData:
    """The small picture may be read; the last tile's was converted, and may go."""
    sampled = vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL
    converting = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, 0)
    read = (
        vk.VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT,
        vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT,
    )
    return dependency(
        images=[
            image_barrier(targets.color, (sampled, sampled), converting, read),
            image_barrier(
                bound.picture,
                (vk.VK_IMAGE_LAYOUT_UNDEFINED, vk.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL),
                converting,
                _COLOR_WRITE,
            ),
        ]
    )


def _end_barrier(bound: UpscaleTargets) -> CData:
    """What was drawn may be read by compute shaders."""
    layouts = (
        vk.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
        vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL,
    )
    read = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT)
    return dependency(images=[image_barrier(bound.picture, layouts, _COLOR_WRITE, read)])
