"""Convert one drawn tile to packed I420 where the host can read it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from render.passes.targets import FrameTargets, padded_stride
from render.shaders import spirv
from render.tiles import Rect
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import buffer_barrier, dependency
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
_PUSH_BYTES = 20
_BLOCK = (64, 16)  # pixels per workgroup: 8x8 invocations of 8x2


@dataclass(frozen=True, slots=True, eq=False)
class I420Targets:
    """Frame targets as the pass binds them: VkDescriptorSet[1], and the barrier at its end."""

    sets: CData
    to_host: CData


class I420Pass:
    """BT.709 limited-range conversion; one per device."""

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self._device = device
        self._set_layout = create_set_layout(
            device, scope, [(_IMAGE, _COMPUTE), (_STORAGE, _COMPUTE)]
        )
        self._layout = create_pipeline_layout(
            device, scope, [self._set_layout], _COMPUTE, _PUSH_BYTES
        )
        shader = create_shader(device, scope, spirv("i420.comp"))
        self._pipeline = create_compute_pipeline(device, scope, shader, self._layout)
        self._sampler = device.create(scope, "Sampler", new("VkSamplerCreateInfo"))

    def bind(
        self, scope: ExitStack, targets: FrameTargets, view: CData | None = None
    ) -> I420Targets:
        """What reads and writes `targets`; lives as long as `scope`.

        view: of a picture that is read in place of theirs, without sRGB decoding.
        """
        made = allocate_sets(self._device, scope, self._set_layout, 1, [_IMAGE, _STORAGE])[0]
        write_texture(self._device, made, 0, view or targets.encoded_view, self._sampler)
        write_buffer(self._device, made, (1, _STORAGE), targets.planes)
        return I420Targets(ffi.new("VkDescriptorSet[1]", [made]), _to_host(targets))

    def record(self, commands: CData, bound: I420Targets, rect: Rect) -> None:
        """Record the conversion of `rect`; the colour target must be readable by compute shaders.

        When the commands have run, the host finds the planes in `FrameTargets.planes`.
        """
        point = vk.VK_PIPELINE_BIND_POINT_COMPUTE
        lib.vkCmdBindPipeline(commands, point, self._pipeline)
        lib.vkCmdBindDescriptorSets(commands, point, self._layout, 0, 1, bound.sets, 0, NULL)
        push = ffi.new("int32_t[5]", [*rect, padded_stride(rect.width)])
        lib.vkCmdPushConstants(commands, self._layout, _COMPUTE, 0, _PUSH_BYTES, push)
        across, down = -(-rect.width // _BLOCK[0]), -(-rect.height // _BLOCK[1])
        lib.vkCmdDispatch(commands, across, down, 1)
        lib.vkCmdPipelineBarrier2(commands, bound.to_host)


def _to_host(targets: FrameTargets) -> CData:
    """What was converted may be read by the host."""
    wrote = (
        vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
        vk.VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT,
    )
    read = (vk.VK_PIPELINE_STAGE_2_HOST_BIT, vk.VK_ACCESS_2_HOST_READ_BIT)
    return dependency(buffers=[buffer_barrier(targets.planes, wrote, read)])


def read_planes(targets: FrameTargets, rect: Rect, output: memoryview) -> int:
    """Copy a converted tile's planes, unpadded, to the start of `output`; returns the bytes.

    output: writable, contiguous uint8, at least `rect.i420_bytes` long.
    """
    assert targets.planes.mapped is not None
    source, target = targets.planes.mapped, np.frombuffer(output, np.uint8)
    stride = padded_stride(rect.width)
    if stride == rect.width:
        target[: rect.i420_bytes] = source[: rect.i420_bytes]
        return rect.i420_bytes
    taken = given = 0
    for columns, rows, step in (
        (rect.width, rect.height, stride),
        (rect.width // 2, rect.height // 2, stride // 2),
        (rect.width // 2, rect.height // 2, stride // 2),
    ):
        plane = source[taken : taken + rows * step].reshape(rows, step)
        target[given : given + rows * columns].reshape(rows, columns)[:] = plane[:, :columns]
        taken += rows * step
        given += rows * columns
    return given
