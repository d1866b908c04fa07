"""Reduce one drawn tile's depth to a value a block where the host can read it (`render.depth`)."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from render.depth import depth_bytes, map_shape
from render.passes.targets import FrameTargets
from render.shaders import spirv
from render.tiles import Rect
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import Buffer, buffer_barrier, create_buffer, dependency
from render.vulkan.pipeline import (
    allocate_sets,
    create_compute_pipeline,
    create_pipeline_layout,
    create_set_layout,
    create_shader,
    write_buffer,
    write_texture,
)

_IMAGE = vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER
_STORAGE = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
_COMPUTE = vk.VK_SHADER_STAGE_COMPUTE_BIT
_PUSH_BYTES = 40
_GROUP = (16, 8)  # blocks per workgroup: 8x8 invocations of two


@dataclass(frozen=True, slots=True, eq=False)
class DepthTargets:
    """What the pass reads and writes: VkDescriptorSet[1], the reduced map, the closing barrier.

    size: of the frame, block: along the sides of a block, pixels.
    """

    sets: CData
    blocks: Buffer
    to_host: CData
    size: tuple[int, int]
    block: int


class DepthPass:
    """Nearest depth of each block; one per device."""

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self._device = device
        self._set_layout = create_set_layout(
            device, scope, [(_IMAGE, _COMPUTE), (_STORAGE, _COMPUTE)]
        )
        self._layout = create_pipeline_layout(
            device, scope, [self._set_layout], _COMPUTE, _PUSH_BYTES
        )
        shader = create_shader(device, scope, spirv("depth.comp"))
        self._pipeline = create_compute_pipeline(device, scope, shader, self._layout)
        self._sampler = device.create(scope, "Sampler", new("VkSamplerCreateInfo"))

    def bind(self, scope: ExitStack, targets: FrameTargets, block: int) -> DepthTargets:
        """What reduces `targets`, which keep their depth; lives as long as `scope`."""
        rows, _ = map_shape(targets.width, targets.height, block)
        nbytes = 2 * rows * _stride(targets.width, block)
        blocks = create_buffer(
            self._device, scope, nbytes, vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, host=True
        )
        made = allocate_sets(self._device, scope, self._set_layout, 1, [_IMAGE, _STORAGE])[0]
        write_texture(self._device, made, 0, targets.depth_view, self._sampler)
        write_buffer(self._device, made, (1, _STORAGE), blocks)
        wrote = (
            vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
            vk.VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT,
        )
        read = (vk.VK_PIPELINE_STAGE_2_HOST_BIT, vk.VK_ACCESS_2_HOST_READ_BIT)
        to_host = dependency(buffers=[buffer_barrier(blocks, wrote, read)])
        size = targets.width, targets.height
        return DepthTargets(ffi.new("VkDescriptorSet[1]", [made]), blocks, to_host, size, block)

    def record(
        self, commands: CData, bound: DepthTargets, rect: Rect, drawn: tuple[int, int]
    ) -> None:
        """Record the reduction of `rect`; depth must be readable by compute shaders.

        drawn: width and height of the frame that was drawn, at most those of the targets; of it
        there is what `render.upscale.source_rect` says.
        """
        point = vk.VK_PIPELINE_BIND_POINT_COMPUTE
        lib.vkCmdBindPipeline(commands, point, self._pipeline)
        lib.vkCmdBindDescriptorSets(commands, point, self._layout, 0, 1, bound.sets, 0, NULL)
        stride = _stride(rect.width, bound.block)
        push = ffi.new("int32_t[10]", [*rect, *bound.size, *drawn, bound.block, stride])
        lib.vkCmdPushConstants(commands, self._layout, _COMPUTE, 0, _PUSH_BYTES, push)
        rows, columns = map_shape(rect.width, rect.height, bound.block)
        lib.vkCmdDispatch(commands, -(-columns // _GROUP[0]), -(-rows // _GROUP[1]), 1)
        lib.vkCmdPipelineBarrier2(commands, bound.to_host)


def read_depth(bound: DepthTargets, rect: Rect, output: memoryview) -> int:
    """Copy a reduced tile, unpadded, to the start of `output`; returns the bytes.

    output: writable, contiguous uint8, at least `depth_bytes` long.
    """
    assert bound.blocks.mapped is not None
    nbytes, stride = depth_bytes(rect, bound.block), _stride(rect.width, bound.block)
    rows, columns = map_shape(rect.width, rect.height, bound.block)
    source = bound.blocks.mapped[: 2 * rows * stride].reshape(rows, 2 * stride)
    target = np.frombuffer(output, np.uint8)[:nbytes].reshape(rows, 2 * columns)
    target[:] = source[:, : 2 * columns]
    return nbytes


def _stride(width: int, block: int) -> int:
    """Values from row to row of a reduced tile: even."""
    return -(-width // (2 * block)) * 2
