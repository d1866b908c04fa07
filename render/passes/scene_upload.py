"""A scene in device memory: one vertex and one index buffer, textures, one set per material."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from render.clusters import DrawnClusters, cluster_scene
from render.drawlist import Places, draw_order
from render.lights import pack_lights
from render.passes.bend import BentDraws
from render.pose import Pose, Poser
from render.scene import (
    AlphaMode,
    MagFilter,
    Material,
    MinFilter,
    Primitive,
    Scene,
    Texture,
    TextureSlot,
    UvTransform,
    Wrap,
)
from render.vulkan.api import CData, ffi, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import (
    Image,
    Uploader,
    bind_images,
    check_side,
    create_buffer,
    create_image,
    create_view,
)
from render.vulkan.pipeline import VertexLayout, allocate_sets, write_buffer, write_texture

if TYPE_CHECKING:
    from render.passes.shadow import Casters, ShadowMap

VERTEX = np.dtype(
    [
        ("position", "<f4", 3),
        ("normal", "<f4", 3),
        ("tangent", "<f4", 4),
        ("uv", "<f4", 4),
        ("color", "<u2", 4),
    ]
)
PLACEMENT = np.dtype([("rows", "<f4", (6, 4))])  # of world_from_mesh, and of what takes normals
# Columns of VkDrawIndexedIndirectCommand, of 32 bits each. (Plain rows: numpy picks records of a
# structured type five times as slowly.)
INDEX_COUNT, INSTANCE_COUNT, FIRST_INDEX, VERTEX_OFFSET, FIRST_INSTANCE = range(5)
DRAW_COMMAND_BYTES = 20
VERTEX_LAYOUTS = (
    VertexLayout(
        VERTEX.itemsize,
        (
            (vk.VK_FORMAT_R32G32B32_SFLOAT, 0),
            (vk.VK_FORMAT_R32G32B32_SFLOAT, 12),
            (vk.VK_FORMAT_R32G32B32A32_SFLOAT, 24),
            (vk.VK_FORMAT_R32G32B32A32_SFLOAT, 40),
            (vk.VK_FORMAT_R16G16B16A16_UNORM, 56),
        ),
    ),
    VertexLayout(
        PLACEMENT.itemsize,
        tuple((vk.VK_FORMAT_R32G32B32A32_SFLOAT, 16 * row) for row in range(6)),
        per_instance=True,
    ),
)
MATERIAL = np.dtype(
    [
        ("base_color", "<f4", 4),
        ("emissive", "<f4", 4),
        ("factors", "<f4", 4),
        ("layers", "<f4", 4),
        ("uv_rows", "<f4", (5, 2, 4)),
    ]
)
MATERIAL_BINDINGS = (
    (vk.VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, vk.VK_SHADER_STAGE_FRAGMENT_BIT),
    *((vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, vk.VK_SHADER_STAGE_FRAGMENT_BIT),) * 5,
)
# Specialisation constants of raster.frag, beside those in order.
_SHARED_OCCLUSION, _COATED, _TRANSMITS = 11, 12, 14
_APART = 4  # primitives begin at multiples of 256 bytes, where any device can bind storage
_SRGB, _LINEAR = vk.VK_FORMAT_R8G8B8A8_SRGB, vk.VK_FORMAT_R8G8B8A8_UNORM
_SLOT_FORMATS = (_SRGB, _LINEAR, _LINEAR, _LINEAR, _SRGB)  # in the order of `_slots`

_MIP_NEAREST = (MinFilter.NEAREST_MIPMAP_NEAREST, MinFilter.LINEAR_MIPMAP_NEAREST)
_MIP_LINEAR = (MinFilter.NEAREST_MIPMAP_LINEAR, MinFilter.LINEAR_MIPMAP_LINEAR)
_TEXEL_NEAREST = (
    MinFilter.NEAREST,
    MinFilter.NEAREST_MIPMAP_NEAREST,
    MinFilter.NEAREST_MIPMAP_LINEAR,
)
_ADDRESS = {
    Wrap.REPEAT: vk.VK_SAMPLER_ADDRESS_MODE_REPEAT,
    Wrap.CLAMP_TO_EDGE: vk.VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE,
    Wrap.MIRRORED_REPEAT: vk.VK_SAMPLER_ADDRESS_MODE_MIRRORED_REPEAT,
}


@dataclass(frozen=True, slots=True)
class Variant:
    """What a pipeline is specialised for: which maps a material has, and how its alpha counts.

    shared_occlusion: the occlusion map is the metallic-roughness map, so that one look does.
    coated: it has a clear coat. transmits: light comes through it.
    """

    maps: tuple[bool, ...]  # base colour, metallic-roughness, normal, occlusion, emissive
    tangents: bool
    alpha_mode: AlphaMode
    unlit: bool
    uv_transforms: bool
    shared_occlusion: bool
    coated: bool
    transmits: bool

    def constants(self) -> dict[int, int]:
        """The fragment shader's specialisation constants by id."""
        values = (*self.maps, self.tangents, self.alpha_mode, self.unlit, self.uv_transforms)
        by_id = {index: int(value) for index, value in enumerate(values)}
        return by_id | {
            _SHARED_OCCLUSION: int(self.shared_occlusion),
            _COATED: int(self.coated),
            _TRANSMITS: int(self.transmits),
        }


@dataclass(frozen=True, slots=True, eq=False)
class DrawState:
    """What is bound for draws of the scene. material_set: VkDescriptorSet[1]."""

    variant: Variant
    material_set: CData
    cull_mode: int
    front_face: int


class DeviceScene:
    """A scene on a device. Holds no reference to the vertices and pixels it was made from.

    draw_states: what may be bound. lights: packed, in the pose last taken. bent: what bends
    vertices, or None. pipelines: by what the light is, per state, kept here by the raster pass.
    Per draw: first_vertex, into `vertices`; placements, PLACEMENT; mirrored, whether its triangles'
    winding is, both in the pose last taken.
    commands: uint32 (n, 5), where the host writes what is to be drawn from `command_buffer`.
    command: uint32 (n, 5), that of each entry of `clusters`.
    ends: uint32 (n,), the index behind each.
    state_of_draw: int64, per draw its index into `draw_states`, or of the one before its mirror's.
    scope: what lives as long as the scene. casters, shadow_maps: kept here by the shadow pass.
    Per block of clusters, (b,): states, its index into `draw_states`, in the pose last taken.
    Raises ContentRefused if a texture is larger than the device can hold.
    """

    def __init__(
        self, device: Device, material_layout: CData, bend_layout: CData, scene: Scene
    ) -> None:
        self._device = device
        self.clusters: DrawnClusters = cluster_scene(scene)
        self._poser = Poser(scene, self.clusters)
        self._lights = scene.lights
        blends = [
            scene.materials[scene.primitives[draw.primitive].material].blends
            for draw in scene.draws
        ]
        self._block_starts = np.flatnonzero(np.diff(self.clusters.block, prepend=-1))
        self._draw_of_block = self.clusters.draw[self._block_starts]
        self._blended: NDArray[np.bool_] = np.array(blends)[self._draw_of_block]
        with ExitStack() as scope, ExitStack() as until_loaded:
            uploader = Uploader(device, until_loaded)
            self._upload_meshes(device, scope, uploader, scene)
            self.bent = self._upload_bending(device, scope, uploader, bend_layout, scene)
            textures = _Textures(device, scope, uploader, scene)
            kinds = [kind for kind, _ in MATERIAL_BINDINGS]
            self.material_sets = allocate_sets(
                device, scope, material_layout, len(scene.materials), kinds
            )
            self._upload_materials(device, scope, uploader, scene)
            self._skins = np.array([draw.skin for draw in scene.draws])
            self.draw_states, self.state_of_draw = self._find_states(scene)
            self.pipelines: dict[Hashable, list[CData]] = {}
            self._prepare_draws(device, scope, scene)
            self._posed: Pose | None = None
            self._bend_due = False
            for target, material in zip(self.material_sets, scene.materials, strict=True):
                textures.bind(target, material)
            self.scope = scope.pop_all()
            self.casters: Casters | None = None
            self.shadow_maps: dict[int, ShadowMap] = {}  # by size

    def pose(self, animation: int, time: float) -> Pose:
        """Take a pose: placements and sides follow; vertices too, once `bend_due` is obeyed."""
        pose = self._poser.at(animation, time)
        if pose is not self._posed:
            self._posed = pose
            maps = pose.world_from_mesh
            if pose.stance is not None:
                # Skinned vertices are in the world already; their side is their first joint's.
                maps = np.where((self._skins >= 0)[:, None, None], np.eye(4)[:3], maps)
            self.lights = pack_lights(self._lights, pose.stance)
            self.placements["rows"], mirrored = pack_placements(maps)
            if self.bent is not None:
                assert pose.stance is not None
                self.bent.set_state(pose.stance)
                self._bend_due = True
                skinned = np.flatnonzero(self._skins >= 0)
                _, sides = pack_placements(pose.stance.palette[self._skins[skinned]])
                mirrored[skinned] = sides
            self.mirrored: NDArray[np.bool_] = mirrored
            self.states: NDArray[np.int64] = (self.state_of_draw + mirrored)[self._draw_of_block]
            sums = np.add.reduceat(pose.boxes.centre, self._block_starts)
            counts = np.diff(self._block_starts, append=len(pose.boxes.centre))
            self._block_centres: NDArray[np.float64] = sums / counts[:, None]
            self._ordered_for: tuple[float, ...] = ()
        return pose

    def order(self, clip_from_world: Sequence[float]) -> Places:
        """`draw_order` for a view of the pose last taken; made once for all of its tiles."""
        if clip_from_world != self._ordered_for:
            depth = self._block_centres @ np.array(clip_from_world[12:15])  # w grows with distance
            self._order = draw_order(self.states, self._blended, depth)
            self._ordered_for = tuple(clip_from_world)
        return self._order

    def take_bend_due(self) -> BentDraws | None:
        """What to bend before drawing the pose last taken; None if that was done before.

        To be recorded now: should that not run, it is due again.
        """
        if not self._bend_due:
            return None
        self._bend_due = False
        self._device.if_not_run(self._bend_again)
        return self.bent

    def _bend_again(self) -> None:
        self._bend_due = True

    def _upload_meshes(
        self, device: Device, scope: ExitStack, uploader: Uploader, scene: Scene
    ) -> None:
        """Vertices at rest by primitive, then room for those of each draw that bends."""
        counts = [len(mesh.positions) for mesh in scene.primitives]
        bending = [number for number, draw in enumerate(scene.draws) if draw.bends]
        counts += [counts[scene.draws[number].primitive] for number in bending]
        first_vertex = np.cumsum([0, *(-(-count // _APART) * _APART for count in counts)]).tolist()
        first_index = np.cumsum([0, *(len(mesh.indices) for mesh in scene.primitives)])
        transfer = vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        self.vertices = create_buffer(
            device,
            scope,
            VERTEX.itemsize * first_vertex[-1],
            vk.VK_BUFFER_USAGE_VERTEX_BUFFER_BIT | vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | transfer,
        )
        self.indices = create_buffer(
            device, scope, 4 * int(first_index[-1]), vk.VK_BUFFER_USAGE_INDEX_BUFFER_BIT | transfer
        )
        for at, mesh in enumerate(scene.primitives):
            vertices = pack_vertices(mesh).view(np.uint8).reshape(-1)
            uploader.fill_buffer(self.vertices, vertices, VERTEX.itemsize * first_vertex[at])
            indices = self.clusters.meshes[at].indices.view(np.uint8)
            uploader.fill_buffer(self.indices, indices, 4 * int(first_index[at]))
        self._first_index = first_index
        self.first_vertex = {
            number: first_vertex[draw.primitive] for number, draw in enumerate(scene.draws)
        } | {number: first_vertex[len(scene.primitives) + i] for i, number in enumerate(bending)}
        self._rest_vertex = {n: first_vertex[scene.draws[n].primitive] for n in bending}

    def _prepare_draws(self, device: Device, scope: ExitStack, scene: Scene) -> None:
        """Where placements and the commands of a tile are written, and every cluster's command."""
        draw, clusters = self.clusters.draw, len(self.clusters.draw)
        size = PLACEMENT.itemsize * len(scene.draws)
        usage = vk.VK_BUFFER_USAGE_VERTEX_BUFFER_BIT
        placements = create_buffer(device, scope, size, usage, host=True)
        size, usage = DRAW_COMMAND_BYTES * clusters, vk.VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT
        self.command_buffer = create_buffer(device, scope, size, usage, host=True)
        assert placements.mapped is not None
        assert self.command_buffer.mapped is not None
        self.placements: NDArray[np.void] = placements.mapped.view(PLACEMENT)
        self.commands = self.command_buffer.mapped.view(np.uint32).reshape(clusters, 5)
        self.vertex_buffers = ffi.new("VkBuffer[2]", [self.vertices.handle, placements.handle])

        starts = [
            self._first_index[draw.primitive] + self.clusters.meshes[draw.primitive].starts
            for draw in scene.draws
        ]
        self.command: NDArray[np.uint32] = np.zeros((clusters, 5), np.uint32)
        self.command[:, INDEX_COUNT] = np.concatenate([np.diff(run) for run in starts])
        self.command[:, INSTANCE_COUNT] = 1
        self.command[:, FIRST_INDEX] = np.concatenate([run[:-1] for run in starts])
        first_vertex = [self.first_vertex[number] for number in range(len(scene.draws))]
        self.ends: NDArray[np.uint32] = np.concatenate([run[1:] for run in starts]).astype(
            np.uint32
        )
        self.command[:, VERTEX_OFFSET] = np.array(first_vertex)[draw]
        self.command[:, FIRST_INSTANCE] = draw

    def _upload_bending(
        self,
        device: Device,
        scope: ExitStack,
        uploader: Uploader,
        layout: CData,
        scene: Scene,
    ) -> BentDraws | None:
        if not self._rest_vertex:
            return None
        extents = {}
        for number, rest in self._rest_vertex.items():
            size = VERTEX.itemsize * len(scene.primitives[scene.draws[number].primitive].positions)
            bent = self.first_vertex[number]
            extents[number] = ((VERTEX.itemsize * rest, size), (VERTEX.itemsize * bent, size))
        return BentDraws(
            device,
            scope,
            uploader,
            layout,
            scene=scene,
            vertices=self.vertices,
            extents=extents,
        )

    def _find_states(self, scene: Scene) -> tuple[tuple[DrawState, ...], NDArray[np.int64]]:
        """The scene's states, and per draw the index of its own; the next one is its mirror's."""
        sets = [ffi.new("VkDescriptorSet[1]", [made]) for made in self.material_sets]
        variants: dict[Variant, Variant] = {}
        states: list[DrawState] = []
        known: dict[tuple[Variant, int], int] = {}
        index = []
        for draw in scene.draws:
            mesh = scene.primitives[draw.primitive]
            material = scene.materials[mesh.material]
            variant = _variant(mesh, material)
            variant = variants.setdefault(variant, variant)
            index.append(known.setdefault((variant, mesh.material), len(states)))
            if index[-1] == len(states):
                sides = vk.VK_CULL_MODE_NONE if material.double_sided else vk.VK_CULL_MODE_BACK_BIT
                fronts = (vk.VK_FRONT_FACE_COUNTER_CLOCKWISE, vk.VK_FRONT_FACE_CLOCKWISE)
                states += [DrawState(variant, sets[mesh.material], sides, f) for f in fronts]
        return tuple(states), np.array(index)

    def _upload_materials(
        self, device: Device, scope: ExitStack, uploader: Uploader, scene: Scene
    ) -> None:
        stride = -(-MATERIAL.itemsize // device.uniform_alignment) * device.uniform_alignment
        usage = vk.VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        buffer = create_buffer(device, scope, stride * len(scene.materials), usage)
        data = np.zeros((len(scene.materials), stride), np.uint8)
        kind = vk.VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
        for index, material in enumerate(scene.materials):
            data[index, : MATERIAL.itemsize] = np.frombuffer(pack_material(material), np.uint8)
            extent = (stride * index, MATERIAL.itemsize)
            write_buffer(device, self.material_sets[index], (0, kind), buffer, extent)
        uploader.fill_buffer(buffer, data.reshape(-1))

    def close(self) -> None:
        """Free everything."""
        self.scope.close()


def pack_vertices(mesh: Primitive) -> NDArray[np.void]:
    """The primitive's vertices as VERTEX (n,); what it lacks is zero, its colour white."""
    packed = np.zeros(len(mesh.positions), VERTEX)
    packed["position"] = mesh.positions
    packed["normal"] = mesh.normals
    if mesh.tangents is not None:
        packed["tangent"] = mesh.tangents
    if mesh.uv0 is not None:
        packed["uv"][:, :2] = mesh.uv0
    if mesh.uv1 is not None:
        packed["uv"][:, 2:] = mesh.uv1
    if mesh.colors is None:
        packed["color"] = 65535
    else:
        packed["color"] = np.rint(np.clip(mesh.colors, 0, 1) * 65535)
    return packed


def pack_material(material: Material) -> NDArray[np.void]:
    """The material's factors as MATERIAL ()."""
    packed = np.zeros((), MATERIAL)
    packed["base_color"] = material.base_color_factor
    packed["emissive"] = (*material.emissive_factor, material.alpha_cutoff)
    packed["factors"] = (
        material.metallic_factor,
        material.roughness_factor,
        material.normal_scale,
        material.occlusion_strength,
    )
    packed["layers"] = material.layers()
    for target, slot in zip(packed["uv_rows"], _slots(material), strict=True):
        if slot is not None:
            target[:, :3] = slot.transform.rows()
            target[0, 3] = slot.uv_set
    return packed


def _slots(material: Material) -> tuple[TextureSlot | None, ...]:
    return (
        material.base_color,
        material.metallic_roughness,
        material.normal,
        material.occlusion,
        material.emissive,
    )


def _variant(mesh: Primitive, material: Material) -> Variant:
    return Variant(
        tuple(slot is not None for slot in _slots(material)),
        mesh.tangents is not None,
        material.alpha_mode,
        material.unlit,
        any(slot.transform != UvTransform() for slot in material.slots()),
        material.occlusion is not None and material.occlusion == material.metallic_roughness,
        material.clearcoat_factor > 0,
        material.transmission_factor > 0,
    )


def pack_placements(
    world_from_mesh: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Affine maps (n, 3, 4) as the vertex shader takes them (n, 6, 4), and which of them mirror.

    The last three rows take normals: the cofactor matrix, which is the inverse transpose times the
    determinant, defined for flattening maps too; its sign is undone so that mirrored normals keep
    their side.
    """
    x, y, z = (world_from_mesh[:, row, :3] for row in range(3))
    cofactor = np.stack([np.cross(y, z), np.cross(z, x), np.cross(x, y)], axis=1)
    mirrored: NDArray[np.bool_] = (x * cofactor[:, 0]).sum(axis=1) < 0
    rows = np.zeros((len(world_from_mesh), 6, 4), np.float32)
    rows[:, :3] = world_from_mesh
    rows[:, 3:, :3] = np.where(mirrored[:, None, None], -cofactor, cofactor)
    return rows, mirrored


class _Textures:
    """Image views by (image, format), samplers by their settings; a white texel for no map."""

    def __init__(self, device: Device, scope: ExitStack, uploader: Uploader, scene: Scene) -> None:
        self._device, self._scope, self._scene = device, scope, scene
        self._samplers: dict[Texture | None, CData] = {}
        white = np.full((1, 1, 4), 255, np.uint8)
        pixels: dict[int | None, NDArray[np.uint8]] = {None: white}
        wanted: dict[tuple[int | None, int], Image] = {
            (None, _LINEAR): self._create(white, _LINEAR)
        }
        for material in scene.materials:
            for slot, image_format in zip(_slots(material), _SLOT_FORMATS, strict=True):
                if slot is None:
                    continue
                source = scene.textures[slot.texture].image
                if (source, image_format) not in wanted:
                    rgba8 = scene.images[source].rgba8
                    pixels[source] = rgba8
                    wanted[source, image_format] = self._create(rgba8, image_format)
        bind_images(device, scope, list(wanted.values()))
        for (origin, _), image in wanted.items():
            uploader.fill_image(image, pixels[origin])
        self._views = {key: create_view(device, scope, image) for key, image in wanted.items()}

    def bind(self, target: CData, material: Material) -> None:
        """Point a material set's samplers, bindings 1 to 5, at the material's textures."""
        slots = zip(_slots(material), _SLOT_FORMATS, strict=True)
        for binding, (slot, image_format) in enumerate(slots, start=1):
            write_texture(self._device, target, binding, *self._find(slot, image_format))

    def _find(self, slot: TextureSlot | None, image_format: int) -> tuple[CData, CData]:
        if slot is None:
            return self._views[None, _LINEAR], self._sampler(None)
        texture = self._scene.textures[slot.texture]
        return self._views[texture.image, image_format], self._sampler(texture)

    def _create(self, rgba8: NDArray[np.uint8], image_format: int) -> Image:
        height, width = rgba8.shape[:2]
        check_side(self._device, width, height)
        return create_image(
            self._device,
            self._scope,
            (width, height),
            image_format,
            vk.VK_IMAGE_USAGE_SAMPLED_BIT
            | vk.VK_IMAGE_USAGE_TRANSFER_DST_BIT
            | vk.VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
            levels=max(width, height).bit_length(),
        )

    def _sampler(self, texture: Texture | None) -> CData:
        settings = Texture(0) if texture is None else texture
        key = Texture(0, settings.wrap_s, settings.wrap_t, settings.mag_filter, settings.min_filter)
        if key not in self._samplers:
            self._samplers[key] = self._device.create(self._scope, "Sampler", _sampler_info(key))
        return self._samplers[key]


def _sampler_info(texture: Texture) -> CData:
    nearest, linear = vk.VK_FILTER_NEAREST, vk.VK_FILTER_LINEAR
    mipmapped = texture.min_filter in (*_MIP_NEAREST, *_MIP_LINEAR)
    return new(
        "VkSamplerCreateInfo",
        magFilter=nearest if texture.mag_filter is MagFilter.NEAREST else linear,
        minFilter=nearest if texture.min_filter in _TEXEL_NEAREST else linear,
        mipmapMode=vk.VK_SAMPLER_MIPMAP_MODE_LINEAR
        if texture.min_filter in _MIP_LINEAR
        else vk.VK_SAMPLER_MIPMAP_MODE_NEAREST,
        addressModeU=_ADDRESS[texture.wrap_s],
        addressModeV=_ADDRESS[texture.wrap_t],
        addressModeW=vk.VK_SAMPLER_ADDRESS_MODE_REPEAT,
        # 0.25 instead of 0 keeps the choice of magFilter or minFilter (Vulkan 1.3, 16.6).
        maxLod=vk.VK_LOD_CLAMP_NONE if mipmapped else 0.25,
    )
