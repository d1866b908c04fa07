"""What path tracing needs of a scene on a device, beside the raster pass's copy."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused
from render.passes.scene_upload import PLACEMENT, DeviceScene
from render.pathtrace.bvh import NODE
from render.pathtrace.geometry import TRIANGLE, Geometry
from render.pathtrace.surfaces import PAGES, pack_surfaces
from render.pose import Pose
from render.scene import AlphaMode, Scene
from render.vulkan.api import CData, ffi, vk
from render.vulkan.device import Device
from render.vulkan.memory import Buffer, Uploader, create_buffer, create_texel_view
from render.vulkan.pipeline import allocate_sets, write_buffer, write_texel_buffer

_STORAGE = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
_TEXELS = vk.VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
_COMPUTE = vk.VK_SHADER_STAGE_COMPUTE_BIT
# Nodes, triangles; vertices, placements, materials, pages of texels.
BINDINGS = (
    *((_TEXELS, _COMPUTE),) * 2,
    *((_STORAGE, _COMPUTE),) * 3,
    *((_TEXELS, _COMPUTE),) * PAGES,
)
_WORDS, _COLORS = vk.VK_FORMAT_R32G32B32A32_UINT, vk.VK_FORMAT_R8G8B8A8_UNORM
# Specialisation constants of pathtrace.comp.
_HAS_ALPHA, _PAGES, _HAS_NORMAL_MAPS, _HAS_LAYERS = 0, 1, 2, 4


class TracedScene:
    """Nodes, triangles and materials of one scene; vertices are the `DeviceScene`'s.

    sets: VkDescriptorSet[1]. constants: what the shader is specialised for.
    Raises ContentRefused if it is more than the device can bind. Close it before the device scene.
    """

    def __init__(
        self,
        device: Device,
        set_layout: CData,
        uploader: Uploader,
        raster: DeviceScene,
        scene: Scene,
    ) -> None:
        self.raster = raster
        self._uploader = uploader
        self._posed: Pose | None = None
        first = [raster.first_vertex[number] for number in range(len(scene.draws))]
        self._geometry = Geometry(scene, first)
        surfaces = pack_surfaces(scene, 4 * device.max_texels)
        self.constants = {
            _HAS_ALPHA: int(
                any(m.alpha_mode is not AlphaMode.OPAQUE or m.blends for m in scene.materials)
            ),
            _PAGES: len(surfaces.pages),
            _HAS_LAYERS: int(
                any(m.clearcoat_factor or m.transmission_factor for m in scene.materials)
            ),
            _HAS_NORMAL_MAPS: int(any(m.normal is not None for m in scene.materials)),
        }
        count = self._geometry.count
        with ExitStack() as scope:
            self._scope = scope
            self._device = device
            _check(NODE.itemsize * count, 16 * device.max_texels)  # of as many bytes as a triangle
            _check(raster.vertices.size, device.max_storage_range)
            self._nodes = self._create(NODE.itemsize * max(1, count - 1))
            self._triangles = self._create(TRIANGLE.itemsize * count)
            self._placements = self._create(PLACEMENT.itemsize * len(scene.draws))
            materials = self._filled(surfaces.materials.view(np.uint8).reshape(-1))
            pages = [self._filled(page) for page in surfaces.pages]
            [made] = allocate_sets(device, scope, set_layout, 1, [kind for kind, _ in BINDINGS])
            read = ((self._nodes, _WORDS), (self._triangles, _WORDS))
            for binding, (buffer, texel) in enumerate(read):
                write_texel_buffer(
                    device, made, binding, create_texel_view(device, scope, buffer, texel)
                )
            stored = (raster.vertices, self._placements, materials)
            for binding, buffer in enumerate(stored, start=len(read)):
                write_buffer(device, made, (binding, _STORAGE), buffer)
            views = [create_texel_view(device, scope, page, _COLORS) for page in pages]
            for number in range(PAGES):
                binding = len(read) + len(stored) + number
                write_texel_buffer(device, made, binding, views[min(number, len(views) - 1)])
            self.sets = ffi.new("VkDescriptorSet[1]", [made])
            self._scope = scope.pop_all()

    def take(self, pose: Pose) -> None:
        """Bring the tree to a pose that `raster` has taken."""
        if pose is self._posed:
            return
        nodes, triangles = self._geometry.take(pose.stance, self.raster.mirrored)
        for buffer, data in (
            (self._nodes, nodes),
            (self._triangles, triangles),
            (self._placements, self.raster.placements),
        ):
            self._uploader.fill_buffer(buffer, data.view(np.uint8).reshape(-1))
        self._posed = pose

    def close(self) -> None:
        """Free everything."""
        self._scope.close()

    def _create(self, size: int) -> Buffer:
        usage = vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        usage |= vk.VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT
        return create_buffer(self._device, self._scope, size, usage)

    def _filled(self, data: NDArray[np.uint8]) -> Buffer:
        buffer = self._create(len(data))
        self._uploader.fill_buffer(buffer, data)
        return buffer


def _check(size: int, most: int) -> None:
    if size > most:
        raise ContentRefused(
            what="the scene cannot be path traced",
            why=f"a part of it takes {size} bytes, and the device binds {most}",
            fix="Use fewer triangles, or the raster integrator.",
        )
