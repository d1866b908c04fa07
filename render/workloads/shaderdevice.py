"""The device half of `shader`: one triangle over a tile, with a stranger's fragment shader."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from mesh.core.errors import ContentRefused, DeviceUnavailable
from mesh.core.workload import AssetId, DeviceInfo
from render.passes.i420 import I420Pass, I420Targets, read_planes
from render.passes.targets import ENCODED_FORMAT, FrameTargets
from render.shaders import spirv
from render.vulkan.api import CData, ffi, lib, new, vk
from render.vulkan.device import open_device
from render.vulkan.instance import open_instance
from render.vulkan.memory import dependency, image_barrier
from render.vulkan.pipeline import (
    Targets,
    create_graphics_pipeline,
    create_pipeline_layout,
    create_shader,
)
from render.workload import RenderSettings, RenderWorkload
from render.workloads.picture import decode_spec
from render.workloads.push import tile_of
from render.workloads.shadercode import examine_inside
from render.workloads.spirv import PUSH_BYTES

MAX_SESSIONS = 64
_GRAPHICS = vk.VK_PIPELINE_BIND_POINT_GRAPHICS


def vulkan_devices() -> Sequence[DeviceInfo]:
    """Every Vulkan device that `render` would use. Raises DeviceUnavailable."""
    return RenderWorkload(RenderSettings()).find_devices()


class Painting:
    """A session's shader, with a picture of its own to be drawn into."""

    def __init__(
        self, targets: FrameTargets, pipeline: CData, bound: I420Targets, scope: ExitStack
    ) -> None:
        self.targets, self.pipeline, self.bound = targets, pipeline, bound
        self._scope = scope
        color = vk.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL
        read = vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL
        write = (
            vk.VK_PIPELINE_STAGE_2_COLOR_ATTACHMENT_OUTPUT_BIT,
            vk.VK_ACCESS_2_COLOR_ATTACHMENT_WRITE_BIT,
        )
        convert = vk.VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT
        before = (vk.VK_IMAGE_LAYOUT_UNDEFINED, color)
        self.begin = dependency(images=[image_barrier(targets.color, before, (convert, 0), write)])
        sampled = (convert, vk.VK_ACCESS_2_SHADER_SAMPLED_READ_BIT)
        self.end = dependency(images=[image_barrier(targets.color, (color, read), write, sampled)])
        self.rendering = new(
            "VkRenderingInfo",
            layerCount=1,
            colorAttachmentCount=1,
            pColorAttachments=new(
                "VkRenderingAttachmentInfo",
                imageView=targets.encoded_view,  # such shaders make display values
                imageLayout=color,
                loadOp=vk.VK_ATTACHMENT_LOAD_OP_DONT_CARE,
                storeOp=vk.VK_ATTACHMENT_STORE_OP_STORE,
            ),
        )
        self.viewport = new(
            "VkViewport", width=targets.width, height=targets.height, minDepth=0.0, maxDepth=1.0
        )
        self.scissor = new("VkRect2D")

    def close(self) -> None:
        """Free everything."""
        self._scope.close()


class ShaderExecutor:
    """Draws tiles on one Vulkan device; see mesh.core.workload.Executor."""

    def __init__(self, device: DeviceInfo, *, validate: bool = False) -> None:
        """validate: with the validation layers; what they report is in `messages`.

        Raises DeviceUnavailable unless exactly that device is there.
        """
        with ExitStack() as scope:
            instance = scope.enter_context(open_instance(validate=validate))
            self.messages = instance.messages
            physical = instance.choose(index=device.index, name=device.name)
            if physical.driver != device.driver:
                raise DeviceUnavailable(
                    what=f"{device.name} cannot be opened",
                    why=f"{device.driver} was asked for, and its driver is {physical.driver}",
                    fix="Restart the node, so that it looks for its devices again.",
                )
            # Without a folder for pipelines: what strangers' shaders become is not kept.
            self._device = scope.enter_context(open_device(instance, physical))
            self._convert = I420Pass(self._device, scope)
            self._vertex = create_shader(self._device, scope, spirv("fullscreen.vert"))
            self._stage = vk.VK_SHADER_STAGE_FRAGMENT_BIT
            self._layout = create_pipeline_layout(self._device, scope, [], self._stage, PUSH_BYTES)
            self._paintings: dict[str, Painting] = {}
            self._scope = scope.pop_all()
        # Left to the garbage collector, device and instance would go in any order: drivers crash.
        atexit.register(self.close)

    def prepare(self, session: str, spec: bytes, assets: Mapping[AssetId, memoryview]) -> None:
        """A pipeline of the shader, and a picture. Nothing is drawn yet: it might never end.

        spec: a PictureSpec. assets: one SPIR-V module. It is examined once more: no driver sees
        what a gateway merely says. Raises ContentRefused.
        """
        self.forget(session)
        if len(assets) != 1 or len(self._paintings) >= MAX_SESSIONS:
            raise ContentRefused(
                what="the shader session cannot be prepared",
                why=f"it brings {len(assets)} assets, and {len(self._paintings)} sessions are open",
                fix=f"Send exactly one module; at most {MAX_SESSIONS} sessions fit.",
            )
        size = decode_spec(spec)
        code = examine_inside(next(iter(assets.values())))
        self._paintings[session] = self._paint(code, size.width, size.height)

    def _paint(self, code: bytes, width: int, height: int) -> Painting:
        with ExitStack() as scope:
            targets = FrameTargets(self._device, width, height)
            scope.callback(targets.close)
            pipeline = create_graphics_pipeline(
                self._device,
                scope,
                layout=self._layout,
                vertex=self._vertex,
                fragment=create_shader(self._device, scope, code),
                constants={},
                vertices=[],
                targets=Targets(ENCODED_FORMAT, vk.VK_FORMAT_UNDEFINED),
                depth=False,
            )
            bound = self._convert.bind(scope, targets)
            return Painting(targets, pipeline, bound, scope.pop_all())

    def run(self, session: str, spec: bytes, inputs: memoryview, output: memoryview) -> int:
        """Draw a tile and write its packed I420 planes.

        spec: see `render.workloads.push`. A shader that runs on is ended by the device's kill
        limit, and this process with it. Raises ContentRefused, DeviceLost.
        """
        painting = self._paintings[session]
        rect = tile_of(spec, (painting.targets.width, painting.targets.height))
        # Left-sited chroma reads one column to the left; two keep 2x2 quads whole.
        grow = 2 if rect.x else 0
        area = (rect.x - grow, rect.y), (rect.width + grow, rect.height)
        painting.rendering.renderArea = area
        painting.scissor.offset, painting.scissor.extent = area
        with self._device.recording() as commands:
            lib.vkCmdPipelineBarrier2(commands, painting.begin)
            lib.vkCmdBeginRendering(commands, painting.rendering)
            lib.vkCmdBindPipeline(commands, _GRAPHICS, painting.pipeline)
            lib.vkCmdSetViewport(commands, 0, 1, painting.viewport)
            lib.vkCmdSetScissor(commands, 0, 1, painting.scissor)
            lib.vkCmdSetCullMode(commands, vk.VK_CULL_MODE_NONE)
            lib.vkCmdSetFrontFace(commands, vk.VK_FRONT_FACE_COUNTER_CLOCKWISE)
            data = ffi.from_buffer(spec)
            lib.vkCmdPushConstants(commands, self._layout, self._stage, 0, PUSH_BYTES, data)
            lib.vkCmdDraw(commands, 3, 1, 0, 0)
            lib.vkCmdEndRendering(commands)
            lib.vkCmdPipelineBarrier2(commands, painting.end)
            self._convert.record(commands, painting.bound, rect)
        return read_planes(painting.targets, rect, output)

    def forget(self, session: str) -> None:
        """Free what the session had."""
        if session in self._paintings:
            self._paintings.pop(session).close()

    def close(self) -> None:
        """Free everything, and the device."""
        for session in list(self._paintings):
            self.forget(session)
        self._scope.close()
        atexit.unregister(self.close)
