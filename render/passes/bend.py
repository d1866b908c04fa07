"""Bend the vertices of draws with a skin or morph targets, on the device, once per pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused
from render.motion import Stance
from render.scene import Draw, Primitive, Scene
from render.shaders import spirv
from render.vulkan.api import NULL, CData, ffi, lib, vk
from render.vulkan.device import Device
from render.vulkan.memory import (
    Buffer,
    Uploader,
    buffer_barrier,
    create_buffer,
    dependency,
)
from render.vulkan.pipeline import (
    allocate_sets,
    create_compute_pipeline,
    create_pipeline_layout,
    create_set_layout,
    create_shader,
    write_buffer,
)

_STORAGE = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
_COMPUTE = vk.VK_SHADER_STAGE_COMPUTE_BIT
_BINDINGS = ((_STORAGE, _COMPUTE),) * 5  # rest, bent, influences, displacements, state
_PUSH_BYTES = 24
_GROUP = 64
_HAS_NORMALS, _HAS_TANGENTS, _FLAT = 1, 2, 4  # as in bend.comp


@dataclass(frozen=True, slots=True, eq=False)
class BentDraw:
    """One draw as the pass dispatches it: VkDescriptorSet[1], uint32_t[6] push constants."""

    sets: CData
    push: CData
    groups: int


class BendPass:
    """The compute pipeline; one per device."""

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self.set_layout = create_set_layout(device, scope, _BINDINGS)
        self._layout = create_pipeline_layout(
            device, scope, [self.set_layout], _COMPUTE, _PUSH_BYTES
        )
        shader = create_shader(device, scope, spirv("bend.comp"))
        self._pipeline = create_compute_pipeline(device, scope, shader, self._layout)

    def record(self, commands: CData, bent: BentDraws) -> None:
        """Record the bending of all draws for the state last set; then they may be drawn."""
        point = vk.VK_PIPELINE_BIND_POINT_COMPUTE
        lib.vkCmdBindPipeline(commands, point, self._pipeline)
        for draw in bent.draws:
            lib.vkCmdBindDescriptorSets(commands, point, self._layout, 0, 1, draw.sets, 0, NULL)
            lib.vkCmdPushConstants(commands, self._layout, _COMPUTE, 0, _PUSH_BYTES, draw.push)
            lib.vkCmdDispatch(commands, draw.groups, 1, 1)
        lib.vkCmdPipelineBarrier2(commands, bent.barrier)


class BentDraws:
    """What the pass needs of one scene on the device.

    The state may be set whenever no recording runs: the device waits for each.
    """

    def __init__(
        self,
        device: Device,
        scope: ExitStack,
        uploader: Uploader,
        set_layout: CData,
        *,
        scene: Scene,
        vertices: Buffer,
        extents: Mapping[int, tuple[tuple[int, int], tuple[int, int]]],
    ) -> None:
        """extents: by draw, (offset, size) of its vertices at rest and bent, bytes of `vertices`.

        Raises ContentRefused if a draw's vertices are more than the device can bind.
        """
        motion = scene.motion
        assert motion is not None
        self._palette = 12 * len(motion.joints)
        usage = vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
        size = 4 * max(1, self._palette + len(motion.weights))
        state = create_buffer(device, scope, size, usage, host=True)
        assert state.mapped is not None
        self._state: NDArray[np.float32] = state.mapped.view(np.float32)
        tables = _Tables(device, scope, uploader, scene.primitives)
        made = allocate_sets(device, scope, set_layout, len(extents), [k for k, _ in _BINDINGS])
        draws = []
        for target, (number, (rest, bent)) in zip(made, extents.items(), strict=True):
            draw = scene.draws[number]
            mesh = scene.primitives[draw.primitive]
            check_range(device, bent[1])
            write_buffer(device, target, (0, _STORAGE), vertices, rest)
            write_buffer(device, target, (1, _STORAGE), vertices, bent)
            write_buffer(device, target, (2, _STORAGE), tables.influences(draw))
            write_buffer(device, target, (3, _STORAGE), tables.displacements(draw))
            write_buffer(device, target, (4, _STORAGE), state)
            sets = ffi.new("VkDescriptorSet[1]", [target])
            push = ffi.new("uint32_t[6]", _push(draw, mesh, self._palette))
            draws.append(BentDraw(sets, push, -(-len(mesh.positions) // _GROUP)))
        self.draws = tuple(draws)
        wrote = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, vk.VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT)
        read = (
            vk.VK_PIPELINE_STAGE_2_VERTEX_ATTRIBUTE_INPUT_BIT,
            vk.VK_ACCESS_2_VERTEX_ATTRIBUTE_READ_BIT,
        )
        self.barrier = dependency(buffers=[buffer_barrier(vertices, wrote, read)])

    def set_state(self, now: Stance) -> None:
        """Joints and weights for the next recording."""
        self._state[: self._palette] = now.palette.reshape(-1)
        self._state[self._palette : self._palette + len(now.weights)] = now.weights


class _Tables:
    """Influences and displacements on the device, each once per primitive."""

    def __init__(
        self, device: Device, scope: ExitStack, uploader: Uploader, primitives: Sequence[Primitive]
    ) -> None:
        self._device, self._scope, self._uploader = device, scope, uploader
        self._primitives = primitives
        self._nothing = self._store(np.zeros(1, np.uint32))
        self._made: dict[tuple[str, int], Buffer] = {}

    def influences(self, draw: Draw) -> Buffer:
        """(joint, weight) pairs, by vertex; something to bind for a draw without a skin."""
        given = self._primitives[draw.primitive].influences
        if draw.skin < 0 or given is None:
            return self._nothing
        key = ("influences", draw.primitive)
        if key not in self._made:
            pairs = np.empty((*given.joints.shape, 2), np.uint32)
            pairs[..., 0] = given.joints
            pairs[..., 1] = given.weights.view(np.uint32)
            self._made[key] = self._store(pairs)
        return self._made[key]

    def displacements(self, draw: Draw) -> Buffer:
        """By target: positions, normals, tangents; something to bind for a draw without any."""
        given = self._primitives[draw.primitive].morph
        if draw.weights < 0 or given is None:
            return self._nothing
        key = ("displacements", draw.primitive)
        if key not in self._made:
            parts = [p for p in (given.positions, given.normals, given.tangents) if p is not None]
            self._made[key] = self._store(np.stack(parts, axis=1).view(np.uint32))
        return self._made[key]

    def _store(self, words: NDArray[np.uint32]) -> Buffer:
        data = words.reshape(-1).view(np.uint8)
        check_range(self._device, len(data))
        usage = vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        buffer = create_buffer(self._device, self._scope, len(data), usage)
        self._uploader.fill_buffer(buffer, data)
        return buffer


def check_range(device: Device, size: int) -> None:
    """Raises ContentRefused if a shader cannot be given as many bytes at once."""
    if size > device.max_storage_range:
        raise ContentRefused(
            "a mesh that bends cannot be used",
            f"it takes {size} bytes, and the device binds at most {device.max_storage_range}",
            "Split the mesh.",
        )


def _push(draw: Draw, mesh: Primitive, palette_numbers: int) -> list[int]:
    """The push constants of bend.comp."""
    morph = mesh.morph if draw.weights >= 0 else None
    has = _FLAT if mesh.flat else 0
    if morph is not None:
        has |= _HAS_NORMALS if morph.normals is not None else 0
        has |= _HAS_TANGENTS if morph.tangents is not None else 0
    skinned = draw.skin >= 0 and mesh.influences is not None
    return [
        len(mesh.positions),
        mesh.influences.joints.shape[1] if skinned and mesh.influences else 0,
        12 * max(draw.skin, 0),
        0 if morph is None else len(morph.positions),
        palette_numbers + max(draw.weights, 0),
        has,
    ]
