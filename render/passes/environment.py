"""Environment light on the device: filtered once, when it is loaded; and the table of reflectances
that all shading shares."""

from __future__ import annotations

import math
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from render.environment.distribution import distribution
from render.shaders import spirv
from render.vulkan.api import NULL, CData, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import (
    CUBE,
    Buffer,
    Image,
    Uploader,
    bind_images,
    check_side,
    create_buffer,
    create_image,
    create_view,
    dependency,
    image_barrier,
    make_levels,
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

LIGHT_FORMAT = vk.VK_FORMAT_R16G16B16A16_SFLOAT
REFLECTANCES = 64  # texels a side of the table
SMALLEST_FACE, LARGEST_FACE = 256, 1024  # of the sky
FILTERED_FACE, LEVELS = 256, 6  # of reflections: the sharpest face, halved for each rougher level
GATHERED_LEVELS = 3  # of these, the roughest, see gather.comp
GATHERED_FACE = 16  # of the small sky they are gathered from
DIFFUSE_FACE = 32
SAMPLES = 64  # of the first level that is sampled, four times as many for the next
_MATT = 1.0  # roughness whose lobe is the cosine's
_GROUP = 8
_SAMPLED = vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER
_STORED = vk.VK_DESCRIPTOR_TYPE_STORAGE_IMAGE
_PUSH_BYTES = 8
_NOTHING = (vk.VK_PIPELINE_STAGE_2_NONE, 0)
_STORE = (vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, vk.VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT)
_COMPUTE = vk.VK_SHADER_STAGE_COMPUTE_BIT
_FRAGMENT = vk.VK_SHADER_STAGE_FRAGMENT_BIT
BINDINGS = ((_SAMPLED, _FRAGMENT | _COMPUTE),) * 3  # sky, reflections by roughness, diffuse light


class EnvironmentPass:
    """Pipelines that filter environments, and the table of reflectances; one per device.

    reflectances: a view of scale and bias of f0, u: roughness, v: n.v; see brdf.comp.
    none: a black environment, for tiles without any.
    """

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self.device = device
        self.set_layout = create_set_layout(device, scope, BINDINGS)
        self._two = create_set_layout(device, scope, [(_SAMPLED, _COMPUTE), (_STORED, _COMPUTE)])
        self._layout = create_pipeline_layout(device, scope, [self._two], _COMPUTE, _PUSH_BYTES)
        self._scope = scope
        self._pipelines: dict[str, CData] = {}
        repeat, edge = (
            vk.VK_SAMPLER_ADDRESS_MODE_REPEAT,
            vk.VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE,
        )
        self._round = device.create(scope, "Sampler", _sampler(repeat, edge))
        self.sampler = device.create(scope, "Sampler", _sampler(edge, edge))
        table = _target(device, scope, REFLECTANCES, layers=1)
        bind_images(device, scope, [table])
        self.reflectances = create_view(device, scope, table)
        self._dispatch("brdf.comp", (self.reflectances, self.sampler), table, (0, 0.0, 0))
        self._finish(table)
        own = ExitStack()
        scope.callback(own.close)
        self.none = self._black(own)

    def load(self, pixels: NDArray[np.float16]) -> DeviceEnvironment:
        """Bring an environment (height, width, 4) to the device and filter it; close it after use.

        Raises ContentRefused if the picture is larger than the device can hold.
        """
        height, width = pixels.shape[:2]
        check_side(self.device, width, height)
        face = min(max(_power_below(width // 4), SMALLEST_FACE), LARGEST_FACE)
        with ExitStack() as scope, ExitStack() as until_filtered:
            sky = _target(self.device, scope, face, levels=face.bit_length())
            reflected = _target(self.device, scope, FILTERED_FACE, levels=LEVELS)
            diffuse = _target(self.device, scope, DIFFUSE_FACE)
            bind_images(self.device, scope, [sky, reflected, diffuse])
            self._fill_sky(until_filtered, sky, pixels)
            view = create_view(self.device, scope, sky)
            small = self._shrink(until_filtered, view)
            for level in range(LEVELS):
                self._filter((view, small), reflected, level, level_roughness(level))
            self._filter((view, small), diffuse, 0, _MATT)
            for image in (reflected, diffuse):
                self._finish(image)
            views = [view, *(create_view(self.device, scope, i) for i in (reflected, diffuse))]
            light = self._store_distribution(scope, pixels)
            return DeviceEnvironment(self, scope.pop_all(), views, LEVELS, light)

    def _store_distribution(self, scope: ExitStack, pixels: NDArray[np.float16]) -> Buffer:
        data = distribution(pixels)
        usage = vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        buffer = create_buffer(self.device, scope, len(data), usage)
        with ExitStack() as until_loaded:
            Uploader(self.device, until_loaded).fill_buffer(buffer, data)
        return buffer

    def _shrink(self, scope: ExitStack, sky: CData) -> CData:
        """A view of a small cube that holds the same light."""
        small = _target(self.device, scope, GATHERED_FACE)
        bind_images(self.device, scope, [small])
        self._dispatch("shrink.comp", (sky, self.sampler), small, (0, 0.0, 0))
        self._finish(small)
        return create_view(self.device, scope, small)

    def _filter(
        self, skies: tuple[CData, CData], image: Image, level: int, roughness: float
    ) -> None:
        """Fill one level with the sky, large and small, seen through a lobe of that roughness."""
        large, small = skies
        if roughness >= level_roughness(LEVELS - GATHERED_LEVELS):
            shader, source, count = "gather.comp", small, 0
        else:
            shader, source, count = "prefilter.comp", large, SAMPLES << 2 * max(level - 1, 0)
        self._dispatch(shader, (source, self.sampler), image, (level, roughness**4, count))

    def _black(self, scope: ExitStack) -> DeviceEnvironment:
        """No light from anywhere."""
        image = _target(self.device, scope, 1)
        bind_images(self.device, scope, [image])
        copied = (vk.VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT, vk.VK_ACCESS_2_TRANSFER_WRITE_BIT)
        target = vk.VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL
        begin = image_barrier(image, (vk.VK_IMAGE_LAYOUT_UNDEFINED, target), _NOTHING, copied)
        whole = new(
            "VkImageSubresourceRange",
            aspectMask=vk.VK_IMAGE_ASPECT_COLOR_BIT,
            levelCount=1,
            layerCount=CUBE,
        )
        with self.device.recording() as commands:
            lib.vkCmdPipelineBarrier2(commands, dependency(images=[begin]))
            black = new("VkClearColorValue")
            lib.vkCmdClearColorImage(commands, image.handle, target, black, 1, whole)
            make_levels(commands, image)
        view = create_view(self.device, scope, image)
        light = self._store_distribution(scope, np.zeros((1, 1, 4), np.float16))
        return DeviceEnvironment(self, scope, [view] * 3, 1, light)

    def _pipeline(self, shader: str) -> CData:
        """Made at first use: most devices never see an environment."""
        if shader not in self._pipelines:
            module = create_shader(self.device, self._scope, spirv(shader))
            made = create_compute_pipeline(self.device, self._scope, module, self._layout)
            self._pipelines[shader] = made
        return self._pipelines[shader]

    def _fill_sky(self, scope: ExitStack, sky: Image, pixels: NDArray[np.float16]) -> None:
        """The cube from the equirectangular picture, its levels made, ready to sample."""
        height, width = pixels.shape[:2]
        usage = vk.VK_IMAGE_USAGE_SAMPLED_BIT | vk.VK_IMAGE_USAGE_TRANSFER_DST_BIT
        picture = create_image(self.device, scope, (width, height), LIGHT_FORMAT, usage)
        bind_images(self.device, scope, [picture])
        Uploader(self.device, scope).fill_image(picture, pixels)
        source = (create_view(self.device, scope, picture), self._round)
        self._dispatch("sky.comp", source, sky, (0, 0.0, 0))
        copied = (vk.VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT, vk.VK_ACCESS_2_TRANSFER_WRITE_BIT)
        target = vk.VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL
        general = (vk.VK_IMAGE_LAYOUT_GENERAL, target)
        first = image_barrier(sky, general, _STORE, copied, level=0, levels=1)
        undefined = (vk.VK_IMAGE_LAYOUT_UNDEFINED, target)
        others = [
            image_barrier(sky, undefined, _NOTHING, copied, level=level, levels=1)
            for level in range(1, sky.levels)
        ]
        with self.device.recording() as commands:
            lib.vkCmdPipelineBarrier2(commands, dependency(images=[first, *others]))
            make_levels(commands, sky)

    def _dispatch(
        self,
        shader: str,
        source: tuple[CData, CData],
        image: Image,
        work: tuple[int, float, int],
    ) -> None:
        """Fill one level of an image: `work` is that level, and the shader's two parameters."""
        level, lobe, samples = work
        begin = image_barrier(
            image,
            (vk.VK_IMAGE_LAYOUT_UNDEFINED, vk.VK_IMAGE_LAYOUT_GENERAL),
            _NOTHING,
            _STORE,
            level=level,
            levels=1,
        )
        point = vk.VK_PIPELINE_BIND_POINT_COMPUTE
        push = new("VkClearValue")
        push.color.float32[0] = lobe
        push.color.uint32[1] = samples
        groups = max(1, -(-(image.width >> level) // _GROUP))
        with ExitStack() as scope:
            target = create_view(self.device, scope, image, level=level)
            [made] = allocate_sets(self.device, scope, self._two, 1, [_SAMPLED, _STORED])
            write_texture(self.device, made, 0, *source)
            write_storage_image(self.device, made, 1, target)
            sets = ffi.new("VkDescriptorSet[1]", [made])
            with self.device.recording() as commands:
                lib.vkCmdPipelineBarrier2(commands, dependency(images=[begin]))
                lib.vkCmdBindPipeline(commands, point, self._pipeline(shader))
                lib.vkCmdBindDescriptorSets(commands, point, self._layout, 0, 1, sets, 0, NULL)
                lib.vkCmdPushConstants(commands, self._layout, _COMPUTE, 0, _PUSH_BYTES, push)
                lib.vkCmdDispatch(commands, groups, groups, image.layers)

    def _finish(self, image: Image) -> None:
        """All levels are stored: ready to sample."""
        layouts = (vk.VK_IMAGE_LAYOUT_GENERAL, vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL)
        read = (
            vk.VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT | vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
            vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT,
        )
        with self.device.recording() as commands:
            barrier = image_barrier(image, layouts, _STORE, read)
            lib.vkCmdPipelineBarrier2(commands, dependency(images=[barrier]))


class DeviceEnvironment:
    """A filtered environment as passes bind it: VkDescriptorSet[1].

    distribution: of its light, see `render.environment.distribution`.
    """

    def __init__(
        self,
        made_by: EnvironmentPass,
        scope: ExitStack,
        views: list[CData],
        levels: int,
        distribution: Buffer,
    ) -> None:
        """views: in the order of BINDINGS. levels: of the reflections. scope: what it closes."""
        self._scope = scope
        self.distribution = distribution
        self.last_level = levels - 1
        kinds = [kind for kind, _ in BINDINGS]
        [made] = allocate_sets(made_by.device, scope, made_by.set_layout, 1, kinds)
        for binding, view in enumerate(views):
            write_texture(made_by.device, made, binding, view, made_by.sampler)
        self.sets = ffi.new("VkDescriptorSet[1]", [made])

    def close(self) -> None:
        """Free everything."""
        self._scope.close()


def _target(
    device: Device, scope: ExitStack, side: int, *, levels: int = 1, layers: int = CUBE
) -> Image:
    """A square image that compute shaders fill."""
    return create_image(
        device,
        scope,
        (side, side),
        LIGHT_FORMAT,
        vk.VK_IMAGE_USAGE_SAMPLED_BIT
        | vk.VK_IMAGE_USAGE_STORAGE_BIT
        | vk.VK_IMAGE_USAGE_TRANSFER_SRC_BIT
        | vk.VK_IMAGE_USAGE_TRANSFER_DST_BIT,
        levels=levels,
        layers=layers,
    )


def _sampler(across: int, down: int) -> CData:
    return new(
        "VkSamplerCreateInfo",
        magFilter=vk.VK_FILTER_LINEAR,
        minFilter=vk.VK_FILTER_LINEAR,
        mipmapMode=vk.VK_SAMPLER_MIPMAP_MODE_LINEAR,
        addressModeU=across,
        addressModeV=down,
        addressModeW=down,
        maxLod=vk.VK_LOD_CLAMP_NONE,
    )


def level_roughness(level: int) -> float:
    """Roughness of a level of reflections; raster.frag finds it again as last * r * (2 - r), like
    Filament's `perceptualRoughnessToLod`, which spaces the lobes' widths about evenly."""
    return 1.0 - math.sqrt(1.0 - level / (LEVELS - 1))


def _power_below(number: int) -> int:
    """The largest power of two that is at most `number`, at least 1."""
    return 1 << max(number.bit_length() - 1, 0)
