"""Bring a small picture, drawn into the corner of the frame's targets, to full size."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from render.passes.targets import ENCODED_FORMAT, FrameTargets
from render.shaders import spirv
from render.tiles import Rect
from render.upscale import steps
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import (
    Image,
    bind_images,
    create_image,
    create_view,
    dependency,
    image_barrier,
)
from render.vulkan.pipeline import (
    allocate_sets,
    create_compute_pipeline,
    create_pipeline_layout,
    create_set_layout,
    create_shader,
    write_storage_image,
    write_texture,
)

_IMAGE = vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER
_STORED = vk.VK_DESCRIPTOR_TYPE_STORAGE_IMAGE
_COMPUTE = vk.VK_SHADER_STAGE_COMPUTE_BIT
_POINT = vk.VK_PIPELINE_BIND_POINT_COMPUTE
_PUSH_BYTES = 40
_BLOCK = (32, 16)  # pixels per workgroup: 32 invocations of 1x16


@dataclass(frozen=True, slots=True, eq=False)
class UpscaleTargets:
    """The full-size picture, and what binds it to the targets it is made from.

    picture: R8G8B8A8, sRGB-encoded as `FrameTargets.color` is; view: as compute shaders read it.
    sets: VkDescriptorSet[1]. begin, end: the barriers around its making.
    """

    picture: Image
    view: CData
    sets: CData
    begin: CData
    end: CData


class UpscalePass:
    """Cubic convolution without ringing, see upscale.comp; one per device."""

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self._device = device
        bindings = [(_IMAGE, _COMPUTE), (_STORED, _COMPUTE)]
        self._set_layout = create_set_layout(device, scope, bindings)
        self._layout = create_pipeline_layout(
            device, scope, [self._set_layout], _COMPUTE, _PUSH_BYTES
        )
        shader = create_shader(device, scope, spirv("upscale.comp"))
        self._pipeline = create_compute_pipeline(device, scope, shader, self._layout)
        self._sampler = device.create(scope, "Sampler", new("VkSamplerCreateInfo"))

    def bind(self, scope: ExitStack, targets: FrameTargets) -> UpscaleTargets:
        """What is made from `targets`; lives as long as `scope`."""
        picture = create_image(
            self._device,
            scope,
            (targets.width, targets.height),
            ENCODED_FORMAT,
            vk.VK_IMAGE_USAGE_STORAGE_BIT
            | vk.VK_IMAGE_USAGE_SAMPLED_BIT
            | vk.VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
        )
        bind_images(self._device, scope, [picture])
        view = create_view(self._device, scope, picture)
        [made] = allocate_sets(self._device, scope, self._set_layout, 1, [_IMAGE, _STORED])
        write_texture(self._device, made, 0, targets.encoded_view, self._sampler)
        write_storage_image(self._device, made, 1, view)
        sets = ffi.new("VkDescriptorSet[1]", [made])
        return UpscaleTargets(picture, view, sets, _begin_barrier(picture), _end_barrier(picture))

    def record(
        self, commands: CData, bound: UpscaleTargets, rect: Rect, small: tuple[int, int]
    ) -> None:
        """Record the making of `rect` of the full picture from the small one, (width, height).

        The colour target must be readable by compute shaders, and hold `source_rect` of it.
        Afterwards `bound.view` may be sampled in compute shaders.
        """
        across = steps(bound.picture.width, small[0])
        down = steps(bound.picture.height, small[1])
        push = ffi.new("int32_t[10]", [*rect, *small, across[0], down[0], across[1], down[1]])
        lib.vkCmdPipelineBarrier2(commands, bound.begin)
        lib.vkCmdBindPipeline(commands, _POINT, self._pipeline)
        lib.vkCmdBindDescriptorSets(commands, _POINT, self._layout, 0, 1, bound.sets, 0, NULL)
        lib.vkCmdPushConstants(commands, self._layout, _COMPUTE, 0, _PUSH_BYTES, push)
        lib.vkCmdDispatch(commands, -(-rect.width // _BLOCK[0]), -(-rect.height // _BLOCK[1]), 1)
        lib.vkCmdPipelineBarrier2(commands, bound.end)


_WRITE = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, vk.VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT)


def _begin_barrier(picture: Image) -> CData:
    """The last tile's was converted, and may go."""
    layouts = (vk.VK_IMAGE_LAYOUT_UNDEFINED, vk.VK_IMAGE_LAYOUT_GENERAL)
    converted = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, 0)
    return dependency(images=[image_barrier(picture, layouts, converted, _WRITE)])


def _end_barrier(picture: Image) -> CData:
    """What was made may be read by compute shaders."""
    layouts = (vk.VK_IMAGE_LAYOUT_GENERAL, vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL)
    read = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT)
    return dependency(images=[image_barrier(picture, layouts, _WRITE, read)])
