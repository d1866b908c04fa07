"""Buffers and images with their memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.core.errors import ContentRefused, MeshError
from render.vulkan.api import NULL, CData, check, ffi, lib, new, vk
from render.vulkan.device import Device

CUBE = 6  # faces
STAGING_BYTES = 16 * 1024 * 1024
# Required and preferred flags.
HOST_MEMORY = (
    vk.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | vk.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    vk.VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
)
DEVICE_MEMORY = (vk.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A buffer with memory of its own. `mapped`: uint8 (size,) while host-visible, else None."""

    handle: CData
    size: int
    mapped: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A two-dimensional image, or with 6 layers a cube; its views are made where they are used."""

    handle: CData
    width: int
    height: int
    levels: int
    format: int
    layers: int = 1


def create_buffer(
    device: Device, scope: ExitStack, size: int, usage: int, *, host: bool = False
) -> Buffer:
    """A buffer of `size` bytes, destroyed with `scope`.

    host: persistently mapped, coherent, and cached where the device has such memory (so that the
    CPU reads it at full speed); else device-local.
    """
    handle = device.create(
        scope,
        "Buffer",
        new(
            "VkBufferCreateInfo",
            size=size,
            usage=usage,
            sharingMode=vk.VK_SHARING_MODE_EXCLUSIVE,
        ),
    )
    needs = ffi.new("VkMemoryRequirements*")
    lib.vkGetBufferMemoryRequirements(device.handle, handle, needs)
    flags = HOST_MEMORY if host else DEVICE_MEMORY
    memory_type = choose_memory_type(device, int(needs.memoryTypeBits), *flags)
    memory = _allocate(device, scope, int(needs.size), memory_type)
    check(lib.vkBindBufferMemory(device.handle, handle, memory, 0), "vkBindBufferMemory")
    if not host:
        return Buffer(handle, size)
    out = ffi.new("void**")
    check(lib.vkMapMemory(device.handle, memory, 0, size, 0, out), "vkMapMemory")
    mapped = np.frombuffer(ffi.buffer(out[0], size), np.uint8)
    return Buffer(handle, size, mapped)


def check_side(device: Device, width: int, height: int) -> None:
    """Raises ContentRefused if a picture of that size is more than the device can hold."""
    if max(width, height) > device.max_image_side:
        raise ContentRefused(
            f"a texture of {width}x{height} pixels cannot be used",
            f"the device takes at most {device.max_image_side} a side",
            "Scale the texture down.",
        )


def create_image(
    device: Device,
    scope: ExitStack,
    size: tuple[int, int],
    image_format: int,
    usage: int,
    *,
    levels: int = 1,
    layers: int = 1,
    flags: int = 0,
    samples: int = 1,
) -> Image:
    """An image (width, height) without memory yet: see `bind_images`.

    layers: 6 for a cube, whose faces are in the order of vulkan_core.h (+X -X +Y -Y +Z -Z).
    samples: of each pixel; every device has 1 and 4.
    """
    width, height = size
    flags |= vk.VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT if layers == CUBE else 0
    handle = device.create(
        scope,
        "Image",
        new(
            "VkImageCreateInfo",
            flags=flags,
            imageType=vk.VK_IMAGE_TYPE_2D,
            format=image_format,
            extent=(width, height, 1),
            mipLevels=levels,
            arrayLayers=layers,
            samples=samples,  # VkSampleCountFlagBits are the numbers
            tiling=vk.VK_IMAGE_TILING_OPTIMAL,
            usage=usage,
            sharingMode=vk.VK_SHARING_MODE_EXCLUSIVE,
            initialLayout=vk.VK_IMAGE_LAYOUT_UNDEFINED,
        ),
    )
    return Image(handle, width, height, levels, image_format, layers)


def bind_images(device: Device, scope: ExitStack, images: Sequence[Image]) -> None:
    """Give images one device-local allocation together (drivers limit how many there may be)."""
    needs = ffi.new("VkMemoryRequirements*")
    offset, bits = 0, 0xFFFFFFFF
    offsets: list[int] = []
    for image in images:
        lib.vkGetImageMemoryRequirements(device.handle, image.handle, needs)
        offset = _align(offset, int(needs.alignment))
        offsets.append(offset)
        offset += int(needs.size)
        bits &= int(needs.memoryTypeBits)
    if not images:
        return
    memory_type = choose_memory_type(device, bits, *DEVICE_MEMORY)
    memory = _allocate(device, scope, offset, memory_type)
    for image, at in zip(images, offsets, strict=True):
        result = lib.vkBindImageMemory(device.handle, image.handle, memory, at)
        check(result, "vkBindImageMemory")


def create_view(
    device: Device,
    scope: ExitStack,
    image: Image,
    *,
    aspect: int = vk.VK_IMAGE_ASPECT_COLOR_BIT,
    view_format: int | None = None,
    level: int | None = None,
) -> CData:
    """A view of all levels, in the image's format or a compatible one; of a cube as a cube.

    level: of that one alone, its layers as an array: what a shader stores to.
    """
    if level is not None:
        view_type, levels = vk.VK_IMAGE_VIEW_TYPE_2D_ARRAY, (level, 1)
    else:
        cube = image.layers == CUBE
        view_type = vk.VK_IMAGE_VIEW_TYPE_CUBE if cube else vk.VK_IMAGE_VIEW_TYPE_2D
        levels = (0, image.levels)
    return device.create(
        scope,
        "ImageView",
        new(
            "VkImageViewCreateInfo",
            image=image.handle,
            viewType=view_type,
            format=image.format if view_format is None else view_format,
            subresourceRange=(aspect, *levels, 0, image.layers),
        ),
    )


def create_texel_view(device: Device, scope: ExitStack, buffer: Buffer, texel: int) -> CData:
    """A view of a whole buffer as texels of that format (VkBufferView); `Device.max_texels`."""
    info = new(
        "VkBufferViewCreateInfo",
        buffer=buffer.handle,
        format=texel,
        range=buffer.size,
    )
    return device.create(scope, "BufferView", info)


def image_barrier(  # one Vulkan barrier has as many parts
    image: Image,
    layouts: tuple[int, int],
    source: tuple[int, int],
    target: tuple[int, int],
    *,
    aspect: int = vk.VK_IMAGE_ASPECT_COLOR_BIT,
    level: int = 0,
    levels: int | None = None,
) -> CData:
    """A VkImageMemoryBarrier2: (old, new) layouts; (stages, accesses) before and after."""
    return new(
        "VkImageMemoryBarrier2",
        srcStageMask=source[0],
        srcAccessMask=source[1],
        dstStageMask=target[0],
        dstAccessMask=target[1],
        oldLayout=layouts[0],
        newLayout=layouts[1],
        srcQueueFamilyIndex=vk.VK_QUEUE_FAMILY_IGNORED,
        dstQueueFamilyIndex=vk.VK_QUEUE_FAMILY_IGNORED,
        image=image.handle,
        subresourceRange=(
            aspect,
            level,
            image.levels if levels is None else levels,
            0,
            image.layers,
        ),
    )


def buffer_barrier(buffer: Buffer, source: tuple[int, int], target: tuple[int, int]) -> CData:
    """A VkBufferMemoryBarrier2 over the whole buffer."""
    return new(
        "VkBufferMemoryBarrier2",
        srcStageMask=source[0],
        srcAccessMask=source[1],
        dstStageMask=target[0],
        dstAccessMask=target[1],
        srcQueueFamilyIndex=vk.VK_QUEUE_FAMILY_IGNORED,
        dstQueueFamilyIndex=vk.VK_QUEUE_FAMILY_IGNORED,
        buffer=buffer.handle,
        offset=0,
        size=buffer.size,
    )


def dependency(images: Sequence[CData] = (), buffers: Sequence[CData] = ()) -> CData:
    """A VkDependencyInfo for vkCmdPipelineBarrier2."""
    return new(
        "VkDependencyInfo",
        imageMemoryBarrierCount=len(images),
        pImageMemoryBarriers=list(images) if images else NULL,
        bufferMemoryBarrierCount=len(buffers),
        pBufferMemoryBarriers=list(buffers) if buffers else NULL,
    )


class Uploader:
    """Brings host arrays to the device through one staging buffer of bounded size."""

    def __init__(self, device: Device, scope: ExitStack) -> None:
        self._device = device
        self._staging = create_buffer(
            device, scope, STAGING_BYTES, vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT, host=True
        )
        assert self._staging.mapped is not None
        self._mapped = self._staging.mapped

    def fill_buffer(self, target: Buffer, data: NDArray[np.uint8], offset: int = 0) -> None:
        """Copy uint8 (n,) to `target` at `offset`; in pieces where it is long."""
        for start in range(0, len(data), STAGING_BYTES):
            part = data[start : start + STAGING_BYTES]
            self._mapped[: len(part)] = part
            region = new("VkBufferCopy", dstOffset=offset + start, size=len(part))
            with self._device.recording() as commands:
                lib.vkCmdCopyBuffer(commands, self._staging.handle, target.handle, 1, region)

    def fill_image(self, target: Image, pixels: NDArray[np.uint8 | np.float16]) -> None:
        """Copy (height, width, 4) to level 0, make the other levels, ready to sample.

        pixels: of the numbers of the image's format. Levels are as of `make_levels`.
        """
        wrote = (vk.VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT, vk.VK_ACCESS_2_TRANSFER_WRITE_BIT)
        with self._device.recording() as commands:
            _barrier(
                commands,
                image_barrier(
                    target,
                    (vk.VK_IMAGE_LAYOUT_UNDEFINED, vk.VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL),
                    (vk.VK_PIPELINE_STAGE_2_NONE, 0),
                    wrote,
                ),
            )
        lines = np.ascontiguousarray(pixels).view(np.uint8).reshape(target.height, -1)
        rows = max(1, STAGING_BYTES // lines.shape[1])
        for top in range(0, target.height, rows):
            self._copy_rows(target, lines, top, min(rows, target.height - top))
        with self._device.recording() as commands:
            make_levels(commands, target)

    def _copy_rows(self, target: Image, lines: NDArray[np.uint8], top: int, rows: int) -> None:
        flat = lines[top : top + rows].reshape(-1)
        self._mapped[: len(flat)] = flat
        region = new(
            "VkBufferImageCopy",
            imageSubresource=(vk.VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1),
            imageOffset=(0, top, 0),
            imageExtent=(target.width, rows, 1),
        )
        with self._device.recording() as commands:
            lib.vkCmdCopyBufferToImage(
                commands,
                self._staging.handle,
                target.handle,
                vk.VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                1,
                region,
            )


def make_levels(commands: CData, target: Image) -> None:
    """Make levels 1 and on from level 0, written by transfers, and the image ready to sample.

    2x2 averages (vkCmdBlitImage, linear), in linear light for an sRGB format.
    """
    wrote = (vk.VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT, vk.VK_ACCESS_2_TRANSFER_WRITE_BIT)
    for level in range(1, target.levels):
        _halve(commands, target, level, wrote)
    _make_sampled(commands, target, wrote)


def _halve(commands: CData, image: Image, level: int, wrote: tuple[int, int]) -> None:
    """Make `level` from the one before, which becomes a transfer source."""
    source, target = (
        vk.VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
        vk.VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
    )
    read = (wrote[0], vk.VK_ACCESS_2_TRANSFER_READ_BIT)
    _barrier(
        commands, image_barrier(image, (target, source), wrote, read, level=level - 1, levels=1)
    )

    def far_corner(at: int) -> tuple[int, int, int]:
        return max(1, image.width >> at), max(1, image.height >> at), 1

    blit = new(
        "VkImageBlit",
        srcSubresource=(vk.VK_IMAGE_ASPECT_COLOR_BIT, level - 1, 0, image.layers),
        srcOffsets=((0, 0, 0), far_corner(level - 1)),
        dstSubresource=(vk.VK_IMAGE_ASPECT_COLOR_BIT, level, 0, image.layers),
        dstOffsets=((0, 0, 0), far_corner(level)),
    )
    lib.vkCmdBlitImage(
        commands, image.handle, source, image.handle, target, 1, blit, vk.VK_FILTER_LINEAR
    )


def _make_sampled(commands: CData, image: Image, wrote: tuple[int, int]) -> None:
    shader = (
        vk.VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT | vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
        vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT,
    )
    sampled = vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL
    barriers = [
        image_barrier(
            image,
            (vk.VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, sampled),
            wrote,
            shader,
            level=image.levels - 1,
            levels=1,
        )
    ]
    if image.levels > 1:
        barriers.append(
            image_barrier(
                image,
                (vk.VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, sampled),
                wrote,
                shader,
                levels=image.levels - 1,
            )
        )
    _barrier(commands, *barriers)


def _barrier(commands: CData, *barriers: CData) -> None:
    lib.vkCmdPipelineBarrier2(commands, dependency(images=barriers))


def _allocate(device: Device, scope: ExitStack, size: int, memory_type: int) -> CData:
    info = new("VkMemoryAllocateInfo", allocationSize=size, memoryTypeIndex=memory_type)
    out = ffi.new("VkDeviceMemory*")
    check(lib.vkAllocateMemory(device.handle, info, NULL, out), f"allocating {size} bytes")
    device.memory_bytes += size

    def free() -> None:
        lib.vkFreeMemory(device.handle, out[0], NULL)
        device.memory_bytes -= size

    scope.callback(free)
    return out[0]


def choose_memory_type(device: Device, bits: int, required: int, preferred: int) -> int:
    """The first memory type among `bits` with all the flags, or else with the required ones.

    Raises MeshError if there is none.
    """
    types = device.memory_types
    usable = [
        index
        for index in range(types.memoryTypeCount)
        if bits >> index & 1 and types.memoryTypes[index].propertyFlags & required == required
    ]
    for index in usable:
        if types.memoryTypes[index].propertyFlags & preferred == preferred:
            return index
    if not usable:
        raise MeshError(
            f"{device.physical.name} has no suitable memory",
            f"no type with flags {required:#x} among {bits:#x}",
            "Use another device.",
        )
    return usable[0]


def _align(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
