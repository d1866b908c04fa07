"""The pictures a session's tiles are drawn into, sized once."""

from __future__ import annotations

from contextlib import ExitStack

from render.vulkan.api import CData, vk
from render.vulkan.device import Device
from render.vulkan.memory import Buffer, bind_images, create_buffer, create_image, create_view

COLOR_FORMAT = vk.VK_FORMAT_R8G8B8A8_SRGB  # stores sRGB-encoded what shaders write linearly
ENCODED_FORMAT = vk.VK_FORMAT_R8G8B8A8_UNORM  # the same bytes, read as stored
DEPTH_FORMAT = vk.VK_FORMAT_D32_SFLOAT


def padded_stride(width: int) -> int:
    """Bytes from row to row of a tile's luma in `FrameTargets.planes`."""
    return -(-width // 8) * 8


class FrameTargets:
    """Colour, depth and I420 planes for frames of one size; a tile uses its part of each.

    width, height: pixels, even. The images are of the whole frame because a tile is drawn with
    the whole frame's viewport; memory that no tile touches stays untouched.
    keeps_depth: a tile's depth is there after it was drawn, for compute shaders to read.
    samples: of a pixel while it is drawn; `sampled` are the images of them, None for one sample.
    """

    def __init__(
        self,
        device: Device,
        width: int,
        height: int,
        *,
        keeps_depth: bool = False,
        samples: int = 1,
    ) -> None:
        self.width, self.height = width, height
        self.keeps_depth, self.samples = keeps_depth, samples
        read = vk.VK_IMAGE_USAGE_SAMPLED_BIT if keeps_depth else 0
        with ExitStack() as scope:
            self.sampled = (
                _Sampled(device, scope, (width, height), samples) if samples > 1 else None
            )
            self.color = create_image(
                device,
                scope,
                (width, height),
                COLOR_FORMAT,
                vk.VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT
                | vk.VK_IMAGE_USAGE_SAMPLED_BIT
                | vk.VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
                flags=vk.VK_IMAGE_CREATE_MUTABLE_FORMAT_BIT,
            )
            self.depth = create_image(
                device,
                scope,
                (width, height),
                DEPTH_FORMAT,
                vk.VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT | read,
            )
            bind_images(device, scope, [self.color, self.depth])
            self.color_view: CData = create_view(device, scope, self.color)
            self.encoded_view: CData = create_view(
                device, scope, self.color, view_format=ENCODED_FORMAT
            )
            self.depth_view: CData = create_view(
                device, scope, self.depth, aspect=vk.VK_IMAGE_ASPECT_DEPTH_BIT
            )
            self.planes: Buffer = create_buffer(
                device,
                scope,
                padded_stride(width) * height * 3 // 2,
                vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
                host=True,
            )
            self._scope = scope.pop_all()

    def close(self) -> None:
        """Free everything."""
        self._scope.close()


class _Sampled:
    """Colour and depth with several samples a pixel, of one tile at a time."""

    def __init__(
        self, device: Device, scope: ExitStack, size: tuple[int, int], samples: int
    ) -> None:
        self.color, self.depth = (
            create_image(
                device,
                scope,
                size,
                image_format,
                usage | vk.VK_IMAGE_USAGE_TRANSIENT_ATTACHMENT_BIT,
                samples=samples,
            )
            for image_format, usage in (
                (COLOR_FORMAT, vk.VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT),
                (DEPTH_FORMAT, vk.VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT),
            )
        )
        bind_images(device, scope, [self.color, self.depth])
        self.color_view: CData = create_view(device, scope, self.color)
        self.depth_view: CData = create_view(
            device, scope, self.depth, aspect=vk.VK_IMAGE_ASPECT_DEPTH_BIT
        )
